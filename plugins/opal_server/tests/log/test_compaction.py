"""Compaction: without what it removes the log leads to the same documents, from wherever one resumes."""

import copy
import json
from collections.abc import Callable, Iterable
from typing import Any, TypeAlias, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cabochon import DocumentPath, LogRecord
from cabochon_opal_server.log.compaction import Compaction

Entry: TypeAlias = dict[str, Any]
Json: TypeAlias = Any
INLINE = {"data": {"n": 1}}


def record(number: int, *entries: Entry, topics: tuple[str, ...] | None = None) -> LogRecord:
    full = [{"url": "", "topics": ["t"], **entry} for entry in entries]
    if topics is None:
        topics = tuple(dict.fromkeys(topic for entry in full for topic in entry["topics"]))
    return LogRecord(number, "data", topics, json.dumps({"id": str(number), "entries": full}).encode(), 0.0)


def superseded(records: Iterable[LogRecord], *, max_updates: int = 1000) -> dict[int, int]:
    compaction = Compaction(max_updates=max_updates)
    return {number: one.number for one in records for number in compaction.add(one)}


# ------------------------------------------------------------------------------------------------------------- table


def put(path: str, *topics: str, **more: Any) -> Entry:
    return {"dst_path": path, "topics": list(topics or ("t",)), **INLINE, **more}


def fetched(path: str) -> Entry:
    return {"dst_path": path, "url": "http://example.com"}


def patch(path: str) -> Entry:
    return {"dst_path": path, "save_method": "PATCH", "data": [{"op": "add", "path": "/x", "value": 1}]}


@pytest.mark.parametrize(
    ("log", "expected"),
    [
        pytest.param([[put("/a")], [put("/a")]], {1: 2}, id="same path"),
        pytest.param([[put("/a/b")], [put("a/")]], {1: 2}, id="ancestor, spelled otherwise"),
        pytest.param([[put("/a/b")], [put("")]], {1: 2}, id="root"),
        pytest.param([[put("/a")], [put("/a/b")]], {}, id="descendant covers nothing"),
        pytest.param([[put("/users2")], [put("/users")]], {}, id="by segment"),
        pytest.param([[fetched("/a")], [put("/a")]], {1: 2}, id="a document to fetch is covered"),
        pytest.param([[put("/a")], [fetched("/a")]], {}, id="a document to fetch covers nothing"),
        pytest.param([[put("/a")], [put("/a", data=None)]], {}, id="null is no document"),
        pytest.param([[put("/a"), put("/b")], [put("/a")]], {}, id="one entry is left"),
        pytest.param([[put("/a"), put("/b")], [put("/a")], [put("/b")]], {1: 3}, id="covered by two"),
        pytest.param([[put("/a"), put("/a")]], {}, id="an update does not cover itself"),
        pytest.param([[put("/a")], [patch("/a/b")], [put("/a")]], {}, id="patch below in between"),
        pytest.param([[put("/a/b")], [patch("/a")], [put("/a")]], {}, id="patch above in between"),
        pytest.param([[put("/a")], [patch("/b")], [put("/a")]], {1: 3}, id="patch elsewhere"),
        pytest.param([[put("/a")], [put("/a")], [patch("/a")]], {1: 2}, id="patch afterwards"),
        pytest.param([[put("/a")], [patch("/a"), put("/a")]], {}, id="patch before it in the same update"),
        pytest.param([[put("/a")], [put("/a"), patch("/a")]], {1: 2}, id="patch after it in the same update"),
        pytest.param([[put("/a"), patch("/b")], [put("/")]], {}, id="an update with a patch stays"),
        pytest.param([[put("/a", "x")], [put("/a", "y")]], {}, id="other topic"),
        pytest.param([[put("/a", "x")], [put("/a", "y", "x")]], {1: 2}, id="more topics"),
        pytest.param([[put("/a", "x", "y")], [put("/a", "x")], [put("/a", "y")]], {}, id="topics in parts"),
        pytest.param([[put("/a")], [put("/a")], [put("/a")]], {1: 2, 2: 3}, id="chain"),
        pytest.param([[put("/a")], [put("/%ff")], [put("/a")]], {}, id="a path nobody can read"),
        pytest.param([[], [put("/a")]], {}, id="no entries"),
    ],
)
def test_table(log: list[list[Entry]], expected: dict[int, int]) -> None:
    """
    What may go and what may not.
    """
    assert expected == superseded(record(number, *entries) for number, entries in enumerate(log, start=1))


