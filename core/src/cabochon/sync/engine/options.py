"""How the engine is written to and looked at, as the operator wants it and as far as our promises allow."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Self

import structlog

from cabochon.settings.core import CoreSettings

__all__ = ["CommitOptions", "ProbeOptions"]

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


@dataclass(frozen=True, slots=True, kw_only=True)
class CommitOptions:
    """How much and how long.

    Attributes:
        timeout_s: how long an engine is asked for an answer before it counts as away, in seconds; a large commit has
            longer.
        max_updates: updates in one group.
        max_bytes: bytes of raw JSON in one group, unless the store takes less.
        probe: how to look at an idle engine; if not at all, its loss is noticed by the next commit.
        heartbeat_s: seconds after which the state is written again though nothing happened.
    """

    timeout_s: float = 5.0
    max_updates: int = 500
    max_bytes: int = 16_000_000
    probe: ProbeOptions = field(default_factory=ProbeOptions)
    heartbeat_s: float = 10.0

    @classmethod
    def of(cls, settings: CoreSettings) -> Self:
        """Take the settings."""
        return cls(timeout_s=settings.commit_deadline.total_seconds(), probe=ProbeOptions.of(settings))


def _at_most(time: timedelta, variable: str) -> float:
    seconds = time.total_seconds()
    if seconds <= _LONGEST_S:
        return seconds
    log.warning("probe.shortened", variable=variable, wanted_s=seconds, used_s=_LONGEST_S)
    return _LONGEST_S
