"""Send one commit and come back with an answer: retries, deadlines, and lost answers cleared up."""

from __future__ import annotations

import anyio
import structlog

from cabochon.backoff import Backoff
from cabochon.engine_view import EngineView
from cabochon.errors import StateLostError, StoreUnavailableError
from cabochon.metrics import Metrics
from cabochon.policy_store import Changes, CommitResult, Guard, SupportsMarker

__all__ = ["EngineAway", "EngineSender"]

log = structlog.get_logger()


class EngineAway(Exception):  # noqa: N818 - a turn of events inside the core, no error of anyone's
    """The engine has not taken a commit within the deadline; `cause` says why."""

    def __init__(self, cause: Exception) -> None:
        super().__init__(str(cause) or type(cause).__name__)
        self.cause = cause


class EngineSender:
    """The one place that calls `PolicyStore.commit` for data and state."""

    def __init__(self, view: EngineView, *, timeout_s: float, backoff: Backoff, metrics: Metrics) -> None:
        self._view = view
        self._timeout_s = timeout_s
        self._backoff = backoff
        self._metrics = metrics

    async def send(self, changes: Changes, *, by_value: bool = False) -> CommitResult:
        """Commit until there is an answer or the deadline has passed.

        Args:
            changes: the commit.
            by_value: sending it twice does no harm, so a lost answer is simply asked for again.

        Returns:
            The result; with doubtful outcomes only from an engine without marker.

        Raises:
            EngineAway: no answer within the deadline.
            StateLostError: the engine does not hold what we left in it.
        """
        deadline = anyio.current_time() + self._timeout_s
        tries = 0
        while True:
            tries += 1
            result = await self._once(changes, deadline)
            if isinstance(result, CommitResult):
                if not result.doubtful:
                    return result
                self._metrics.count("commits.answers_lost")
                error: Exception = StoreUnavailableError("the engine's answer was lost")
                if isinstance(self._view.store, SupportsMarker) and changes.guard is not None:
                    if await self._landed_after_all(changes.guard, deadline):
                        return CommitResult.applied(changes)
                elif not by_value:
                    return result
            else:
                error = result
            wait = self._backoff.wait_s(tries)
            if anyio.current_time() + wait >= deadline:
                raise EngineAway(error)
            log.info("commit.retried", attempt=tries, wait_s=round(wait, 3), error=str(error))
            await anyio.sleep(wait)

    async def _once(self, changes: Changes, deadline: float) -> CommitResult | StoreUnavailableError:
        try:
            with anyio.fail_after(max(0.0, deadline - anyio.current_time())):
                return await self._view.store.commit(changes)
        except StoreUnavailableError as err:
            return err
        except StateLostError:
            raise
        except Exception as err:  # noqa: BLE001 - a guarded edge: a store that raises anything else has lost the answer
            log.warning("commit.answer_lost", error=f"{type(err).__name__}: {err}")
            return CommitResult.unknown(changes, err)

    async def _landed_after_all(self, guard: Guard, deadline: float) -> bool:
        """Read the marker back until the engine says whether the commit is in force."""
        tries = 0
        while True:
            tries += 1
            try:
                with anyio.fail_after(max(0.0, deadline - anyio.current_time())):
                    found = await self._view.read_marker()
            except (StoreUnavailableError, TimeoutError) as err:
                wait = self._backoff.wait_s(tries)
                if anyio.current_time() + wait >= deadline:
                    self._view.doubtful = guard.leaves
                    raise EngineAway(err) from err
                await anyio.sleep(wait)
                continue
            if found == guard.leaves:
                return True
            if guard.expects is not None and found != guard.expects:
                msg = "the engine does not hold the marker that was left in it"
                raise StateLostError(msg)
            return False
