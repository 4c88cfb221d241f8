"""Documents in a real OPA, through the store: large, deep, oddly named, many in one commit, and refused by name."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import anyio
import httpx
import msgspec
import pytest

from cabochon.documents.json_patch import PatchOperation
from cabochon.documents.path import DocumentPath
from cabochon.errors import PatchFailedError, PathConflictError, StoreRejectedError
from cabochon.testing.own_time import own_time
from cabochon.transactions.changes import (
    Change,
    Changes,
    DeleteData,
    Guard,
    Marker,
    PatchData,
    SetData,
    SetPolicy,
    Write,
)
from cabochon.transactions.commit_result import STATE, Applied, Blame
from cabochon_opa.open_store import open_opa_store
from cabochon_opa.settings import OpaStoreSettings
from cabochon_opa.store import OpaPolicyStore
from cabochon_opa.testing import RealOpa

LARGE_BYTES = 50_000_000


@dataclass
class Wire:
    """What went to OPA and came back: one line for each request."""

    requests: list[httpx.Request] = field(default_factory=list[httpx.Request])
    statuses: list[int] = field(default_factory=list[int])

    def lines(self) -> list[str]:
        return [f"{one.method} {one.url.raw_path.decode()}" for one in self.requests]

    def clear(self) -> None:
        self.requests.clear()
        self.statuses.clear()


@pytest.fixture
def wire(monkeypatch: pytest.MonkeyPatch) -> Wire:
    """Looks on at what the store sends through httpx."""
    seen = Wire()
    send = httpx.AsyncHTTPTransport.handle_async_request

    async def handle(transport: httpx.AsyncHTTPTransport, request: httpx.Request) -> httpx.Response:
        answer = await send(transport, request)
        seen.requests.append(request)
        seen.statuses.append(answer.status_code)
        return answer

    monkeypatch.setattr(httpx.AsyncHTTPTransport, "handle_async_request", handle)
    return seen


@pytest.fixture
async def store(opa: RealOpa, wire: Wire) -> AsyncIterator[OpaPolicyStore]:
    del wire  # It must look on before the client is made.
    async with open_opa_store(OpaStoreSettings(policy_store_url=opa.url)) as store:
        yield store


def path(text: str) -> DocumentPath:
    return DocumentPath.parse(text)


def put(where: DocumentPath | str, value: object) -> SetData:
    return SetData(path(where) if isinstance(where, str) else where, msgspec.json.encode(value))


def patch(where: str, *operations: tuple[str, str, object]) -> PatchData:
    return PatchData(
        path(where),
        tuple(
            PatchOperation(
                "add" if op == "add" else "remove" if op == "remove" else "replace",
                DocumentPath.from_pointer(below),
                None if op == "remove" else msgspec.json.encode(value),
            )
            for op, below, value in operations
        ),
    )


async def land(store: OpaPolicyStore, *changes: Change) -> None:
    result = await store.commit(Changes((Write("t", changes),)))
    assert result.landed, result.refusal


async def refusal(store: OpaPolicyStore, *changes: Change) -> StoreRejectedError:
    result = await store.commit(Changes((Write("t", changes),)))
    assert result.refusal is not None
    assert not any(isinstance(outcome, Applied) for outcome in result.outcomes)
    return result.refusal


async def value_at(store: OpaPolicyStore, where: DocumentPath | str) -> Any:  # noqa: ANN401 - it is JSON
    raw = await store.get_data(path(where) if isinstance(where, str) else where)
    return None if raw is None else json.loads(raw)


# ------------------------------------------------------------------------------------------------- large and deep


async def test_a_document_of_fifty_megabytes_is_one_request(store: OpaPolicyStore, wire: Wire) -> None:
    """It comes back equal, and the event loop goes on meanwhile: it stands still for a part of the time only."""
    one = {"roles": ["reader", "writer"], "text": "x" * 900}
    document = {f"user-{number}": one for number in range(LARGE_BYTES // 900)}
    raw = msgspec.json.encode(document)
    assert len(raw) > LARGE_BYTES
    gaps: list[float] = []

    async def watch() -> None:
        while True:
            began = own_time()
            await anyio.sleep(0.001)
            gaps.append(own_time() - began)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(watch)
        await land(store, SetData(path("/large"), raw))
        tasks.cancel_scope.cancel()

    assert [line for line in wire.lines() if line.startswith(("PATCH", "PUT"))] == ["PATCH /v1/data"]
    assert max(gaps) < 1.0
    assert await value_at(store, "/large") == document


async def test_a_document_a_hundred_levels_down(store: OpaPolicyStore) -> None:
    """All parents are made, and its neighbours at every level stay."""
    deep = DocumentPath([f"level {number}" for number in range(100)])

    await land(store, put(deep, {"here": 1}))
    await land(store, put(DocumentPath((*deep[:50], "beside")), 2))
    await land(store, patch(str(deep), ("add", "/there", 3)))

    assert await value_at(store, deep) == {"here": 1, "there": 3}
    assert await value_at(store, DocumentPath((*deep[:50], "beside"))) == 2
    await land(store, DeleteData(deep))
    assert await value_at(store, deep) is None
    assert await value_at(store, deep.parent) == {}


PUNCTUATION = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"
ODD_KEYS = [
    *PUNCTUATION,
    PUNCTUATION,
    "%2F",
    "%25",
    "%zz",
    "~0",
    "~1",
    "~01",
    " ",
    " a ",
    "a b",
    "\t\r\n",
    "\x00",
    "..",
    "é",
    "e\u0301",
    "日本語",
    "🔑",
    "\u2028",
    "__proto__",
    "null",
    "0",
    "01",
    "-1",
]


async def test_every_key_is_written_where_it_says(store: OpaPolicyStore) -> None:
    """A key is data, whatever OPA's paths, pointers and escapes make of its characters."""
    for number, key in enumerate(ODD_KEYS):
        at = DocumentPath(("odd", key))
        await land(store, put(at / "first", number), put(DocumentPath(("kept", key)), number))
        await land(store, PatchData(at, (PatchOperation("add", DocumentPath((key,)), b"true"),)))

    expected = {key: {"first": number, key: True} for number, key in enumerate(ODD_KEYS)}
    assert await value_at(store, "/odd") == expected
    for number, key in enumerate(ODD_KEYS):
        assert await value_at(store, DocumentPath(("odd", key, "first"))) == number
    await land(store, *(DeleteData(DocumentPath(("odd", key))) for key in ODD_KEYS))
    assert await value_at(store, "/odd") == {}
    assert await value_at(store, "/kept") == {key: number for number, key in enumerate(ODD_KEYS)}


