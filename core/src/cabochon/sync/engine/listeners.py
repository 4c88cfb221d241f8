"""The transaction listeners of one agent, each fenced off: none of them can stall or break the sync."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence

import anyio
import structlog

from cabochon.contract.metrics import Metrics
from cabochon.contract.transaction_listener import TransactionListener
from cabochon.documents.path import DocumentPath
from cabochon.errors import StoreRejectedError
from cabochon.sync.bell import Bell
from cabochon.transactions.changes import Change, DeleteData, DeletePolicy, PatchData, SetData, SetPolicy
from cabochon.transactions.log import TransactionLog
from cabochon.transactions.records import TransactionRecord

__all__ = ["ListenerPanel", "quarantine_guilty"]

log = structlog.get_logger()

_ENDED_BUFFER = 10_000
_ENDED_TIMEOUT_S = 5.0


class _Mailbox:
    """What one listener has not heard of yet, in order."""

    def __init__(self) -> None:
        self.waiting: deque[tuple[TransactionRecord, TransactionLog]] = deque()
        self.bell = Bell()


class ListenerPanel:
    """Asks listeners for their part of a commit, and tells them of its end from a task of its own."""

    def __init__(self, listeners: Mapping[str, TransactionListener], metrics: Metrics) -> None:
        self._listeners = dict(listeners)
        self._active = dict(listeners)
        self._metrics = metrics
        self._mailboxes = {
            name: _Mailbox()
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
        for name, mailbox in self._mailboxes.items():
            if name not in self._active:
                continue
            for record in records:
                if len(mailbox.waiting) >= _ENDED_BUFFER:
                    self._metrics.count("listeners.missed")
                    log.warning("transaction_listener.missed", listener=name, transaction_id=record.id)
                else:
                    mailbox.waiting.append((record, now))
            mailbox.bell.ring()

    async def run(self) -> None:
        """Tell listeners what has ended, each in order and under a deadline, until cancelled."""
        async with anyio.create_task_group() as tasks:
            for name, mailbox in self._mailboxes.items():
                tasks.start_soon(self._tell_all, name, mailbox)

    async def _tell_all(self, name: str, mailbox: _Mailbox) -> None:
        listener = self._listeners[name]
        while True:
            await mailbox.bell.answered()
            while mailbox.waiting:
                await self._tell(name, listener, mailbox.waiting)

    async def _tell(
        self, name: str, listener: TransactionListener, waiting: deque[tuple[TransactionRecord, TransactionLog]]
    ) -> None:
        """Tell a listener what waits, until it takes too long for one of them.

        One scope whose deadline moves on: a scope for each would cost more than all the rest of telling.
        """
        record, now = waiting[0]
        with anyio.CancelScope() as scope:
            while waiting:
                record, now = waiting.popleft()
                scope.deadline = anyio.current_time() + _ENDED_TIMEOUT_S
                try:
                    await listener.ended(record, now)
                except Exception as err:  # noqa: BLE001 - a guarded edge: whatever a listener raises is the listener's
                    self._failed(name, record, err)
        if scope.cancelled_caught:
            self._failed(name, record, TimeoutError(f"not done within {_ENDED_TIMEOUT_S:g} s"))

    def _failed(self, name: str, record: TransactionRecord, error: Exception) -> None:
        self._metrics.count("listeners.failed")
        log.warning(
            "transaction_listener.failed",
            listener=name,
            transaction_id=record.id,
            error=f"{type(error).__name__}: {error}",
        )


def _check_owned(listener: TransactionListener, change: Change) -> None:
    match change:
        case SetData(path) | DeleteData(path) | PatchData(path):
            if not any(DocumentPath(owned).covers(path) for owned in listener.owned_paths):
                msg = f"it writes {path}, outside its owned_paths"
                raise ValueError(msg)
        case SetPolicy(id) | DeletePolicy(id):
            if id not in listener.owned_policies:
                msg = f"it writes the policy {id}, which is not in its owned_policies"
                raise ValueError(msg)
        case _:
            msg = f"a listener may not use {type(change).__name__}"
            raise TypeError(msg)


async def quarantine_guilty(
    panel: ListenerPanel, refusal_of: Callable[[str | None], Awaitable[StoreRejectedError | None]]
) -> None:
    """Commit each listener's part alone, and take out of service those that the engine refuses.

    Args:
        panel: the listeners.
        refusal_of: commits the part of this listener (None: of all of them) without any data; returns why the engine
            refuses it, None if it does not.
    """
    guilty = False
    for name in panel.active:
        refusal = await refusal_of(name)
        if refusal is not None:
            guilty = True
            panel.quarantine(name, refusal)
    if not guilty and await refusal_of(None) is not None:
        # Each alone is fine, together they are refused: none can be told to be innocent.
        for name in panel.active:
            panel.quarantine(name, StoreRejectedError("the engine refuses it together with the other listeners"))
