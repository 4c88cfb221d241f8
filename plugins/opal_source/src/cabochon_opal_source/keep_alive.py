"""When to ping a quiet server, and when to take it for gone: pure, the clock is the caller's."""

from __future__ import annotations

import math

__all__ = ["KeepAlive"]


class KeepAlive:
    """Notices a connection that is dead without having been closed.

    After `silence_s` seconds without a byte the server is to be pinged; after as many more it counts as gone. Beside
    that, `_ping_` is to be called every `call_every_s` seconds (never if that is 0), and its answer, too, must come.
    Times are seconds on any clock that never goes back.
    """

    def __init__(self, now: float, *, silence_s: float, call_every_s: float) -> None:
        self._silence_s = silence_s
        self._call_every_s = call_every_s or math.inf
        self._call_limit_s = max(silence_s, call_every_s)
        self._heard = now
        self._pinged = False
        self._called = now
        self._answered = True

    @property
    def next_at(self) -> float:
        """When to look again, unless something is heard before."""
        silent_until = self._heard + self._silence_s * (2 if self._pinged else 1)
        return min(silent_until, self._called + (self._call_every_s if self._answered else self._call_limit_s))

    def heard(self, now: float, *, answered: bool) -> None:
        """Take note that something came, and whether no call of `_ping_` is open now."""
        self._heard = now
        self._pinged = False
        self._answered = answered

    def paused(self, now: float) -> None:
        """Take note that we did not read until now: the server had no chance to be heard."""
        self._heard = self._called = now
        self._pinged = False

    def is_gone(self, now: float) -> bool:
        """Tell whether the server has had its chance."""
        silent = self._pinged and now >= self._heard + 2 * self._silence_s
        return silent or (not self._answered and now >= self._called + self._call_limit_s)

    def must_ping(self, now: float) -> bool:
        """Tell whether to send a WebSocket ping, and take note that it is sent."""
        if self._pinged or now < self._heard + self._silence_s:
            return False
        self._pinged = True
        return True

    def must_call(self, now: float) -> bool:
        """Tell whether to call `_ping_`, and take note that it is called."""
        if not self._answered or now < self._called + self._call_every_s:
            return False
        self._called = now
        self._answered = False
        return True
