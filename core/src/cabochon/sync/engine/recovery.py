"""An engine that is not there, comes back, or comes back empty: notice it, and see to it that it is filled.

First contact is the same thing: an engine that this life of the agent has never filled. Nothing here trusts a clock or
a connection; what counts is the marker (or restart token) that the engine shows.
"""

from __future__ import annotations

import anyio
import structlog

from cabochon.contract.metrics import Metrics
from cabochon.errors import StateLostError, StoreUnavailableError
from cabochon.sync.engine.access import EngineAccess
from cabochon.sync.engine.options import CommitOptions
from cabochon.sync.engine.refill import Content, Refill
from cabochon.sync.engine.sender import EngineAway

__all__ = ["EngineRecovery"]

log = structlog.get_logger()

_ASK_TIMEOUT_S = 2.0
"""An engine that was away is asked again after this long: its answer to a question from before may never come."""


class EngineRecovery:
    """Belongs to the committer's task: nothing here runs beside a commit."""

    def __init__(
        self,
        engine: EngineAccess,
        refill: Refill,
        *,
        options: CommitOptions,
        metrics: Metrics,
    ) -> None:
        self._view = engine.view
        self._contact = engine.contact
        self._earlier = engine.earlier
        self._refill = refill
        self._options = options
        self._metrics = metrics

    async def first_contact(self) -> None:
        """Fill the engine, or give up after the commit deadline and go on without it."""
        deadline = anyio.current_time() + self._options.timeout_s
        while not await self.refill():
            wait = self._contact.next_try_in_s()
            if anyio.current_time() + wait >= deadline:
                return
            await anyio.sleep(wait)

    async def probe(self) -> bool:
        """Look whether the engine still holds our state, and see to it if not; tell whether it did."""
        try:
            with anyio.fail_after(min(self._options.timeout_s, self._options.probe.timeout_s)):
                if await self._view.life.holds_our_state():
                    self._contact.held()
                    return True
        except (StoreUnavailableError, TimeoutError) as err:
            self._contact.lost(err)
            return False
        await self.refill(noticed_by="probe")
        return False

    async def try_again(self) -> None:
        """Ask the engine whether it is back, if it is time to."""
        if self._contact.next_try_in_s() <= 0:
            await self.refill()

    async def refill(self, *, noticed_by: str = "refill") -> bool:
        """Make the engine hold everything it should; tell whether it does now."""
        began = anyio.current_time()
        why: Exception
        try:
            intact = await self._is_intact(noticed_by)
            await self._earlier.take_newer()
            await self._refill.fill(intact=intact)
        except (StoreUnavailableError, TimeoutError, EngineAway) as err:
            why = err
        except StateLostError:
            log.warning("engine.state_lost", noticed_by="refill")
            why = StoreUnavailableError("the engine loses its state")
        else:
            self._contact.filled(anew=not intact)
            return True
        self._view.desired.rollback()
        self._contact.lost(why, asked_at=began)
        return False

    async def restore_refused(self) -> None:
        """Write what the engine refused when it was filled once more, for policies have changed."""
        if not self._view.desired.not_restored:
            return
        try:
            await self._refill.restore_refused()
        except StateLostError:
            await self.refill(noticed_by="commit")
        except EngineAway as err:
            self._contact.lost(err)

    async def _is_intact(self, noticed_by: str) -> bool:
        """Ask the engine whether it is the one that was filled; get ready to fill it if not."""
        life, met = self._view.life, self._refill.content is not Content.NONE
        with anyio.fail_after(min(self._options.timeout_s, _ASK_TIMEOUT_S)):
            if met and await life.holds_our_state():
                await life.settle_marker()
                return True
            if met:
                self._metrics.count("engine.state_lost")
                log.warning("engine.state_lost", noticed_by=noticed_by)
            await life.note_token()
            await self._earlier.look()
            return False
