"""How long a commit of policies may take, and when it is given up. Under a virtual clock."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import anyio
import pytest
from trio.testing import MockClock

from cabochon.backoff import Backoff
from cabochon.contract.policy_store import PolicyStore, StoreTraits
from cabochon.errors import StoreUnavailableError
from cabochon.sync.desired.policies import DesiredPolicies
from cabochon.sync.engine.policy_writer import PolicyWriter
from cabochon.sync.engine.sender import EngineAway
from cabochon.transactions.changes import Change, Changes, DeletePolicy, ReplacePolicies, SetPolicy
from cabochon.transactions.commit_result import CommitResult

DEADLINE_S = 5.0


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    """Trio with a clock that jumps to the next thing to happen."""
    return "trio", {"clock": MockClock(autojump_threshold=0)}


class _SlowStore(PolicyStore):
    """Takes `takes_s(try)` seconds for a commit, then does what `behave(try)` says: an error is raised, None lands."""

    traits = StoreTraits(policy_unit="files", data_unit="none", atomic="change")

    def __init__(
        self, takes_s: Callable[[int], float], behave: Callable[[int], Exception | None] = lambda _try: None
    ) -> None:
        self._takes_s = takes_s
        self._behave = behave
        self.commits: list[Changes] = []
        self.began_at: list[float] = []

    async def commit(self, changes: Changes) -> CommitResult:
        self.commits.append(changes)
        self.began_at.append(anyio.current_time())
        await anyio.sleep(self._takes_s(len(self.commits)))
        error = self._behave(len(self.commits))
        if error is not None:
            raise error
        return CommitResult.applied(changes)

    async def health(self) -> None:
        return None


def _writer(store: PolicyStore, **policies: str) -> PolicyWriter:
    desired = DesiredPolicies(dict(policies))
    return PolicyWriter(store, desired, DEADLINE_S, Backoff(first_s=0.1, longest_s=1.0, random=Random(1)))  # noqa: S311


def _many(count: int) -> ReplacePolicies:
    return ReplacePolicies({f"{number}.rego": "package a" for number in range(count)})


@pytest.mark.parametrize(
    ("changes", "held", "longest_s"),
    [
        ([SetPolicy("new", "package new")], 3, DEADLINE_S + 2),
        ([DeletePolicy("0.rego")], 3, DEADLINE_S + 2),
        ([_many(300)], 0, DEADLINE_S + 600),
        ([ReplacePolicies({"new": "package new"})], 300, DEADLINE_S + 602),
    ],
    ids=["set", "delete", "replace", "replace that removes"],
)
async def test_one_try_may_take_longer_for_each_policy(changes: list[Change], held: int, longest_s: float) -> None:
    """
    300 policies that an engine compiles one by one take longer than the deadline, and are not called off.
    """
    in_force = {f"{number}.rego": "package old" for number in range(held)}
    patient, given_up = _SlowStore(lambda _try: longest_s - 0.1), _SlowStore(lambda _try: longest_s + 0.1)

    await _writer(patient, **in_force).write("t", changes)
    assert 1 == len(patient.commits)

    writer = _writer(given_up, **in_force)
    with pytest.raises(EngineAway):
        await writer.write("t", changes)
    assert 1 == len(given_up.commits)
    assert in_force == writer.desired.by_id


async def test_failures_are_retried_for_the_plain_deadline_only() -> None:
    """
    However many policies there are: an engine that is down is found to be away after the deadline.
    """
    store = _SlowStore(lambda _try: 0.0, lambda _try: StoreUnavailableError("down"))
    start = anyio.current_time()
    with pytest.raises(EngineAway, match="down"):
        await _writer(store).write("t", [_many(300)])

    assert DEADLINE_S - 1.0 <= anyio.current_time() - start <= DEADLINE_S
    assert len(store.commits) > 3


async def test_deadline_of_retries_begins_with_the_first_failure() -> None:
    """
    A long commit that breaks near its end is tried again, and the second try has its whole time too.
    """
    store = _SlowStore(lambda _try: 100.0, lambda tries: StoreUnavailableError("broke off") if tries == 1 else None)
    writer = _writer(store)
    await writer.write("t", [_many(300)])

    assert 2 == len(store.commits)
    assert 300 == len(writer.desired.by_id)


async def test_try_that_is_called_off_leaves_doubt() -> None:
    """
    Some of it may be in force: the next write is the whole set, not a difference.
    """
    store = _SlowStore(lambda tries: 1_000.0 if tries == 1 else 0.0)
    writer = _writer(store, old="package old")
    with pytest.raises(EngineAway):
        await writer.write("t1", [SetPolicy("a", "package a")])
    await writer.write("t2", [SetPolicy("b", "package b")])

    assert [ReplacePolicies({"old": "package old", "b": "package b"})] == store.commits[-1].flat()


async def test_first_set_is_written_though_it_is_empty() -> None:
    """
    It takes away what an earlier life left; after that, a set that is in force already is not written again.
    """
    store = _SlowStore(lambda _try: 0.0)
    writer = _writer(store)
    await writer.write("t1", [ReplacePolicies({})])
    await writer.write("t2", [ReplacePolicies({})])

    assert [[ReplacePolicies({})]] == [commit.flat() for commit in store.commits]


async def test_first_set_that_lands_in_an_engine_which_is_emptied_is_written_again() -> None:
    """
    Its answer may be on its way when the loss is found: nothing is known yet that could be restored.
    """
    store = _SlowStore(lambda _try: 2.0)
    writer = _writer(store)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(writer.write, "c0ffee", [_many(1)])
        await anyio.sleep(1.0)
        await writer.restore()

    assert 2 == len(store.commits)
    assert store.commits[0] == store.commits[1]
    assert {"0.rego": "package a"} == dict(writer.desired.by_id)