@pytest.mark.parametrize(
    "number",
    [
        "1e400",
        "-1E+400",
        "1e-400",
        "12345678901234567890123",
        "0.1234567890123456789012345",
        "-0",
        "-0.0",
        "1.0",
        "1e2",
    ],
)
async def test_a_number_stays_as_it_was_written(store: OpaPolicyStore, number: str) -> None:
    """Beyond what a float holds, and in its own notation."""
    await land(store, SetData(path("/number"), f'{{"n":[{number}]}}'.encode()))

    raw = await store.get_data(path("/number/n/0"))

    assert raw == number.encode()


@pytest.mark.parametrize("value", [None, False, 0, "", [], {}, {"a": None}, [None]])
async def test_values_that_look_like_nothing_are_data(store: OpaPolicyStore, value: object) -> None:
    """Null too: it is not the same as what is not there."""
    await land(store, put("/top", {"kept": 1}), put("/nothing", value), put("/in/side", value))

    assert await store.get_data(path("/nothing")) == msgspec.json.encode(value)
    assert await value_at(store, "/in") == {"side": value}
    await land(store, DeleteData(path("/nothing")))
    assert await store.get_data(path("/nothing")) is None


# --------------------------------------------------------------------------------------------------------- arrays


async def test_elements_of_an_array(store: OpaPolicyStore) -> None:
    """A PUT replaces an element, and what lies in it; a patch inserts and appends as RFC 6902 has it."""
    await land(store, put("/list", [{"a": 1}, "b", "c"]))

    await land(store, put("/list/1", "B"))
    await land(store, put("/list/0/a", 2), put("/list/0/new", 3))
    await land(store, patch("/list", ("add", "/-", "last"), ("add", "/0", "first"), ("remove", "/3", None)))

    assert await value_at(store, "/list") == ["first", {"a": 2, "new": 3}, "B", "last"]


