"""Reports that come by callback: they name an update, and not who reports; pure."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from cabochon.schemas import DataUpdateReport

__all__ = ["Report", "Reports"]

_MOST_PATHS = 10


class Report(Struct, frozen=True):
    """One report of an update.

    Attributes:
        host: where it came from; "" if that is not known.
        at: when, in Unix seconds.
        success: every entry was fetched and saved.
        failed: the paths of entries that were not, the first few.
    """

    host: str
    at: float
    success: bool
    failed: tuple[str, ...] = ()


class Reports:
    """Keeps the last reports of the last updates that were reported."""

    def __init__(self, *, most_updates: int = 1_000, most_of_each: int = 100) -> None:
        self._most_updates = most_updates
        self._most_of_each = most_of_each
        self._by_update: dict[str, list[Report]] = {}

    def add(self, report: DataUpdateReport, *, host: str, at: float) -> None:
        """Keep a report; one that names no update, as of the initial load, is passed over."""
        if report.update_id is None:
            return
        failed = [one.entry.dst_path or "/" for one in report.reports if not (one.fetched and one.saved)]
        kept = self._by_update.pop(report.update_id, [])
        kept.append(Report(host, at, not failed, tuple(failed[:_MOST_PATHS])))
        self._by_update[report.update_id] = kept[-self._most_of_each :]
        if len(self._by_update) > self._most_updates:
            del self._by_update[next(iter(self._by_update))]

    def of(self, update_id: str) -> Sequence[Report]:
        """List the reports of an update, oldest first."""
        return tuple(self._by_update.get(update_id, ()))
