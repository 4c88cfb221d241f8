"""What the engine shows, and how it fails when it is told to."""

from __future__ import annotations

from decimal import Decimal
from itertools import pairwise
from time import process_time
from types import SimpleNamespace
from typing import Any, cast

import anyio
import pytest

from cabochon import load_settings
from cabochon.contract.policy_store import PolicyStoreType
from cabochon.documents.json_values import encode
from cabochon.documents.path import DocumentPath
from cabochon.errors import StateLostError, StoreRejectedError, StoreUnavailableError
from cabochon.transactions.changes import Change, Changes, Guard, Marker, SetData, SetPolicy, Write
from cabochon.transactions.commit_result import Applied, Blame, CommitResult, Refused, Unknown
from cabochon_mock_store import MockEngine, MockPolicyStore, mock_store_type, plugin
from cabochon_mock_store.listener import MockHealthListener

USERS = DocumentPath(("users",))


def put(path: str, value: object) -> SetData:
    return SetData(DocumentPath.parse(path), encode(value))


def one(*changes: Change, guard: Guard | None = None) -> Changes:
    return Changes((Write("w", changes),), guard=guard)


def long_after_landing(engine: MockEngine, latency_s: float = 60.0) -> anyio.Event:
    """Tell of the landing of the next commit, whose answer then takes half of `latency_s`, however busy the machine."""
    landing = anyio.Event()

    def look(_change: object) -> None:
        engine.latency_s = latency_s
        landing.set()

    engine.reject_data = look
    return landing


def kinds(result: CommitResult) -> list[type]:
    return [type(outcome) for outcome in result.outcomes]


# ----------------------------------------------------------------------------------------------------- to look at


async def test_get_returns_copies_of_plain_values() -> None:
    """What a test reads is a plain value, exact, and its own."""
    engine = MockEngine()
    await engine.commit(one(put("/users/ann", {"level": Decimal("1.10"), "tags": [None]})))
    engine.get("/users")["bob"] = "not there"

    assert {"users": {"ann": {"level": Decimal("1.10"), "tags": [None]}}} == engine.documents
    assert engine.get("/users/bob") is None
    assert engine.get("/users/bob", default="nobody") == "nobody"


async def test_system_is_shown_only_by_name() -> None:
    """The agent's state is left out of the root, as in OPA."""
    engine = MockEngine()
    await engine.commit(one(put("/system/opal", {"ready": True}), put("/a", 1)))

    assert engine.documents == {"a": 1}
    assert engine.get("/system/opal/ready") is True


async def test_root_write_to_what_is_reserved_is_refused() -> None:
    """A root document can't bring its own `/system`."""
    result = await MockEngine().commit(one(put("/", {"system": {}})))

    assert kinds(result) == [Refused]
    assert "/system is reserved" in str(result.refusal)


async def test_commits_are_remembered_up_to_a_limit() -> None:
    """The last commits can be looked at, with what became of them."""
    engine = MockEngine(history=2)
    await engine.commit(one(put("/a", 0)))
    await engine.commit(one(put("/a", 1)))
    await engine.commit(one(put("/a/b", 2)))

    assert [(True, None), (False, StoreRejectedError)] == [
        (commit.landed, commit.error and type(commit.error).__mro__[1]) for commit in engine.commits
    ]
    assert engine.commits[0].changes == one(put("/a", 1))


async def test_version_counts_the_commits_that_landed() -> None:
    """The version token is new after each commit that landed."""
    engine = MockEngine()
    versions = [(await engine.commit(one(put("/a", number)))).version for number in range(3)]

    assert all(before != after for before, after in pairwise(versions))
    assert versions[-1] == str(engine.revision)


# ------------------------------------------------------------------------------------------------------- to break


async def test_fail_next_makes_the_engine_unavailable() -> None:
    """By default a commit that fails does not land and the engine is unavailable."""
    engine = MockEngine()
    engine.fail_next(n=2)
    for _ in range(2):
        with pytest.raises(StoreUnavailableError):
            await engine.commit(one(put("/a", 1)))
    assert engine.get("/a") is None

    assert kinds(await engine.commit(one(put("/a", 1)))) == [Applied]


