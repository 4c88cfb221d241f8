"""What a process that only runs an agent may change for itself; never done by importing."""

from __future__ import annotations

import gc

__all__ = ["collect_less_often"]

_NEW_OBJECTS = 20_000


def collect_less_often() -> None:
    """Spare the cycle collector looks at what never goes away, and at updates that are gone by themselves.

    Updates hold no cycles once they have ended, so the collector finds next to nothing; by default it looks after every
    700 new objects, which costs the pipeline a fifth of its time (benchmarks/README.md).
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_NEW_OBJECTS, 20, 100)
