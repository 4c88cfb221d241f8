"""Take note of entries that the engine refuses, where operators see it."""

from __future__ import annotations

from dataclasses import dataclass

import structlog

from cabochon.contract.metrics import Metrics
from cabochon.errors import StoreRejectedError
from cabochon.sync.rules.update import Entry

__all__ = ["Refusals"]

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Refusals:
    """Refuses entries, and counts and logs each."""

    metrics: Metrics

    def refuse(self, entry: Entry, error: StoreRejectedError) -> None:
        """Take note that the engine does not take this entry."""
        entry.refuse(error)
        self.metrics.count("writes.refused")
        log.warning("data_update.refused", update_id=entry.update.id, dst_path=str(entry.path), error=str(error))