@pytest.mark.parametrize(
    ("change", "kind", "where"),
    [
        (put("/list/3", 1), PathConflictError, "/list/3"),
        (put("/list/-", 1), PathConflictError, "/list/-"),
        (put("/list/03", 1), PathConflictError, "/list/03"),
        (put("/list/x", 1), PathConflictError, "/list/x"),
        (put("/list/3/deep/below", 1), PathConflictError, "/list/3/deep/below"),
        (put("/scalar/below", 1), PathConflictError, "/scalar/below"),
        (patch("/list", ("add", "/4", 1)), PatchFailedError, "/list"),
        (patch("/list", ("replace", "/3", 1)), PatchFailedError, "/list"),
        (patch("/list", ("remove", "/3", None)), PatchFailedError, "/list"),
        (patch("/list", ("add", "/01", 1)), PatchFailedError, "/list/01"),
        (patch("/missing", ("add", "/a", 1)), PatchFailedError, "/missing"),
        (patch("/object", ("replace", "/missing", 1)), PatchFailedError, "/object/missing"),
    ],
)
async def test_what_is_out_of_reach_is_refused_with_its_path(
    store: OpaPolicyStore, change: Change, kind: type[StoreRejectedError], where: str
) -> None:
    """Nothing has changed then, and the error names the place."""
    before = {"list": [0, 1, 2], "scalar": 1, "object": {"a": 1}}
    await land(store, *(put(f"/{key}", value) for key, value in before.items()))

    error = await refusal(store, put("/unrelated", 1), change)

    assert isinstance(error, kind), error
    assert error.path is not None
    assert where.startswith(error.path)
    assert error.path in str(error)
    assert await value_at(store, "/") == before


# ---------------------------------------------------------------------------------------------------- one request


async def test_a_commit_is_one_request(store: OpaPolicyStore, wire: Wire) -> None:
    """PUT, PATCH and DELETE, guard, health state and ownership: once the parents are known, one `PATCH /v1/data`."""
    state = (put("/system/cabochon/opal", {"ready": False}),)
    first = Guard(None, Marker("life", 1))
    setup = (put("/users/bob", {"roles": []}), put("/users/eve", {}), put("/teams/a", {"members": [1]}))
    result = await store.commit(Changes((Write("1", setup),), state, first, claims=(path("/users/bob"),)))
    assert result.landed
    assert wire.statuses.count(304) == 0
    await land(store, put("/users/warm", 1), put("/teams/warm", 1))

    for number in range(2, 6):
        wire.clear()
        writes = (
            Write("a", (put("/users/bob", {"roles": [number]}), put(f"/users/new-{number}", {}))),
            Write("b", (patch("/teams/a", ("add", f"/left-{number}", 1), ("replace", "/members", [number])),)),
            Write("c", (put("/teams/b", number), patch("/users/eve", ("add", "/seen", number)))),
        )
        guard = Guard(Marker("life", number - 1), Marker("life", number))
        state = (put("/system/cabochon/opal", {"ready": True, "n": number}),)
        result = await store.commit(Changes(writes, state, guard, claims=(path(f"/users/new-{number}"),)))

        assert result.landed, result.refusal
        assert wire.lines() == ["PATCH /v1/data"]

    assert await value_at(store, "/users/bob") == {"roles": [5]}
    assert await store.read_marker() == Marker("life", 5)


async def test_a_delete_in_a_commit_is_one_write(store: OpaPolicyStore, wire: Wire) -> None:
    """What is there has to be looked up first, which changes nothing; then all of it lands together."""
    await land(store, put("/users", {"bob": 1, "eve": 2}), put("/teams", {"a": 1}))
    wire.clear()

    await land(
        store, put("/users/ann", 3), DeleteData(path("/users/bob")), DeleteData(path("/users/nobody")),
        patch("/teams", ("remove", "/a", None)),
    )  # fmt: skip

    assert wire.statuses.count(204) == 1
    assert wire.lines()[-1] == "PATCH /v1/data"
    assert (await value_at(store, "/users"), await value_at(store, "/teams")) == ({"ann": 3, "eve": 2}, {})


