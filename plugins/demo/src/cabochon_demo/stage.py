"""What the steps of the story work with: the agent's log, its engine, the source, the server and the audience."""

from __future__ import annotations

import re
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any

import anyio
import msgspec

from cabochon import DocumentPath
from cabochon.contract.tracing import UpdateTrace
from cabochon.documents.json_values import decode
from cabochon.schemas import DataUpdate
from cabochon.testing.in_process_source import InProcessSource
from cabochon.transactions.log import TransactionLog
from cabochon_demo.board import Board, Promise, Step
from cabochon_demo.company import COLLECTIONS, Company
from cabochon_demo.server import RECEIVERS, Server
from cabochon_demo.show import Show
from cabochon_demo.stranger import DemoStore
from cabochon_demo.watch import Watch

__all__ = ["Landed", "Stage"]

PATIENCE_S = 10.0
_POLL_S = 0.002
_OF_SYSTEM = re.compile(r"^package system\b", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Landed:
    """An update that has ended: its trace, and the milliseconds since it was published."""

    trace: UpdateTrace
    took_ms: float

    @property
    def success(self) -> bool:
        """Whether all of it is in force."""
        return not self.trace.error


@dataclass(slots=True, kw_only=True)
class Stage:
    """Where the story plays.

    Attributes:
        store: the agent's own store, to read what the engine holds.
        as_stranger: opens the engine as another process would.
        log: the agent's transaction log as of now.
        beat_s: seconds to pause, so that a person can follow.
        release_base: lets the last base data source answer.
        expected: what the engine must hold: every update so far applied, one after the other.
    """

    board: Board
    show: Show
    company: Company
    server: Server
    source: InProcessSource
    store: DemoStore
    as_stranger: Callable[[], AbstractAsyncContextManager[DemoStore]]
    watch: Watch
    log: Callable[[], TransactionLog]
    beat_s: float = 0.0
    release_base: Callable[[], None] = lambda: None
    expected: dict[str, Any] = field(default_factory=dict[str, Any])
    step: Step = field(default_factory=lambda: Step(""))

    # ------------------------------------------------------------------------------------------ for the audience

    async def say(self, sentence: str) -> None:
        """Tell what is going to happen, and pause."""
        self.board.now = sentence
        self.show.said(sentence)
        await self.beat()

    async def beat(self, times: float = 1) -> None:
        """Pause, so that a person can follow."""
        await anyio.sleep(self.beat_s * times)

    def keep(self, text: str, held: object, measured: str = "") -> None:
        """Put down whether a promise held."""
        promise = Promise(text, bool(held), measured)
        self.step.promises.append(promise)
        self.show.checked(promise)

    # ------------------------------------------------------------------------------------------------ what happens

    async def publish(self, update_id: str, *entries: dict[str, Any]) -> None:
        """Publish an update, without waiting for it."""
        given = [{"url": "", **entry} for entry in entries]
        await self.source.publish(msgspec.convert({"id": update_id, "entries": _raw(given)}, DataUpdate))

    async def landed(self, update_id: str, *entries: dict[str, Any]) -> Landed:
        """Publish an update and wait until it has ended.

        Raises:
            TimeoutError: it did not end.
        """
        started = time.monotonic()
        await self.publish(update_id, *entries)
        return await self.end_of(update_id, since=started)

    async def end_of(self, update_id: str, *, since: float) -> Landed:
        """Wait until an update has ended; `since` is on the clock of `time.monotonic`.

        Raises:
            TimeoutError: it did not end.
        """
        if await self.until(lambda: update_id in self.watch.updates) is None:
            raise TimeoutError(f"the update {update_id} did not end within {PATIENCE_S:g} s")
        at, trace = self.watch.updates[update_id]
        return Landed(trace, (at - since) * 1000)

    async def until(self, condition: Callable[[], bool | Awaitable[bool]]) -> float | None:
        """Wait for something; return the seconds that it took, None if it does not come about."""
        started = time.monotonic()
        while True:
            now = condition()
            if now if isinstance(now, bool) else await now:
                return time.monotonic() - started
            if time.monotonic() - started > PATIENCE_S:
                return None
            await anyio.sleep(_POLL_S)

    # ------------------------------------------------------------------------------------------------- what there is

    async def document(self, *path: str) -> Any:  # noqa: ANN401 - any JSON
        """Return what the engine holds at a path, None if there is nothing."""
        raw = await self.store.get_data(DocumentPath(path))
        return None if raw is None else decode(raw)

    async def everything(self) -> dict[str, Any]:
        """Return all of the company that the engine holds."""
        found = {name: await self.document(name) for name in COLLECTIONS}
        return {name: document for name, document in found.items() if document is not None}

    async def policies(self) -> dict[str, str]:
        """Return the policies that the engine holds, without those of the package `system`: they are not of the set."""
        held = await self.store.get_policies()
        return {id_: source for id_, source in held.items() if _OF_SYSTEM.search(source) is None}

    def well(self) -> bool:
        """Tell whether ready, healthy and in_sync are all true."""
        log = self.log()
        return log.ready and log.healthy and log.in_sync

    def reported(self) -> bool:
        """Tell whether each update's report was taken by each callback, once."""
        return all(
            len(self.server.accepted(update, name)) == 1 for update in self.board.published for name in RECEIVERS
        )

    def out_of_sync(self) -> list[str]:
        """Return the paths that the agent lists as out of sync."""
        return [str(path) for path in self.log().out_of_sync]


def _raw(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Let documents travel as JSON, as they come from a server."""
    return [
        {**entry, "data": msgspec.Raw(msgspec.json.encode(entry["data"]))} if "data" in entry else entry
        for entry in entries
    ]
