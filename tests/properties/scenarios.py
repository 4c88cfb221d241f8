"""Scenarios: what happens to an agent, when; and the strategies that make them up."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, TypeAlias

from hypothesis import strategies as st

from .world import FAULTS, TOPIC, Fetch, Plan

OTHER_TOPIC = "policy_data/more"


@dataclass(frozen=True, slots=True)
class Send:
    """An update is published; `again` sends the update with that index once more instead."""

    at: float
    plans: tuple[Plan, ...]
    both_topics: bool = False
    again: int | None = None


@dataclass(frozen=True, slots=True)
class Reconnect:
    at: float
    resumed: bool


@dataclass(frozen=True, slots=True)
class Trouble:
    """Something happens to the engine.

    It is `down` or `hangs` for a while, is `emptied`, or `wiped` by others; or it is `strict` from now on and refuses
    whatever is bad, or `lenient` again.
    """

    at: float
    kind: str
    for_s: float


Event: TypeAlias = Send | Reconnect | Trouble


@dataclass(frozen=True, slots=True)
class Scenario:
    """What happens, and how the engine and its connection behave."""

    events: tuple[Event, ...]
    base: tuple[Plan, ...] = ()
    latency_s: float = 0.0
    faults: dict[int, str] = field(default_factory=dict[int, str])
    blames: bool = True
    policies: bool = False
    seed: int = 0


PATHS = ["/a", "/a", "/a/x", "/a/x", "/a/y", "/a/x/z", "/a2", "/b", "/b/x"]

Operation: TypeAlias = dict[str, Any]


def _operation(op: str, path: str, value: Any) -> Operation:  # noqa: ANN401 - any JSON
    return {"op": op, "path": path, "value": value}


def _of_two(op: str, source: str, path: str) -> Operation:
    return {"op": op, "from": source, "path": path}


def _removal(path: str) -> Operation:
    return {"op": "remove", "path": path}


def _put(path: str, value: Any, fetch: Fetch | None) -> Plan:  # noqa: ANN401 - any JSON
    return Plan(path, value, "PUT", fetch)


def _patch(path: str, value: list[Operation], fetch: Fetch | None) -> Plan:
    return Plan(path, value, "PATCH", fetch)


def _root(value: Any, fetch: Fetch | None) -> Plan:  # noqa: ANN401 - any JSON
    return Plan("/", {"a": value, "a2": 1, "b": {}}, "PUT", fetch)


_numbers = st.integers(0, 99)
_documents: st.SearchStrategy[Any] = st.one_of(
    st.fixed_dictionaries({}, optional={"x": _numbers, "y": st.just([]), "l": st.just([])}),
    st.fixed_dictionaries({"x": st.fixed_dictionaries({"z": _numbers, "l": st.lists(_numbers, max_size=2)})}),
    st.fixed_dictionaries({"l": st.lists(_numbers, max_size=1)}),
    _numbers,
    st.lists(_numbers, max_size=2),
)
_append = st.builds(_operation, st.just("add"), st.sampled_from(["/l/-", "/x/l/-", "/-"]), _numbers)
_set = st.builds(
    _operation,
    st.sampled_from(["add", "add", "replace"]),
    st.sampled_from(["/x", "/y", "/x/z", "/l", "", "/n"]),
    _numbers | st.just([]),
)
_remove = st.builds(_removal, st.sampled_from(["/x", "/y", "/l/0", "/x/z", ""]))
_other = st.one_of(
    st.builds(
        _of_two,
        st.sampled_from(["move", "copy"]),
        st.sampled_from(["/x", "/l", "/y"]),
        st.sampled_from(["/x", "/y", "/m", "/l/-"]),
    ),
    st.builds(_operation, st.just("test"), st.just("/x"), _numbers),
)
_patches = st.lists(st.one_of(_append, _append, _set, _remove, _other), min_size=1, max_size=3)
_fetches = st.builds(Fetch, st.sampled_from([0.0, 0.0, 0.05, 0.3, 1.0, 2.5, 4.0]), st.sampled_from([0, 0, 0, 1, 2, 4]))
_maybe_fetched = st.none() | _fetches
_puts = st.builds(_put, st.sampled_from(PATHS), _documents, _maybe_fetched)
_patch_plans = st.builds(_patch, st.sampled_from(PATHS), _patches, _maybe_fetched)
_odd_plans = st.one_of(
    st.builds(_root, _documents, _maybe_fetched),
    st.just(Plan("/", 5)),
    st.just(Plan("/system/opal", {"ready": True})),
    st.just(Plan("/a", {"op": "no patch"}, "PATCH")),
    st.just(Plan("/%ff", 1)),
)
_plans = st.one_of(_puts, _puts, _puts, _patch_plans, _patch_plans, _odd_plans)
_times = st.sampled_from([0.0, 0.0, 0.01, 0.02, 0.1, 0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0])
_several: st.SearchStrategy[tuple[Plan, ...]] = st.lists(_plans, min_size=2, max_size=4).map(tuple)
_sends = st.builds(
    Send,
    _times,
    st.one_of(st.tuples(_plans), st.tuples(_plans), _several),
    st.booleans(),
    st.none() | st.none() | st.none() | st.integers(0, 5),
)
_reconnects = st.builds(Reconnect, _times, st.booleans())
_troubles = st.builds(
    Trouble, _times, st.sampled_from(["down", "hangs", "emptied", "wiped"]), st.sampled_from([0.05, 0.5, 2.0, 7.0])
)
_bases: st.SearchStrategy[tuple[Plan, ...]] = st.lists(_puts, max_size=3).map(tuple)
_calm_events: st.SearchStrategy[tuple[Event, ...]] = st.lists(_sends, min_size=1, max_size=10).map(tuple)
_stormy_events: st.SearchStrategy[tuple[Event, ...]] = st.lists(
    st.one_of(_sends, _sends, _sends, _troubles, _reconnects), min_size=1, max_size=12
).map(tuple)

calm = st.builds(
    Scenario,
    events=_calm_events,
    base=_bases,
    latency_s=st.sampled_from([0.0, 0.0, 0.01, 0.2]),
    blames=st.booleans(),
    seed=st.integers(0, 1_000),
)
"""The engine is well; sources may be slow, fail, and send what can't be done."""

