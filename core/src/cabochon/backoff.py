"""How long to wait before the next try: exponential, with full jitter, bounded."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

__all__ = ["Backoff"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """Waits between tries.

    Attributes:
        first_s: seconds before the second try, at most.
        longest_s: seconds between two tries, at most.
        random: where the jitter comes from; tests pass a seeded one.
    """

    first_s: float = 1.0
    longest_s: float = 10.0
    random: Random = field(default_factory=Random)

    def wait_s(self, tries: int, *, at_least_s: float | None = None) -> float:
        """Seconds to wait after `tries` failed tries.

        Between half of the exponential step and all of it, so that many agents spread out but none hammers; never
        less than `at_least_s`, what the other side asked for.
        """
        step = min(self.longest_s, self.first_s * 2 ** min(tries - 1, 30))
        wait = step * (0.5 + self.random.random() / 2)
        return wait if at_least_s is None else max(wait, at_least_s)
