"""What a transaction listener is to Cabochon: someone who writes beside each commit, or hears of its end."""

from __future__ import annotations

from abc import ABC
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cabochon.documents.path import DocumentPath

if TYPE_CHECKING:
    from pydantic_settings import BaseSettings

    from cabochon.transactions.changes import Change
    from cabochon.transactions.log import TransactionLog
    from cabochon.transactions.records import TransactionRecord

__all__ = ["TransactionListener", "TransactionListenerType"]


class TransactionListener(ABC):
    """Hears of transactions. Both methods have a default, so a listener overrides what it needs."""

    owned_paths: Sequence[DocumentPath] = ()
    """Where `committing` may write data; nobody else may."""

    owned_policies: Sequence[str] = ()
    """Ids of the policies that `committing` may write."""

    def committing(self, records: Sequence[TransactionRecord], log: TransactionLog) -> Sequence[Change]:
        """Return what belongs into the same commit as these transactions.

        Synchronous and pure: it is called again, with any subset, when a commit is refused or split. An error or a
        write of what it does not own takes the listener out of service and is logged with its name.

        Args:
            records: the transactions of this commit as they will have ended; empty when only the state changed.
            log: the log as it will be after the commit; the next commit comes with a log of its own.
        """
        del records, log
        return ()

    async def ended(self, record: TransactionRecord, log: TransactionLog) -> None:
        """Hear of one transaction that has ended, in the order of their ends; `log` is as of then or later.

        Runs beside the sync, under a deadline. An error or a hang is logged with the listener's name and counted.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class TransactionListenerType:
    """Offer a transaction listener.

    Attributes:
        name: unique, compared without case.
        summary: one line for `cabochon plugins`.
        open: takes an instance of `settings` (or None) and gives an async context manager that yields a listener.
        stores: names of the stores it works with, compared without case; empty for all.
        settings: the listener's settings model.
    """

    name: str
    summary: str
    open: Callable[[Any], AbstractAsyncContextManager[TransactionListener]]
    stores: tuple[str, ...] = ()
    settings: type[BaseSettings] | None = None