stormy = st.builds(
    Scenario,
    events=_stormy_events,
    base=_bases,
    latency_s=st.sampled_from([0.0, 0.0, 0.01, 0.2]),
    faults=st.dictionaries(st.integers(1, 40), st.sampled_from(FAULTS), max_size=6),
    blames=st.booleans(),
    policies=st.booleans(),
    seed=st.integers(0, 1_000),
)
"""The engine and the way to it are in trouble as well."""

_bad = st.sampled_from(
    [
        Plan("/a", {"x": "bad", "l": []}),
        Plan("/a", {"x": {"z": 1}}),
        Plan("/a/x", "bad"),
        Plan("/a/x", {"z": 2}),
        Plan("/a/x/z", "bad"),
        Plan("/a2", ["bad"]),
        Plan("/b", 1),
        Plan("/b/x", {"y": "bad"}),
        Plan("/", {"a": {"x": "bad"}, "b": {}}),
        Plan("/a", [{"op": "add", "path": "/y", "value": "bad"}], "PATCH"),
        Plan("/a", [{"op": "add", "path": "/y", "value": 1}], "PATCH"),
        Plan("/a", [{"op": "copy", "from": "/x", "path": "/y"}], "PATCH"),
    ]
)
_some_bad = st.one_of(_bad, _bad, _plans)
_picky_sends = st.builds(
    Send, _times, st.one_of(st.tuples(_some_bad), st.lists(_some_bad, min_size=2, max_size=3).map(tuple))
)
_moods = st.builds(Trouble, _times, st.sampled_from(["strict", "strict", "lenient"]), st.just(0.0))
_picky_events: st.SearchStrategy[tuple[Event, ...]] = st.lists(
    st.one_of(_picky_sends, _picky_sends, _picky_sends, _moods, _troubles, _troubles, _reconnects),
    min_size=2,
    max_size=12,
).map(tuple)

picky = st.builds(
    Scenario,
    events=_picky_events,
    base=st.lists(st.one_of(_bad.filter(lambda plan: plan.method == "PUT"), _puts), max_size=3).map(tuple),
    latency_s=st.sampled_from([0.0, 0.0, 0.01, 0.2]),
    faults=st.dictionaries(st.integers(1, 40), st.sampled_from(FAULTS), max_size=2),
    blames=st.booleans(),
    policies=st.booleans(),
    seed=st.integers(0, 1_000),
)
"""The engine is in trouble, and changes its mind about what it takes."""

TOPICS = (TOPIC, OTHER_TOPIC)
