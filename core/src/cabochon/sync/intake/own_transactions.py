"""Transactions that no update source sent: of plugins, of services, and what policy bundles add to the data lane."""

from __future__ import annotations

from collections.abc import Callable

from cabochon.errors import StoreRejectedError
from cabochon.sync.engine.policy_writer import PolicyWriter
from cabochon.sync.engine.sender import EngineAway
from cabochon.sync.intake.arrivals import Arrivals
from cabochon.sync.intake.data_updater import DataUpdater
from cabochon.sync.intake.transactional_store import Transaction
from cabochon.sync.outcome.endings import Caller
from cabochon.sync.rules.records import policy_record
from cabochon.sync.rules.update import Entry, Kind, Update
from cabochon.transactions.records import TransactionRecord

__all__ = ["OwnTransactions"]


class OwnTransactions:
    """Puts them into the same queue as data updates, and waits for their end.

    Attributes:
        policies_applied: to be called when policies have landed.
    """

    def __init__(
        self,
        updater: DataUpdater,
        arrivals: Arrivals,
        writer: PolicyWriter,
        *,
        policies_applied: Callable[[], None],
        wall: Callable[[], float],
    ) -> None:
        self._updater = updater
        self._arrivals = arrivals
        self._writer = writer
        self.policies_applied = policies_applied
        self._wall = wall

    async def carry_out(self, transaction: Transaction) -> TransactionRecord:
        """Commit a caller's transaction and return its record."""
        if transaction.transaction_type == "policy":
            return await self._carry_out_policies(transaction)
        record = await self._land(transaction.id, transaction.entries, Kind.CALLER)
        if record is None:
            msg = f"transaction {transaction.id} has ended without a record"
            raise RuntimeError(msg)
        return record

    def give_up(self, transaction: Transaction, error: BaseException) -> None:
        """Record a caller's transaction that was rolled back."""
        self.record(
            TransactionRecord(
                number=self._arrivals.next_number,
                id=transaction.id,
                transaction_type=transaction.transaction_type or "data",
                success=False,
                error=f"rolled back: {type(error).__name__}: {error}",
                created_at=self._wall(),
                ended_at=self._wall(),
            )
        )

    def record(self, record: TransactionRecord) -> None:
        """Let the data lane write a record with its next commit."""
        self._arrivals.arrive(Update(record.id, [], Kind.RECORD, record=record))

    async def write_policy_data(self, policy_hash: str, entries: list[Entry]) -> list[Entry]:
        """Write the data files of a policy bundle; when this returns, each entry has ended."""
        if entries:
            await self._land(policy_hash, entries, Kind.POLICY_DATA)
        return entries

    async def _land(self, name: str, entries: list[Entry], kind: Kind) -> TransactionRecord | None:
        caller = Caller()
        self._updater.submit(Update(name, entries, kind, ending=caller))
        await caller.wait()
        return caller.record

    async def _carry_out_policies(self, transaction: Transaction) -> TransactionRecord:
        started = self._wall()
        error = ""
        try:
            await self._writer.write(transaction.id, transaction.policies)
        except (StoreRejectedError, EngineAway) as err:
            error = str(err)
        else:
            self.policies_applied()
        record = policy_record(transaction.id, error, created_at=started, ended_at=self._wall())
        self.record(record)
        return record
