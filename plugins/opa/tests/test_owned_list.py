"""The list of owned paths: few operations, few pages, and nothing lost between OPA's answer and the next edit."""

from __future__ import annotations

import json
from typing import Any

from cabochon import DocumentPath
from cabochon_opa.client import EngineAnswer
from cabochon_opa.data.owned_list import OwnedList
from cabochon_opa.data.plan import Plan


def path(name: str) -> DocumentPath:
    return DocumentPath.parse(f"/users/{name}")


class Opa:
    """Keeps the members of the list as OPA would."""

    def __init__(self) -> None:
        self.members: dict[str, Any] = {}

    def take(self, owned: OwnedList, claims: list[DocumentPath], releases: list[DocumentPath]) -> int:
        made = Plan()
        edit = owned.edit(made, claims, releases)
        for operation in map(json.loads, made.operations):
            name = operation["path"].rpartition("/")[2]
            if operation["op"] == "remove":
                del self.members[name]
            else:
                self.members[name] = operation["value"]
        owned.landed(edit)
        assert self.read().paths() == owned.paths()
        return len(made.operations)

    def read(self) -> OwnedList:
        return OwnedList.read(EngineAnswer(200, json.dumps({"result": self.members}).encode()))


def test_a_commit_claims_any_number_of_paths_in_one_operation() -> None:
    opa, owned = Opa(), OwnedList({})
    assert opa.take(owned, [path(str(n)) for n in range(1_000)], []) == 1
    assert opa.take(owned, [path(str(n)) for n in range(1_000)], []) == 0
    assert len(owned.paths()) == 1_000


def test_single_claims_share_pages() -> None:
    opa, owned = Opa(), OwnedList({})
    for number in range(1_000):
        opa.take(owned, [path(str(number))], [])
    assert len(opa.members) == 3


def test_nothing_is_left_of_paths_that_come_and_go() -> None:
    opa, owned = Opa(), OwnedList({})
    for number in range(50):
        opa.take(owned, [path(f"a{number}"), path(f"b{number}")], [])
        opa.take(owned, [], [path(f"a{number}"), path("unknown")])
        opa.take(owned, [path("new")], [path(f"b{number}"), path("new")])
        opa.take(owned, [], [path("new")])
    assert opa.members == {}


def test_a_later_life_goes_on_with_the_list_that_it_finds() -> None:
    opa = Opa()
    opa.take(OwnedList({}), [path("a"), path("b/c~d")], [])
    later = opa.read()
    assert opa.take(later, [path("a")], []) == 0
    opa.take(later, [path("e")], [path("a")])
    assert later.paths() == sorted([path("b/c~d"), path("e")])


def test_what_others_put_there_is_not_ours() -> None:
    others = {"x": True, "1": "[", "2": '["/a"]', "3": [1]}
    assert OwnedList.read(EngineAnswer(200, json.dumps({"result": others}).encode())).paths() == [DocumentPath(("a",))]
