"""The transaction listeners of one agent, each fenced off: none of them can stall or break the sync."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import anyio
import structlog
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from cabochon.document_path import DocumentPath
from cabochon.metrics import Metrics
from cabochon.policy_store import Change, DeleteData, DeletePolicy, PatchData, SetData, SetPolicy
from cabochon.transaction_listener import TransactionListener
from cabochon.transaction_log import TransactionLog, TransactionRecord

__all__ = ["ListenerPanel"]

log = structlog.get_logger()

_ENDED_BUFFER = 10_000
_ENDED_TIMEOUT_S = 5.0

_Ended = tuple[TransactionRecord, TransactionLog]


class ListenerPanel:
    """Asks listeners for their part of a commit, and tells them of its end from a task of its own."""

    def __init__(self, listeners: Mapping[str, TransactionListener], metrics: Metrics) -> None:
        self._listeners = dict(listeners)
        self._active = dict(listeners)
        self._metrics = metrics
        self._ended: dict[str, tuple[MemoryObjectSendStream[_Ended], MemoryObjectReceiveStream[_Ended]]] = {
            name: anyio.create_memory_object_stream[_Ended](_ENDED_BUFFER)
            for name, listener in listeners.items()
            if type(listener).ended is not TransactionListener.ended
        }
        self.owned_paths: tuple[DocumentPath, ...] = tuple(
            path for listener in listeners.values() for path in listener.owned_paths
        )

    @property
    def active(self) -> tuple[str, ...]:
        """Names of the listeners in service."""
        return tuple(self._active)

    def changes(
        self, records: Sequence[TransactionRecord], now: TransactionLog, *, only: str | None = None
    ) -> list[tuple[str, Change]]:
        """Ask every listener (or one) what belongs into the commit; each change comes with its listener's name."""
        out: list[tuple[str, Change]] = []
        for name, listener in list(self._active.items()):
            if only is not None and name != only:
                continue
            try:
                wanted = list(listener.committing(records, now))
                for change in wanted:
                    _check_owned(listener, change)
            except Exception as err:  # noqa: BLE001 - a guarded edge: whatever a listener raises is the listener's
                self.quarantine(name, err)
                continue
            out.extend((name, change) for change in wanted)
        return out

    def quarantine(self, name: str, error: Exception) -> None:
        """Take a listener out of service."""
        if self._active.pop(name, None) is not None:
            self._metrics.count("listeners.quarantined")
            log.error("transaction_listener.quarantined", listener=name, error=f"{type(error).__name__}: {error}")

    def ended(self, records: Sequence[TransactionRecord], now: TransactionLog) -> None:
        """Pass on that transactions have ended; never waits."""
        for name, (send, _) in self._ended.items():
            for record in records:
                try:
                    send.send_nowait((record, now))
                except anyio.WouldBlock:
                    self._metrics.count("listeners.missed")
                    log.warning("transaction_listener.missed", listener=name, transaction_id=record.id)

    async def run(self) -> None:
        """Tell listeners what has ended, each in order and under a deadline, until cancelled."""
        async with anyio.create_task_group() as tasks:
            for name, (_, receive) in self._ended.items():
                tasks.start_soon(self._tell, name, self._listeners[name], receive)

    async def _tell(self, name: str, listener: TransactionListener, ended: MemoryObjectReceiveStream[_Ended]) -> None:
        async for record, now in ended:
            try:
                with anyio.fail_after(_ENDED_TIMEOUT_S):
                    await listener.ended(record, now)
            except Exception as err:  # noqa: BLE001 - a guarded edge: whatever a listener raises is the listener's
                self._metrics.count("listeners.failed")
                log.warning(
                    "transaction_listener.failed",
                    listener=name,
                    transaction_id=record.id,
                    error=f"{type(err).__name__}: {err}",
                )


def _check_owned(listener: TransactionListener, change: Change) -> None:
    match change:
        case SetData(path) | DeleteData(path) | PatchData(path):
            place = path
        case SetPolicy(id) | DeletePolicy(id):
            place = DocumentPath.parse(id)
        case _:
            msg = f"a listener may not use {type(change).__name__}"
            raise TypeError(msg)
    if not any(DocumentPath(owned).covers(place) for owned in listener.owned_paths):
        msg = f"it writes {place}, outside its owned_paths"
        raise ValueError(msg)