async def test_fail_next_refuses() -> None:
    """A `StoreRejectedError` is an answer, and blames nothing."""
    engine = MockEngine()
    engine.fail_next(StoreRejectedError("not today"))
    result = await engine.commit(one(put("/a", 1)))

    assert (kinds(result), result.blame, engine.documents) == ([Refused], None, {})


async def test_fail_next_loses_the_answer() -> None:
    """After landing, the answer is lost: the commit is in force and nobody is told."""
    engine = MockEngine()
    engine.fail_next(after_landing=True)
    result = await engine.commit(one(put("/a", 1), guard=Guard(None, Marker("e", 1))))

    assert kinds(result) == [Unknown]
    assert (engine.get("/a"), engine.marker) == (1, Marker("e", 1))
    assert (True, StoreUnavailableError) == (engine.commits[-1].landed, type(engine.commits[-1].error))


async def test_fail_next_chooses_its_commits() -> None:
    """With `when`, other commits neither fail nor count."""
    engine = MockEngine()
    engine.fail_next(when=lambda changes: any(isinstance(change, SetPolicy) for change in changes.flat()))
    assert kinds(await engine.commit(one(put("/a", 1)))) == [Applied]

    with pytest.raises(StoreUnavailableError):
        await engine.commit(one(SetPolicy("a.rego", "package a")))
    assert kinds(await engine.commit(one(SetPolicy("a.rego", "package a")))) == [Applied]


async def test_engine_that_is_down_answers_nothing_and_keeps_all() -> None:
    """While it is down everything is unavailable; what it held is there when it comes up."""
    engine = MockEngine()
    store = MockPolicyStore(engine)
    await store.commit(one(put("/a", 1)))
    engine.go_down()
    questions = [store.health, store.get_policies, store.read_marker, store.owned_paths, store.restart_token]
    for ask in (*questions, store.export_data, lambda: store.get_data(USERS), lambda: store.commit(one())):
        with pytest.raises(StoreUnavailableError):
            await ask()
    engine.come_up()

    await store.health()
    assert engine.documents == {"a": 1}


async def test_commit_waits_while_the_engine_hangs() -> None:
    """A commit that meets a hanging engine lands once that comes up, and not if it was cancelled before."""
    engine = MockEngine()
    engine.hang()
    with anyio.move_on_after(0.01):
        await engine.commit(one(put("/cancelled", 1)))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(engine.commit, one(put("/waits", 1)))
        await anyio.sleep(0.01)
        assert engine.documents == {}
        engine.come_up()

    assert engine.documents == {"waits": 1}


async def test_latency_is_half_before_and_half_after_landing() -> None:
    """A commit lands half-way through its latency, so that being cancelled later loses only the answer."""
    engine = MockEngine(latency_s=0.1)
    landing = long_after_landing(engine)
    began = anyio.current_time()
    results: list[CommitResult] = []

    async def commit() -> None:
        results.append(await engine.commit(one(put("/a", 1))))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(commit)
        await landing.wait()
        assert anyio.current_time() - began >= 0.05
        tasks.cancel_scope.cancel()

    assert [] == results
    assert engine.documents == {"a": 1}


async def test_answer_is_lost_when_the_engine_goes_down_before_it() -> None:
    """A commit that landed in an engine which then went down is unknown."""
    engine = MockEngine(latency_s=0.1)
    landing = long_after_landing(engine, latency_s=1.0)
    results: list[CommitResult] = []

    async def commit() -> None:
        results.append(await engine.commit(one(put("/a", 1))))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(commit)
        await landing.wait()
        engine.go_down()

    assert [[Unknown]] == [kinds(result) for result in results]


async def test_lost_state_is_noticed_by_the_guard_and_the_token() -> None:
    """An engine that restarted with nothing fails the guard and shows another token."""
    engine = MockEngine()
    token = engine.restart_token
    await engine.commit(one(put("/a", 1), SetPolicy("a.rego", "package a"), guard=Guard(None, Marker("e", 1))))
    engine.lose_state()

    assert (engine.documents, engine.policies, engine.marker) == ({}, {}, None)
    assert token != engine.restart_token
    with pytest.raises(StateLostError):
        await engine.commit(one(put("/a", 2), guard=Guard(Marker("e", 1), Marker("e", 2))))


