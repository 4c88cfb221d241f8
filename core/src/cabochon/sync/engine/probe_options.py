"""How an idle policy store is looked at, as the operator wants it and as far as our promises allow."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Self

import structlog

from cabochon.settings.core import CoreSettings

__all__ = ["ProbeOptions"]

log = structlog.get_logger()

_LONGEST_S = 5.0
"""An emptied engine is found within this time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeOptions:
    """How to look at an idle engine.

    Attributes:
        enabled: whether to look at all.
        interval_s: seconds between two looks.
        timeout_s: seconds to wait for the answer.
    """

    enabled: bool = True
    interval_s: float = 1.0
    timeout_s: float = 3.0

    @classmethod
    def of(cls, settings: CoreSettings) -> Self:
        """Take the settings; what is longer than our promises allow is cut, with a warning: OPAL's default is 10 s."""
        return cls(
            enabled=settings.probe_enabled,
            interval_s=_at_most(settings.probe_interval, "OPAL_POLICY_STORE_LIVENESS_PROBE_INTERVAL_SECONDS"),
            timeout_s=_at_most(settings.probe_timeout, "OPAL_POLICY_STORE_LIVENESS_PROBE_TIMEOUT_SECONDS"),
        )


def _at_most(time: timedelta, variable: str) -> float:
    seconds = time.total_seconds()
    if seconds <= _LONGEST_S:
        return seconds
    log.warning("probe.shortened", variable=variable, wanted_s=seconds, used_s=_LONGEST_S)
    return _LONGEST_S
