"""What an engine must show to count as the one that this life of the agent has filled."""

from __future__ import annotations

import pytest

from cabochon.contract.policy_store import PolicyStore, StoreTraits
from cabochon.sync.engine.life import EngineLife
from cabochon.sync.engine.questions import EngineQuestions
from cabochon.transactions.changes import Changes, Guard, Marker
from cabochon.transactions.commit_result import CommitResult

pytestmark = pytest.mark.anyio


class _Store(PolicyStore):
    traits = StoreTraits(policy_unit="none", data_unit="documents", atomic="commit")

    async def commit(self, changes: Changes) -> CommitResult:
        return CommitResult.applied(changes)

    async def health(self) -> None:
        return None


class _Marked(_Store):
    """Shows the marker that is set here."""

    shows: Marker | None = None

    async def read_marker(self) -> Marker | None:
        return self.shows


class _Restarted(_Store):
    """Shows a token that each restart changes."""

    starts = 1

    async def restart_token(self) -> str:
        return f"start {self.starts}"


def _life(store: PolicyStore) -> EngineLife:
    return EngineLife(EngineQuestions(store))


def _left(guard: Guard) -> Marker:
    assert guard.leaves is not None
    return guard.leaves


async def test_only_the_marker_of_the_last_commit_is_ours() -> None:
    """
    Neither none, nor another life's, nor the one before counts.
    """
    store = _Marked()
    life = _life(store)
    first, second = life.guard(), life.guard()
    life.landed(first)
    life.landed(second)
    seen: list[bool] = []
    for store.shows in (None, Marker("another", 2), _left(first), _left(second)):
        seen.append(await life.holds_our_state())

    assert [False, False, False, True] == seen


@pytest.mark.parametrize("landed", [True, False])
async def test_after_a_lost_answer_either_marker_is_ours_until_it_is_settled(*, landed: bool) -> None:
    """
    The commit may be in the engine or not: what it shows when it is asked next decides.
    """
    store = _Marked()
    life = _life(store)
    before = life.guard()
    life.landed(before)
    lost = life.guard()
    life.may_hold(lost)
    store.shows = _left(lost if landed else before)

    assert await life.holds_our_state()
    await life.settle_marker()
    assert store.shows == life.marker
    store.shows = _left(before if landed else lost)
    assert not await life.holds_our_state()


async def test_engine_filled_anew_shares_no_marker_with_what_was_before() -> None:
    """
    A guard of before can't hold by accident in an engine that is filled again.
    """
    life = _life(_Marked())
    before = life.guard()
    life.landed(before)
    life.begin_anew()
    after = life.guard()

    assert (None, True) == (after.expects, _left(after).epoch != _left(before).epoch)


async def test_restart_token_tells_of_a_restart() -> None:
    """
    An engine without a marker is ours as long as it has not started again.
    """
    store = _Restarted()
    life = _life(store)
    await life.note_token()
    assert await life.holds_our_state()
    store.starts += 1
    assert not await life.holds_our_state()


async def test_engine_that_can_tell_nothing_is_taken_at_its_word() -> None:
    """
    It answers: that is all there is to ask.
    """
    assert await _life(_Store()).holds_our_state()


@pytest.mark.parametrize(
    ("shows", "newer"),
    [(Marker("backed up", 8), True), (Marker("backed up", 7), False), (Marker("other", 9), False), (None, False)],
)
async def test_engine_is_newer_than_the_backup_of_its_own_life_only(*, shows: Marker | None, newer: bool) -> None:
    """
    A later number of the same life says so; another life says nothing.
    """
    store = _Marked()
    store.shows = shows
    life = _life(store)
    assert not await life.is_past_backup()
    life.come_from_backup(Marker("backed up", 7))
    assert newer is await life.is_past_backup()
    life.leave_backup()
    assert not await life.is_past_backup()