async def test_wipe_takes_the_data_and_the_marker() -> None:
    """Someone else's write of the root takes the agent's state with it; policies and token stay."""
    engine = MockEngine()
    token = engine.restart_token
    await engine.commit(one(put("/a", 1), SetPolicy("a.rego", "package a"), guard=Guard(None, Marker("e", 1))))
    engine.wipe({"b": 2, "system": {"x": 1}})

    assert (engine.documents, engine.get("/system"), engine.marker) == ({"b": 2}, {"x": 1}, None)
    assert (list(engine.policies), token) == (["a.rego"], engine.restart_token)


async def test_rejected_policy_is_named() -> None:
    """A policy that the predicate rejects refuses the commit, by its id and with the reason."""
    engine = MockEngine()
    engine.reject_policy = lambda _id, source: "does not compile" if "{{" in source else None
    result = await engine.commit(one(SetPolicy("good.rego", "package a"), SetPolicy("bad.rego", "{{")))

    assert (str(result.refusal), result.blame) == ("policy bad.rego: does not compile", Blame(0, 1))
    assert engine.policies == {}


async def test_rejected_data_is_named() -> None:
    """Data that the predicate rejects refuses the commit, by its path and with the reason."""
    engine = MockEngine()
    engine.reject_data = lambda change: "too hot" if change == put("/a/hot", 1) else None
    result = await engine.commit(one(put("/a/cold", 1), put("/a/hot", 1)))

    assert (str(result.refusal), result.blame) == ("/a/hot: too hot", Blame(0, 1))
    engine.blames = False
    assert (await engine.commit(one(put("/a/hot", 1)))).blame is None


# ----------------------------------------------------------------------------------------------- plugin and speed


async def test_new_life_meets_the_engine_again() -> None:
    """A store type on an engine opens stores that share it."""
    engine = MockEngine()
    store_type = mock_store_type(engine)
    async with store_type.open(None) as first:
        await first.commit(one(put("/a", 1)))
    async with store_type.open(None) as second:
        assert await cast("MockPolicyStore", second).get_data(DocumentPath(("a",))) == b"1"


async def test_hook_cabochon_policy_stores() -> None:
    """`MOCK` is for tests only, and opens an engine as its settings say."""
    (store_type,) = plugin.cabochon_policy_stores()
    assert isinstance(store_type, PolicyStoreType)
    assert (store_type.name, store_type.for_tests) == ("MOCK", True)
    assert store_type.settings is not None
    settings = load_settings(store_type.settings, {"OPAL_MOCK_STORE_LATENCY": "0.5", "OPAL_MOCK_STORE_HISTORY": "7"})
    async with store_type.open(settings) as store:
        engine = cast("MockPolicyStore", store).engine

    assert (engine.latency_s, engine.commits.maxlen) == (0.5, 7)


async def test_hook_cabochon_transaction_listeners() -> None:
    """The health document goes to `/system/opal`, with this store only."""
    (listener_type,) = plugin.cabochon_transaction_listeners()
    assert listener_type.stores == ("MOCK",)
    log = cast("Any", SimpleNamespace(as_document=lambda: {"ready": True}))
    async with listener_type.open(None) as listener:
        assert isinstance(listener, MockHealthListener)
        (change,) = listener.committing((), log)

    assert change == put("/system/opal", {"ready": True})
    assert all(path.covers(change.path) for path in listener.owned_paths)


async def test_cost_of_a_commit_does_not_grow_with_the_documents() -> None:
    """A commit costs what its changes cost: one refused or applied beside 100,000 siblings takes no copy of them."""
    engine = MockEngine()
    await engine.commit(one(put("/users", {f"user{number}": {"n": number} for number in range(100_000)})))
    began = process_time()
    for number in range(200):
        await engine.commit(one(put(f"/users/user{number}", 1)))
        await engine.commit(one(put("/users/new", 1), put("/users/user1/x/y", 1), put("/users/new/z", 1)))

    assert process_time() - began < 1.0  # one copy takes about 10 ms; what others compute does not count
    assert engine.get("/users/new") is None
