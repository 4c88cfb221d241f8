"""Send one commit and come back with an answer: retries, deadlines, and lost answers cleared up."""

from __future__ import annotations

from collections.abc import Sequence

import anyio
import structlog

from cabochon.backoff import Backoff
from cabochon.contract.metrics import Metrics
from cabochon.errors import AnswerLostError, StateLostError, StoreRejectedError, StoreUnavailableError
from cabochon.sync.engine.view import EngineView
from cabochon.transactions.changes import Change, Changes, Guard, SetData, Write
from cabochon.transactions.commit_result import STATE, Applied, CommitResult

__all__ = ["EngineAway", "EngineSender"]

log = structlog.get_logger()

_UNANSWERED_S = 3.0


class EngineAway(Exception):  # noqa: N818 - a turn of events inside the core, no error of anyone's
    """The engine has not taken a commit within the deadline; `cause` says why."""

    def __init__(self, cause: Exception) -> None:
        super().__init__(str(cause) or type(cause).__name__)
        self.cause = cause


class _Broke:
    """The store raised what its contract does not know."""

    def __init__(self, error: StoreUnavailableError) -> None:
        self.error = error


class EngineSender:
    """The one place that calls `PolicyStore.commit` for data and state."""

    def __init__(self, view: EngineView, *, timeout_s: float, backoff: Backoff, metrics: Metrics) -> None:
        self._view = view
        self._timeout_s = timeout_s
        self._backoff = backoff
        self._metrics = metrics
        self._asked_at: float | None = None
        self.state_written_at = 0.0
        """When listeners last wrote their part of a commit, or would have if they had one."""

    async def write(self, writes: Sequence[Write], state: Sequence[Change]) -> CommitResult:
        """Commit what is new in the desired state, and the listeners' part beside it; see `send`."""
        guard = self._view.life.guard()
        desired = self._view.desired
        changes = Changes(tuple(writes), tuple(state), guard, desired.claims, desired.releases)
        result = await self.send(changes, by_value=not writes)
        if type(result.state) is Applied:
            self.state_written_at = anyio.current_time()
        return result

    async def send(self, changes: Changes, *, by_value: bool = False) -> CommitResult:
        """Commit until there is an answer or the deadline has passed; a large commit has longer.

        A store that breaks twice on one commit, of which nothing lands, counts as refusing it: so what it breaks on is
        found and named, and the rest goes on.

        Args:
            changes: the commit.
            by_value: sending it twice does no harm, so a lost answer is simply asked for again.

        Returns:
            The result; with outcomes in doubt only from an engine without marker.

        Raises:
            EngineAway: no answer within the deadline.
            StateLostError: the engine does not hold what we left in it.
        """
        started = self._asked_at = anyio.current_time()
        try:
            return await self._send(changes, by_value=by_value)
        finally:
            self._asked_at = None
            self._metrics.observe("commits.duration", anyio.current_time() - started)

    async def _send(self, changes: Changes, *, by_value: bool) -> CommitResult:
        unreachable_until = anyio.current_time() + self._timeout_s
        deadline = unreachable_until + _size_bytes(changes) / self._view.store.traits.slowest_bytes_per_s
        tries = breaks = 0
        guard = changes.guard if self._view.ask.has_marker else None
        while True:
            tries += 1
            result = await self._once(changes, deadline)
            error: Exception = StoreUnavailableError("the engine's answer was lost")
            if isinstance(result, StoreUnavailableError):
                error = result
            elif isinstance(result, CommitResult) and not result.in_doubt:
                await self._note_marker(changes, result, deadline)
                return result
            else:
                self._metrics.count("commits.answers_lost")
                if guard is not None and await self._landed_after_all(guard, deadline):
                    self._view.life.landed(guard)
                    return CommitResult.applied(changes)
                if isinstance(result, _Broke):
                    breaks += 1
                    error = result.error
                    if breaks > 1:
                        return CommitResult.refused(changes, StoreRejectedError(f"the policy store fails with {error}"))
                elif guard is None and not by_value:
                    return result
            wait = self._backoff.wait_s(tries)
            # The size of a commit is no reason to wait for an engine that has none of it.
            if anyio.current_time() + wait >= (deadline if error is not result else unreachable_until):
                raise EngineAway(error)
            log.info("commit.retried", attempt=tries, wait_s=round(wait, 3), error=str(error))
            await anyio.sleep(wait)

    async def watch(self) -> None:
        """Log commits that wait for their answer for long, until cancelled; the deadline may be far away."""
        while True:
            await anyio.sleep(_UNANSWERED_S / 3)
            since = self._asked_at
            if since is not None and anyio.current_time() - since >= _UNANSWERED_S:
                self._asked_at = None
                self._metrics.count("commits.unanswered")
                log.warning("commit.unanswered", for_s=round(anyio.current_time() - since, 3))

    async def _note_marker(self, changes: Changes, result: CommitResult, deadline: float) -> None:
        guard = changes.guard
        if guard is None:
            return
        landed = any(type(outcome) is Applied for outcome in (*result.outcomes, result.state))
        if not landed and not changes.writes and self._view.ask.has_marker:
            landed = await self._landed_after_all(guard, deadline)
        if landed:
            self._view.life.landed(guard)

    async def _once(self, changes: Changes, deadline: float) -> CommitResult | StoreUnavailableError | _Broke:
        try:
            with anyio.fail_after(max(0.0, deadline - anyio.current_time())):
                return _checked(changes, await self._view.store.commit(changes))
        except (AnswerLostError, TimeoutError) as err:
            # Before what says that nothing has landed: an unanswered request may be both.
            log.warning("commit.answer_lost", error=str(err) or "no answer before the deadline")
            return CommitResult.unknown(changes, err)
        except StoreUnavailableError as err:
            return err
        except StateLostError:
            raise
        except Exception as err:  # noqa: BLE001 - a guarded edge: whatever else a store raises is the store's
            error = StoreUnavailableError(f"{type(err).__name__}: {err}")
            log.warning("commit.broke", error=str(error))
            return _Broke(error)

    async def _landed_after_all(self, guard: Guard, deadline: float) -> bool:
        """Read the marker back until the engine says whether the commit is in force."""
        tries = 0
        while True:
            tries += 1
            try:
                with anyio.fail_after(max(0.0, deadline - anyio.current_time())):
                    found = await self._view.ask.marker()
            except (StoreUnavailableError, TimeoutError) as err:
                wait = self._backoff.wait_s(tries)
                if anyio.current_time() + wait >= deadline:
                    self._view.life.may_hold(guard)
                    raise EngineAway(err) from err
                await anyio.sleep(wait)
                continue
            if found == guard.leaves:
                return True
            if guard.expects is not None and found != guard.expects:
                msg = "the engine does not hold the marker that was left in it"
                raise StateLostError(msg)
            return False


def _checked(changes: Changes, result: CommitResult) -> CommitResult:
    """Return a store's answer.

    Raises:
        ValueError: it is not about this commit.
    """
    if len(result.outcomes) != len(changes.writes):
        msg = f"its answer has {len(result.outcomes)} outcomes for {len(changes.writes)} writes"
        raise ValueError(msg)
    if (blame := result.blame) is not None:
        blamed = changes.state if blame.write == STATE else ()
        if 0 <= blame.write < len(changes.writes):
            blamed = changes.writes[blame.write].changes
        if not 0 <= blame.change < len(blamed):
            msg = f"its answer blames {blame}, which was not in the commit"
            raise ValueError(msg)
    return result


def _size_bytes(changes: Changes) -> int:
    return sum(len(change.value) for write in changes.writes for change in write.changes if isinstance(change, SetData))
