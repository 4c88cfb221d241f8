"""How often what failed may be tried again, all of it together: however much fails, it costs so much and no more."""

from __future__ import annotations

__all__ = ["FailureBudget"]

_SAVED_UP_S = 4.0


class FailureBudget:
    """Each failure spends one of `per_s` that come in each second, of which those of four seconds are saved up.

    First tries are always made, and may leave a debt of as much; whatever is tried again waits for one to be left.
    """

    def __init__(self, per_s: float) -> None:
        self._per_s = per_s
        self._most = max(1.0, per_s * _SAVED_UP_S)
        self._left = self._most
        self._at = 0.0

    def failed(self, now: float) -> None:
        """Take note of a failure."""
        self._refill(now)
        self._left = max(-self._most, self._left - 1)

    def has_one_in_s(self, now: float) -> float:
        """Return the seconds until something may be tried again; 0 for now."""
        self._refill(now)
        return 0.0 if self._left >= 1 else (1 - self._left) / self._per_s

    def _refill(self, now: float) -> None:
        self._left = min(self._most, self._left + max(0.0, now - self._at) * self._per_s)
        self._at = now
