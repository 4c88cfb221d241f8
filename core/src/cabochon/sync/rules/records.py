"""From an update that ends to its record in the transaction log."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cabochon.documents.path import DocumentPath
from cabochon.schemas import RemoteStatus
from cabochon.sync.rules.update import Entry, EntryState, Kind, Update
from cabochon.transactions.records import FailedPath, TransactionRecord
from cabochon.urls import masked_url

__all__ = ["policy_record", "record_of"]

_ACTIONS = {"PUT": "set_policy_data", "PATCH": "patch_policy_data", "DELETE": "delete_policy_data"}


def record_of(update: Update, ended_at: float) -> TransactionRecord | None:
    """Return the record of an update as it ends; entries that are ready count as saved, for that is being tried.

    None for the data files of a policy bundle: they belong to the policy transaction.
    """
    if update.kind is Kind.RECORD:
        return update.record
    if update.kind is Kind.POLICY_DATA:
        return None
    entries = update.entries
    if len(entries) == 1 and entries[0].landing and (entries[0].spec is None or not entries[0].spec.url):
        # By far the most frequent: one inline entry that lands.
        entry = entries[0]
        return TransactionRecord(
            number=update.number,
            id=update.id,
            actions=(_ACTIONS[entry.method],),
            created_at=update.arrived_at,
            ended_at=ended_at,
            origin=update.origin,
            landed=(entry.path,) if entry.replaces else (),
            patched=() if entry.replaces else (entry.path,),
            source=update.source,
        )
    # What has replaced an initial source's document counts for it when it is in force itself, and not before.
    moot = any(entry.state is EntryState.MOOT for entry in entries)
    errors = [entry.failure for entry in entries if entry.failure is not None]
    return TransactionRecord(
        number=update.number,
        id=update.id,
        actions=tuple(dict.fromkeys(_ACTIONS[entry.method] for entry in entries if entry.landing)),
        success=not errors,
        error="; ".join(str(error) for error in errors),
        created_at=update.arrived_at,
        ended_at=ended_at,
        origin=update.origin,
        landed=tuple(entry.path for entry in entries if entry.replaces and entry.landing),
        patched=tuple(entry.path for entry in entries if not entry.replaces and entry.landing),
        failed=tuple(
            FailedPath(entry.path, str(entry.error), entry.state is EntryState.PUT_OFF, entry.replaces)
            for entry in entries
            if entry.is_missing
        ),
        source=None if moot else update.source,
        remotes=tuple(_remote(entry) for entry in entries if entry.spec is not None and entry.spec.url),
    )


def policy_record(
    transaction_id: str,
    error: str,
    *,
    created_at: float,
    ended_at: float,
    saved: Sequence[Entry] = (),
    malformed: Mapping[DocumentPath, str] | None = None,
) -> TransactionRecord:
    """Return the record of a policy transaction; `error` is "" for one that is in force, `saved` is its data."""
    return TransactionRecord(
        number=0,
        id=transaction_id,
        transaction_type="policy",
        actions=("set_policies",),
        success=not error,
        error=error,
        created_at=created_at,
        ended_at=ended_at,
        origin=saved[0].update.origin if saved else 0,
        landed=tuple(entry.path for entry in saved),
        malformed=malformed,
    )


def _remote(entry: Entry) -> RemoteStatus:
    """Say how asking a source went. The record is for anyone's eyes: what a URL may hide is masked."""
    url = masked_url(entry.spec.url) if entry.spec is not None else ""
    return RemoteStatus(remote_url=url, succeed=entry.error is None, error=str(entry.error) if entry.error else "")
