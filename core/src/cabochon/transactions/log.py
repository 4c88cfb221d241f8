"""The transaction log: ready, healthy and in_sync as a pure state machine over what has ended.

A log never changes: `after` and the `with_...` methods return the next one. So the committer can show listeners the log
as it will be after a commit, and drop it if the commit is refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from cabochon.documents.path import DocumentPath
from cabochon.transactions.records import InitialSource, OutOfSync, TransactionRecord

__all__ = ["Half", "TransactionLog"]


class Half(Struct, frozen=True, kw_only=True):
    """What the transactions of one kind amount to, data or policies.

    Attributes:
        enabled: whether it counts for `ready` and `healthy`.
        restored: a backup brought it, of a state in which it had been synced.
        last: the last transaction that succeeded.
        last_failed: the last one that did not.
        successful: how many succeeded.
        failed: how many did not.
        latest_success: whether the last one to end, whatever became of those before, succeeded.
    """

    enabled: bool = True
    restored: bool = False
    last: TransactionRecord | None = None
    last_failed: TransactionRecord | None = None
    successful: int = 0
    failed: int = 0
    latest_success: bool = False

    def after(self, records: Sequence[TransactionRecord]) -> Half:
        """Return it once these transactions of its kind, in this order, have ended."""
        if not records:
            return self
        good = [record for record in records if record.success]
        bad = [record for record in records if not record.success]
        return msgspec.structs.replace(
            self,
            last=good[-1] if good else self.last,
            last_failed=bad[-1] if bad else self.last_failed,
            successful=self.successful + len(good),
            failed=self.failed + len(bad),
            latest_success=records[-1].success,
        )


class TransactionLog(Struct, frozen=True, kw_only=True):
    """What the stream of ended transactions amounts to.

    Attributes:
        data: what the data transactions amount to.
        policies: what the policy transactions amount to.
        engine_current: the engine holds everything that this agent has to say: false while it is filled again.
        source_connected: the update source is connected.
        heartbeat_at: Unix seconds at which the agent was last seen alive.
        pending_sources: initial data sources not synced yet, by key; None until the list is known.
        initial_paths: where the initial data sources are written, synced or not.
        failed_paths: paths whose latest update is not in force.
        not_restored: documents, with the reasons, that the engine held until it lost them, and that it refuses now.
        malformed: where data files of the policies in force are no JSON, and why: what was there before stays.
        highest_number: the origin of the newest data update that has ended.
        highest_success: whether all of that update is in force: a retry of an older one says nothing about it.
    """

    data: Half = Half()
    policies: Half = Half()
    engine_current: bool = False
    source_connected: bool = False
    heartbeat_at: float = 0.0
    pending_sources: Mapping[int, InitialSource] | None = None
    initial_paths: frozenset[DocumentPath] = frozenset()
    failed_paths: Mapping[DocumentPath, OutOfSync] = {}
    not_restored: Mapping[DocumentPath, str] = {}
    malformed: Mapping[DocumentPath, str] = {}
    highest_number: int = 0
    highest_success: bool = True

    @property
    def synced(self) -> bool:
        """Policy synced at least once and every initial data source too, as far as each half counts."""
        return (not self.policies.enabled or self.policies.successful > 0) and (
            not self.data.enabled or self._data_synced
        )

    @property
    def policy_served(self) -> bool:
        """Policy synced at least once, in this life or in the one that a backup is from."""
        return self.policies.successful > 0 or self.policies.restored

    @property
    def data_served(self) -> bool:
        """Every initial data source synced at least once, in this life or in the one that a backup is from."""
        return self._data_synced or self.data.restored

    @property
    def served(self) -> bool:
        """Synced in this life or in the one that a backup is from, as far as each half counts."""
        return (not self.policies.enabled or self.policy_served) and (not self.data.enabled or self.data_served)

    @property
    def ready(self) -> bool:
        """Synced, now or as a backup has it, and the engine holds what was synced."""
        return self.engine_current and self.served and not (self.not_restored and self._lacks_a_source())

    @property
    def healthy(self) -> bool:
        """Ready, synced in this life, the latest policies in force, and so is the newest data update that has ended."""
        return (
            self.ready
            and self.synced
            and (not self.policies.enabled or self.policies.latest_success)
            and (not self.data.enabled or self.highest_success)
        )

    @property
    def in_sync(self) -> bool:
        """No path whose latest update failed is still waiting."""
        return not self.failed_paths and not self.not_restored and not self.malformed

    @property
    def out_of_sync(self) -> Mapping[DocumentPath, OutOfSync]:
        """The paths that do not hold what they should, and why."""
        others = {path: OutOfSync(0, reason) for path, reason in (*self.malformed.items(), *self.not_restored.items())}
        return {**others, **self.failed_paths}

    def after(self, records: Sequence[TransactionRecord]) -> TransactionLog:
        """Return the log once these transactions, in this order, have ended."""
        data = [record for record in records if record.transaction_type == "data"]
        policies = [record for record in records if record.transaction_type == "policy"]
        failed_paths = self._failed_paths_after(records)
        number, success = self._highest_after(data, failed_paths)
        malformed = [record.malformed for record in policies if record.malformed is not None]
        return msgspec.structs.replace(
            self,
            data=self.data.after(data),
            policies=self.policies.after(policies),
            pending_sources=self._pending_after(records) if self.pending_sources else self.pending_sources,
            failed_paths=failed_paths,
            malformed=malformed[-1] if malformed else self.malformed,
            highest_number=number,
            highest_success=success,
        )

    def with_sources(self, sources: Mapping[int, InitialSource]) -> TransactionLog:
        """Return the log once the list of initial data sources is known; only the first list counts."""
        if self.pending_sources is not None:
            return self
        paths = frozenset(source.path for source in sources.values())
        return msgspec.structs.replace(self, pending_sources=sources, initial_paths=paths)

    def with_backup(self, *, policy: bool, data: bool, initial_paths: frozenset[DocumentPath]) -> TransactionLog:
        """Return the log of an agent that starts with a backup of a state which had these halves synced."""
        return msgspec.structs.replace(
            self,
            policies=msgspec.structs.replace(self.policies, restored=policy),
            data=msgspec.structs.replace(self.data, restored=data),
            initial_paths=initial_paths,
        )

    def with_not_restored(self, not_restored: Mapping[DocumentPath, str]) -> TransactionLog:
        """Return the log once these, and no others, are the documents that the engine does not take back."""
        if not_restored == self.not_restored:
            return self
        return msgspec.structs.replace(self, not_restored=dict(not_restored))

    def with_engine(self, *, current: bool) -> TransactionLog:
        """Return the log once the engine holds everything, or no longer does."""
        return self if current is self.engine_current else msgspec.structs.replace(self, engine_current=current)

    def with_source_connected(self, *, connected: bool) -> TransactionLog:
        """Return the log once the update source is connected, or no longer is."""
        if connected is self.source_connected:
            return self
        return msgspec.structs.replace(self, source_connected=connected)

    def with_heartbeat(self, at: float) -> TransactionLog:
        """Return the log of an agent that is alive at `at` (Unix seconds)."""
        return msgspec.structs.replace(self, heartbeat_at=at)

    def with_restored(
        self, replaced: Mapping[DocumentPath, int], patched: Mapping[DocumentPath, int], *, newest: int
    ) -> TransactionLog:
        """Return the log once an engine that was away holds these paths again.

        The numbers are their updates' origins; `newest` is the highest of them.
        """
        landed: dict[tuple[str, ...], int] = {**replaced}

        def waits(path: DocumentPath, why: OutOfSync) -> bool:
            if not why.put_off:
                # It failed in spite of what its own update has put off.
                return not _covered(path, why.number + 1, landed)
            return patched.get(path) != why.number and not _covered(path, why.number, landed)

        failed_paths = {path: why for path, why in self.failed_paths.items() if waits(path, why)}
        return msgspec.structs.replace(
            self,
            failed_paths=failed_paths,
            pending_sources=None
            if self.pending_sources is None
            else {
                key: source
                for key, source in self.pending_sources.items()
                if patched.get(source.path) != source.number and not _covered(source.path, source.number, landed)
            },
            highest_success=self.highest_success
            or (newest >= self.highest_number and not _has_failed(self.highest_number, failed_paths)),
        )

    def with_refused(self, top: DocumentPath, reason: str, *, number: int) -> TransactionLog:
        """Return the log once an engine that is back has refused what was put off at `top` and below it.

        `number` is the origin of the newest update among that.
        """
        refused = {
            path: OutOfSync(why.number, reason)
            for path, why in self.failed_paths.items()
            if why.put_off and path.overlaps(top)
        }
        known = self.failed_paths.get(top)
        missing = {} if refused or (known is not None and known.number >= number) else {top: OutOfSync(number, reason)}
        return msgspec.structs.replace(self, failed_paths={**self.failed_paths, **refused, **missing})

    def as_document(self) -> dict[str, Any]:
        """Return the whole document that `data.system.opal` shows, ready to be written as JSON."""
        out_of_sync = self.out_of_sync
        return {
            "agent_alive": True,
            "healthy": self.healthy,
            "heartbeat": self.heartbeat_at,
            "in_sync": self.in_sync,
            "last_data_transaction": _document(self.data.last),
            "last_failed_data_transaction": _document(self.data.last_failed),
            "last_failed_policy_transaction": _document(self.policies.last_failed),
            "last_policy_transaction": _document(self.policies.last),
            "out_of_sync_paths": [
                {"path": str(path), "reason": out_of_sync[path].reason} for path in sorted(out_of_sync)
            ],
            "ready": self.ready,
            "source_connected": self.source_connected,
            "transaction_data_statistics": {"failed": self.data.failed, "successful": self.data.successful},
            "transaction_policy_statistics": {"failed": self.policies.failed, "successful": self.policies.successful},
        }

    @property
    def _data_synced(self) -> bool:
        return self.pending_sources is not None and not self.pending_sources

    def _lacks_a_source(self) -> bool:
        return any(path.overlaps(source) for path in self.not_restored for source in self.initial_paths)

    def _highest_after(
        self, data: Sequence[TransactionRecord], failed_paths: Mapping[DocumentPath, OutOfSync]
    ) -> tuple[int, bool]:
        newest = max(data, key=_age, default=None)
        if newest is None or newest.origin < self.highest_number:
            return self.highest_number, self.highest_success
        return newest.origin, newest.success and not _has_failed(newest.origin, failed_paths)

    def _failed_paths_after(self, records: Sequence[TransactionRecord]) -> Mapping[DocumentPath, OutOfSync]:
        failing = any(record.failed for record in records)
        if not self.failed_paths and not failing:
            return self.failed_paths
        # From the last record to the first, so that what ended later is known: it may have mended what failed before.
        landed, put_off = _Later(), _Later()
        failed: list[tuple[DocumentPath, OutOfSync]] = []

        def still(path: DocumentPath, why: OutOfSync) -> OutOfSync:
            # What was put off after this, and would make up for it, does so when the engine is back and not before.
            if why.put_off or not put_off.makes_up_for(path, why.number):
                return why
            return msgspec.structs.replace(why, put_off=True)

        for record in reversed(records):
            failed.extend(
                (entry.path, still(entry.path, OutOfSync(record.origin, entry.reason, entry.put_off)))
                for entry in reversed(record.failed)
                if not landed.makes_up_for(entry.path, record.origin)
            )
            landed.add(record.origin, record.landed, record.patched)
            waits = [one for one in record.failed if one.put_off]
            put_off.add(
                record.origin,
                [one.path for one in waits if one.replaces],
                [one.path for one in waits if not one.replaces],
            )
        waiting = {
            path: still(path, why)
            for path, why in self.failed_paths.items()
            if not landed.makes_up_for(path, why.number)
        }
        for path, why in reversed(failed):
            known = waiting.get(path)
            # A patch that was put off is no news of one that failed: that stays until the document is replaced.
            if known is None or _weight(known) <= _weight(why):
                waiting[path] = why
        return waiting

    def _pending_after(self, records: Sequence[TransactionRecord]) -> Mapping[int, InitialSource]:
        synced = {record.source for record in records if record.success and record.source is not None}
        landed = _newest_landings(records)
        pending = self.pending_sources or {}
        return {
            key: source
            for key, source in pending.items()
            if key not in synced and not _covered(source.path, source.number, landed)
        }


class _Later:
    """What later transactions wrote, each by the number of its update: whole documents, and patches."""

    def __init__(self) -> None:
        self._replaced: dict[tuple[str, ...], int] = {}
        self._patched: set[tuple[DocumentPath, int]] = set()

    def add(self, origin: int, replaced: Iterable[DocumentPath], patched: Iterable[DocumentPath]) -> None:
        """Take in a transaction that ended before those already here."""
        _take_newer(self._replaced, origin, replaced)
        self._patched.update((path, origin) for path in patched)

    def makes_up_for(self, path: DocumentPath, number: int) -> bool:
        """Tell whether it makes up for what update `number` failed to write at `path`."""
        return (path, number) in self._patched or _covered(path, number, self._replaced)


def _age(record: TransactionRecord) -> tuple[int, int]:
    return record.origin, record.number


def _has_failed(origin: int, failed_paths: Mapping[DocumentPath, OutOfSync]) -> bool:
    """Tell whether an entry of this update still waits: a retry that succeeds speaks for itself alone."""
    return any(why.number == origin for why in failed_paths.values())


def _weight(why: OutOfSync) -> tuple[bool, int]:
    return not why.put_off, why.number


def _newest_landings(records: Sequence[TransactionRecord]) -> dict[tuple[str, ...], int]:
    landed: dict[tuple[str, ...], int] = {}
    for record in records:
        _take_newer(landed, record.origin, record.landed)
    return landed


def _take_newer(numbers: dict[tuple[str, ...], int], number: int, paths: Iterable[DocumentPath]) -> None:
    for path in paths:
        numbers[path] = max(numbers.get(path, -1), number)


def _covered(path: DocumentPath, number: int, landed: Mapping[tuple[str, ...], int]) -> bool:
    """Tell whether a document as new as `number` landed at `path` or above it."""
    return bool(landed) and any(landed.get(path[:depth], -1) >= number for depth in range(len(path) + 1))


def _document(record: TransactionRecord | None) -> dict[str, Any]:
    # Through JSON, so that it is made of what JSON is made of.
    return {} if record is None else msgspec.json.decode(msgspec.json.encode(record.to_wire()))
