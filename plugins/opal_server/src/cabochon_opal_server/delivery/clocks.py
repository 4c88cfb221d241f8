"""Time that does not jump, whatever the machine's clock is set to, and that is compared with no other machine's."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable

__all__ = ["Unchanged", "steady_clock"]


def steady_clock() -> Callable[[], float]:
    """Make a clock of Unix seconds that is right when it is made, and goes on at an even pace."""
    ahead_s = time.time() - time.monotonic()
    return lambda: ahead_s + time.monotonic()


class Unchanged:
    """How long things that others write have been as they are, by this machine's own clock.

    Args:
        elapsed: gives seconds.
    """

    def __init__(self, elapsed: Callable[[], float] = time.monotonic) -> None:
        self._elapsed = elapsed
        self._seen: dict[str, tuple[Hashable, float]] = {}

    def unchanged_s(self, name: str, value: Hashable) -> float:
        """Say for how many seconds it has had this value; 0 for what is seen for the first time."""
        now = self._elapsed()
        known = self._seen.get(name)
        if known is None or known[0] != value:
            self._seen[name] = (value, now)
            return 0.0
        return now - known[1]

    def keep(self, names: set[str]) -> None:
        """Forget the others."""
        self._seen = {name: one for name, one in self._seen.items() if name in names}