def test_who_hears_of_the_update_counts_too() -> None:
    """
    Entries of a scope may have bare topics: the topics of the whole update tell who gets it.
    """
    one, other = ("one:data:t",), ("other:data:t",)

    assert {} == superseded([record(1, put("/a"), topics=one), record(2, put("/a"), topics=other)])
    assert {1: 2} == superseded([record(1, put("/a"), topics=one), record(2, put("/a"), topics=one)])


def test_what_is_no_data_update_stays() -> None:
    """
    Policy updates are passed over; nothing is concluded across what can't be read.
    """
    policy = LogRecord(2, "policy", ("t",), b"{}", 0.0)
    odd = LogRecord(2, "data", ("t",), b"{}", 0.0)

    assert {1: 3} == superseded([record(1, put("/a")), policy, record(3, put("/a"))])
    assert {} == superseded([record(1, put("/a")), odd, record(3, put("/a"))])


def test_memory_is_bounded() -> None:
    """
    Only the newest updates are remembered.
    """
    log = [record(1, put("/a")), record(2, put("/b")), record(3, put("/c")), record(4, put("/"))]

    assert {2: 4, 3: 4} == superseded(log, max_updates=2)


# ---------------------------------------------------------------------------------------------------------- property

PATHS = ["/", "/a", "/a/b", "/a/b/c", "/ab", "/c"]
topic_lists = st.lists(st.sampled_from("xyz"), min_size=1, max_size=3, unique=True)
entries = st.fixed_dictionaries(
    {
        "dst_path": st.sampled_from(PATHS),
        "topics": topic_lists,
        "kind": st.sampled_from(["put", "put", "put", "fetch", "patch"]),
    }
)
logs = st.lists(st.lists(entries, min_size=1, max_size=3), min_size=1, max_size=12)


def written(drawn: list[Entry], number: int) -> LogRecord:
    shapes: dict[str, Entry] = {
        "put": {"data": {"b": {"c": number}, "n": number}},
        "fetch": {"url": "http://example.com"},
        "patch": {"save_method": "PATCH", "data": []},
    }
    return record(
        number, *({"dst_path": one["dst_path"], "topics": one["topics"], **shapes[one["kind"]]} for one in drawn)
    )


def apply(documents: Json, update: LogRecord, topics: set[str], fails: frozenset[int]) -> Json:
    """Apply what an agent of these topics gets. A patch is any function of the document; `fails` can't be fetched."""
    for place, entry in enumerate(json.loads(update.body)["entries"]):
        if not topics & set(entry["topics"]):
            continue
        path = DocumentPath.parse(entry["dst_path"])
        if entry.get("save_method") == "PATCH":
            documents = changed(documents, path, patched(f"{update.number}-{place}"))
        elif "data" in entry:
            documents = changed(documents, path, replaced(entry["data"]))
        elif update.number not in fails:
            documents = changed(documents, path, replaced(f"fetched {update.number}-{place}"))
    return documents


def patched(by: str) -> Callable[[Json], Json]:
    return lambda old: {"patched": old, "by": by}


def replaced(new: Json) -> Callable[[Json], Json]:
    return lambda _: new


def changed(tree: Json, path: tuple[str, ...], change: Callable[[Json], Json]) -> Json:
    """Change a copy of the tree; what is missing above is made, and a scalar there refuses the change."""
    if not path:
        return change(copy.deepcopy(tree))
    if tree is not None and not isinstance(tree, dict):
        return tree
    members = cast("dict[str, Json]", tree or {})
    return {**members, path[0]: changed(members.get(path[0]), path[1:], change)}


@settings(max_examples=400)
@given(drawn=logs, resume=st.integers(0, 12), topics=topic_lists, fails=st.frozensets(st.integers(1, 12)))
def test_compacted_log_leads_to_the_same_documents(
    drawn: list[list[Entry]], resume: int, topics: list[str], fails: frozenset[int]
) -> None:
    """
    Whoever has everything up to any number ends with the same documents from the compacted log as from the whole one.
    """
    log = [written(one, number) for number, one in enumerate(drawn, start=1)]
    gone = superseded(log)
    whole: Any = None
    compacted: Any = None
    for one in log:
        whole = apply(whole, one, set(topics), fails)
        if one.number <= resume:
            compacted = copy.deepcopy(whole)
        elif one.number not in gone:
            compacted = apply(compacted, one, set(topics), fails)

    assert whole == compacted
    assert all(number < by <= len(log) for number, by in gone.items())
