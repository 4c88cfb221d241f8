"""OPAL's transaction API: collect actions in a block, commit them when it ends."""

from __future__ import annotations

import uuid
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Protocol

import structlog

from cabochon.documents import json_patch, json_values
from cabochon.documents.json_values import JsonError
from cabochon.documents.path import DocumentPath
from cabochon.errors import TransactionError
from cabochon.schemas import TransactionType
from cabochon.sync.rules.update import Entry
from cabochon.transactions.changes import Change, DeletePolicy, ReplacePolicies, SetPolicy
from cabochon.transactions.records import TransactionRecord

__all__ = ["Transaction", "TransactionalStore", "Transactions"]

log = structlog.get_logger()


class Transaction:
    """Actions that will land together. Nothing reaches the engine before the block ends."""

    def __init__(self, transaction_id: str, transaction_type: TransactionType | None) -> None:
        self.id = transaction_id
        self.transaction_type: TransactionType | None = transaction_type
        self.entries: list[Entry] = []
        self.policies: list[Change] = []
        self._open = True

    async def set_policy_data(self, data: object, path: str = "") -> None:
        """Replace the document at `path`; `data` is a plain JSON value, or raw JSON as bytes.

        Raises:
            TransactionError: the transaction has ended, is one of policies, or the data are no JSON.
        """
        self._add_entry(Entry(DocumentPath.parse(path), "PUT").ready(_raw(data)))

    async def patch_policy_data(self, data: object, path: str = "") -> None:
        """Apply a JSON patch (RFC 6902), a list of operations or raw JSON, to the document at `path`.

        Raises:
            TransactionError: the transaction has ended, is one of policies, or the data are no JSON patch.
        """
        raw = _raw(data)
        try:
            operations = json_patch.parse(raw)
        except JsonError as err:
            raise TransactionError(str(err)) from err
        self._add_entry(Entry(DocumentPath.parse(path), "PATCH").ready(raw, operations))

    async def delete_policy_data(self, path: str = "") -> None:
        """Remove what is at `path`; at the root, everything this agent has written.

        Raises:
            TransactionError: the transaction has ended or is one of policies.
        """
        self._add_entry(Entry(DocumentPath.parse(path), "DELETE").ready(None))

    async def set_policy(self, policy_id: str, policy_code: str) -> None:
        """Write one policy.

        Raises:
            TransactionError: the transaction has ended or is one of data.
        """
        self._add_policy(SetPolicy(policy_id, policy_code))

    async def delete_policy(self, policy_id: str) -> None:
        """Remove one policy.

        Raises:
            TransactionError: the transaction has ended or is one of data.
        """
        self._add_policy(DeletePolicy(policy_id))

    async def set_policies(self, policies: Mapping[str, str]) -> None:
        """Make these the whole set of policies, by id, in the order to load them.

        Raises:
            TransactionError: the transaction has ended or is one of data.
        """
        self._add_policy(ReplacePolicies(dict(policies)))

    def close(self) -> None:
        """Take no more actions."""
        self._open = False

    def _add_entry(self, entry: Entry) -> None:
        self._become("data")
        self.entries.append(entry)

    def _add_policy(self, change: Change) -> None:
        self._become("policy")
        self.policies.append(change)

    def _become(self, kind: TransactionType) -> None:
        if not self._open:
            msg = f"transaction {self.id} has ended; open a new one"
            raise TransactionError(msg)
        if self.transaction_type is None:
            self.transaction_type = kind
        if self.transaction_type != kind:
            msg = f"transaction {self.id} is one of type {self.transaction_type}: {kind} needs a transaction of its own"
            raise TransactionError(msg)


class Transactions(Protocol):
    """Who carries transactions out: the agent's two lanes."""

    async def carry_out(self, transaction: Transaction) -> TransactionRecord:
        """Commit it and return its record, which has gone through the transaction log."""
        ...

    def give_up(self, transaction: Transaction, error: BaseException) -> None:
        """Record that it was rolled back."""
        ...


class TransactionalStore:
    """The policy store as plugins and services use it.

    Example:
        >>> async def save(policy_store: TransactionalStore) -> None:
        ...     async with policy_store.transaction_context("update-1") as tx:
        ...         await tx.set_policy_data({"role": "admin"}, path="/users/bob")
    """

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions

    @asynccontextmanager
    async def transaction_context(
        self, transaction_id: str | None = None, transaction_type: TransactionType | None = None
    ) -> AsyncGenerator[Transaction]:
        """Collect actions; leaving the block commits them, in order with all other updates, and waits for the outcome.

        An exception inside the block rolls back: nothing is written, and the error is recorded in the log.

        Raises:
            TransactionError: the commit failed; the message says why.
        """
        transaction = Transaction(transaction_id or uuid.uuid4().hex, transaction_type)
        try:
            yield transaction
        except BaseException as err:
            transaction.close()
            log.info("transaction.rolled_back", transaction_id=transaction.id, error=f"{type(err).__name__}: {err}")
            self._transactions.give_up(transaction, err)
            raise
        transaction.close()
        if not transaction.entries and not transaction.policies:
            return
        record = await self._transactions.carry_out(transaction)
        if not record.success:
            raise TransactionError(record.error)


def _raw(data: object) -> bytes:
    try:
        return json_values.check(bytes(data)) if isinstance(data, bytes | bytearray) else json_values.encode(data)
    except (JsonError, TypeError) as err:
        msg = f"the data are no JSON: {err}"
        raise TransactionError(msg) from err
