"""What has happened so far: steps and their promises, transactions, callbacks, lamps. Shows read it."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field
from typing import Literal

from cabochon.transactions.log import TransactionLog

__all__ = ["Board", "Delivery", "Ended", "Lamps", "Promise", "Step"]


@dataclass(frozen=True, slots=True)
class Promise:
    """What was promised, whether it held, and the figure that was measured."""

    text: str
    held: bool
    measured: str = ""


@dataclass(slots=True)
class Step:
    """One step of the story."""

    title: str
    state: Literal["waiting", "running", "done"] = "waiting"
    promises: list[Promise] = field(default_factory=list[Promise])

    @property
    def held(self) -> bool:
        """Whether every promise of it held; a step without any proves nothing."""
        return bool(self.promises) and all(promise.held for promise in self.promises)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """A transaction that has ended; `at` is on the clock of `time.monotonic`. Only updates of data have a number."""

    number: int | None = None
    id: str
    kind: str
    what: str
    success: bool
    error: str
    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One try to deliver a report to a callback."""

    receiver: str
    update_id: str
    follow_up: bool
    saved: bool
    status: int
    at: float

    @property
    def accepted(self) -> bool:
        """Whether the receiver took it."""
        return 200 <= self.status < 300  # noqa: PLR2004 - HTTP's classes


@dataclass(frozen=True, slots=True)
class Lamps:
    """The health of the agent at one moment."""

    ready: bool = False
    healthy: bool = False
    in_sync: bool = True

    @classmethod
    def of(cls, log: TransactionLog) -> Lamps:
        """Read them off the transaction log."""
        return cls(log.ready, log.healthy, log.in_sync)


@dataclass(slots=True)
class Board:
    """One for each run of the demo.

    `deliveries` is appended to by the server's threads; everything else belongs to the event loop.
    """

    steps: list[Step]
    store: str
    server: str = ""
    records: int = 0
    now: str = ""
    """What is going on, in a sentence."""
    lamps: Lamps = Lamps()
    dark: dict[str, float] = field(default_factory=dict[str, float])
    """When each lamp was last off."""
    transactions: deque[Ended] = field(default_factory=lambda: deque[Ended](maxlen=200))
    deliveries: list[Delivery] = field(default_factory=list[Delivery])
    succeeded: int = 0
    failed: int = 0
    started: float = field(default_factory=time.monotonic)
    finished: float | None = None

    @property
    def elapsed_s(self) -> float:
        """Seconds since the start, or that the whole took."""
        return (time.monotonic() if self.finished is None else self.finished) - self.started

    @property
    def held(self) -> bool:
        """Whether every promise of every step held."""
        return all(step.held for step in self.steps)

    @property
    def published(self) -> set[str]:
        """The ids of the live updates that have ended."""
        return {one.id for one in list(self.transactions) if one.kind == "live"}

    def light(self, lamps: Lamps) -> None:
        """Take note of the lamps."""
        self.lamps = lamps
        now = time.monotonic()
        for name in ("ready", "healthy", "in_sync"):
            if not getattr(lamps, name):
                self.dark[name] = now

    def ended(self, transaction: Ended) -> None:
        """Take note of a transaction."""
        self.transactions.append(transaction)
        if transaction.success:
            self.succeeded += 1
        else:
            self.failed += 1
