"""Follows the update source: what it says goes to the updaters, and whether it is there into the log."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator

import anyio
import structlog

from cabochon.backoff import Backoff
from cabochon.contract.metrics import Metrics
from cabochon.contract.update_source import Connected, DataUpdateReceived, Disconnected, PolicyChanged, SourceEvent
from cabochon.sync.engine.committer import Committer
from cabochon.sync.intake.base_data import BaseData
from cabochon.sync.intake.data_updater import DataUpdater
from cabochon.sync.intake.policy_updater import PolicyUpdater
from cabochon.sync.intake.source_calls import SourceCalls
from cabochon.transactions.log import TransactionLog

__all__ = ["SourceFollower"]

log = structlog.get_logger()


class SourceFollower:
    """Takes what the source yields, in order; with `data_enabled` false, only what it says of policies."""

    def __init__(
        self,
        calls: SourceCalls,
        updater: DataUpdater,
        base_data: BaseData,
        policies: PolicyUpdater,
        committer: Committer,
        *,
        data_enabled: bool,
        backoff: Backoff,
        metrics: Metrics,
    ) -> None:
        self._calls = calls
        self._updater = updater
        self._base_data = base_data
        self._policies = policies
        self._committer = committer
        self._data_enabled = data_enabled
        self._backoff = backoff
        self._metrics = metrics
        self._ended = anyio.Event()

    async def ended(self) -> None:
        """Wait until the source has nothing more to give."""
        await self._ended.wait()

    async def run(self) -> None:
        """Follow the source to its end, except while an operator has cut us off."""
        ended = False
        while not ended:
            await self._calls.enabled()
            with self._calls.scope():
                await self._follow()
                ended = True
            if not ended:
                self._committer.change_log(_disconnected)
        log.info("update_source.ended")
        self._ended.set()

    async def _follow(self) -> None:
        """Follow the source to its end; one that breaks is followed again from its next connection on."""
        tries = 0
        events = self._calls.events()
        while True:
            try:
                event = await anext(events)
            except StopAsyncIteration:
                return
            except Exception as err:  # noqa: BLE001 - a guarded edge: whatever a source raises is the source's
                tries += 1
                wait = self._backoff.wait_s(tries)
                self._metrics.count("update_source.failed")
                log.warning(
                    "update_source.failed", error=f"{type(err).__name__}: {err}", attempt=tries, wait_s=round(wait, 3)
                )
                self._committer.change_log(_disconnected)
                await anyio.sleep(wait)
                events = self._calls.events()
            else:
                tries = 0
                try:
                    await self._take(event)
                except BaseException:
                    # The agent stops or is cut off: let the source clean up now, and not when the garbage is collected.
                    await _close(events)
                    raise

    async def _take(self, event: SourceEvent) -> None:
        match event:
            case DataUpdateReceived():
                if self._data_enabled:
                    await self._updater.receive(event)
            case Connected(resumed):
                log.info("update_source.connected", resumed=resumed)
                self._committer.change_log(_connected)
                self._policies.request()
                if self._data_enabled:
                    await self._base_data.connected(resumed=resumed)
            case Disconnected(reason):
                log.warning("update_source.disconnected", reason=reason)
                self._committer.change_log(_disconnected)
            case PolicyChanged():
                self._policies.request()


async def _close(events: AsyncIterator[SourceEvent]) -> None:
    if isinstance(events, AsyncGenerator):
        with anyio.move_on_after(1.0, shield=True):
            await events.aclose()


def _connected(now: TransactionLog) -> TransactionLog:
    return now.with_source_connected(connected=True)


def _disconnected(now: TransactionLog) -> TransactionLog:
    return now.with_source_connected(connected=False)