async def test_parents_of_our_own_documents_are_made_without_touching_what_is_there(
    opa: RealOpa, store: OpaPolicyStore, wire: Wire
) -> None:
    """`If-None-Match: *` answers 304 where an earlier life has left something."""
    for life in ("first", "second"):
        wire.clear()
        async with open_opa_store(OpaStoreSettings(policy_store_url=opa.url)) as anew:
            guard = Guard(None, Marker(life, 1))
            result = await anew.commit(
                Changes((Write("w", (put(f"/{life}", 1),)),), (), guard, claims=(path(f"/{life}"),))
            )
            assert result.landed
        made = [one for one in wire.requests if one.method == "PUT"]
        assert made
        assert {one.headers["if-none-match"] for one in made} == {"*"}
        statuses = {status for one, status in zip(wire.requests, wire.statuses, strict=True) if one.method == "PUT"}
        assert statuses == ({204} if life == "first" else {304})
    assert set(await store.owned_paths()) == {path("/first"), path("/second")}


# ------------------------------------------------------------------------------------------------------- refusals


async def test_a_document_where_a_rule_is_names_the_path(store: OpaPolicyStore) -> None:
    """And leaves the rest of the commit out; a neighbour of the rule may be written."""
    rule = SetPolicy("users.rego", "package users\n\nallow := true\n")
    assert (await store.commit(Changes((Write("p", (rule,)),)))).landed

    result = await store.commit(
        Changes((Write("1", (put("/fine", 1),)), Write("2", (put("/users/bob", 1), put("/users/allow", 2)))))
    )

    assert isinstance(result.refusal, PathConflictError)
    assert result.refusal.path == "/users/allow"
    assert "conflicting rule for data path users/allow found" in str(result.refusal)
    assert result.blame == Blame(1, 1)
    assert await value_at(store, "/fine") is None
    await land(store, put("/users/bob", 1))


async def test_a_policy_that_does_not_compile_is_refused_with_file_row_and_message(store: OpaPolicyStore) -> None:
    """In OPA's own words."""
    broken = SetPolicy("rules/broken.rego", "package broken\n\nallow := x\n")

    result = await store.commit(Changes((Write("p", (broken,)),)))

    assert result.refusal is not None
    assert "rules/broken.rego" in (result.refusal.path or "")
    assert str(result.refusal) == (
        "OPA refuses rules/broken.rego: rules/broken.rego:3:10: rego_unsafe_var_error: var x is unsafe"
    )


@pytest.mark.parametrize("guilty", [0, 133, 399])
async def test_the_bad_patch_among_four_hundred_changes_is_blamed(store: OpaPolicyStore, guilty: int) -> None:
    """Nothing of the others lands, and they can land without it."""
    good: list[Change] = [
        put(f"/users/u{number}", number) if number % 2 else patch("/patched", ("add", f"/p{number}", number))
        for number in range(400)
    ]
    await land(store, put("/patched", {}), put("/users", {}))
    bad = patch("/patched", ("replace", "/not/there", 1))
    writes = tuple(Write(f"w{number}", (bad if number == guilty else change,)) for number, change in enumerate(good))

    result = await store.commit(Changes(writes))

    assert result.blame == Blame(guilty, 0)
    assert isinstance(result.refusal, PatchFailedError)
    assert "/patched" in str(result.refusal)
    assert await value_at(store, "/") == {"patched": {}, "users": {}}
    rest = writes[:guilty] + writes[guilty + 1 :]
    assert (await store.commit(Changes(rest))).landed


async def test_a_listeners_bad_change_is_blamed_on_the_listener(store: OpaPolicyStore) -> None:
    """Not on the documents that travel with it."""
    await land(store, put("/system/scalar", 1))

    result = await store.commit(Changes((Write("w", (put("/fine", 1),)),), (put("/system/scalar/below", 1),)))

    assert result.blame == Blame(STATE, 0)
