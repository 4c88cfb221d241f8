"""How far this agent has come in a server's log: where to resume from, and what to tell the server. No I/O."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypedDict

__all__ = ["Position", "Progress", "Report", "Resume"]

_MOST_ABOVE = 1_000
_MOST_FAILED = 1_000
_LONGEST_REASON = 300


class Position(NamedTuple):
    """An update's place; numbers of another log mean nothing."""

    log: str
    number: int


class Resume(TypedDict):
    """What `subscribe` is told."""

    log: str
    number: int


class Report(TypedDict):
    """What `progress` is told; a reason that is empty takes a failure back."""

    ended: int
    above: list[int]
    failed: dict[int, str]


def _nobody() -> None:
    """Do nothing: nobody waits for news."""


class Progress:
    """One life's progress, over any number of connections.

    Attributes:
        log: the identity of the log, "" before the first subscription.
        number: everything up to this number was handed on, or is not for this agent.
        has_news: whether there is something that `report` has not said yet.
        on_news: called when that becomes true.
    """

    def __init__(self) -> None:
        self.log = ""
        self.number = 0
        self.has_news = False
        self.on_news: Callable[[], None] = _nobody
        self._open: dict[int, None] = {}  # in ascending order, since numbers are taken in that order
        self._above: set[int] = set()
        self._failed: dict[int, str] = {}

    def resume(self) -> Resume:
        """Say where to go on from."""
        return {"log": self.log, "number": self.number}

    def begin(self, log: str, number: int) -> None:
        """Start afresh: what is older comes with base data."""
        self.log, self.number = log, number
        self._open.clear()
        self._above.clear()
        self._failed.clear()
        self._news()

    def reached(self, number: int) -> None:
        """Take note that the server has sent all that there is for this agent up to this number."""
        self.number = max(self.number, number)

    def is_copy(self, number: int) -> bool:
        """Tell whether this was handed on before."""
        return number <= self.number

    def take(self, number: int) -> Position:
        """Take note of an update that is handed on now, and give its position."""
        self.number = number
        self._open[number] = None
        return Position(self.log, number)

    def skip(self, number: int, error: str = "") -> None:
        """Take note of something that ends by being read; `error` says why if it is of no use."""
        self.number = number
        if error:
            self._fail(number, error)
        self._news()

    def ended(self, position: Position, error: str | None) -> None:
        """Take note of the end of an update, or that one which had failed is in force after all (`error` is None)."""
        log, number = position
        if log != self.log:
            return
        was_open = number in self._open
        if was_open:
            del self._open[number]
            self._above.add(number)
        if error is not None or not was_open:
            self._fail(number, error or "")
        self._news()

    def report(self) -> Report:
        """Say how far things are; failures are said again until `told`."""
        ended = next(iter(self._open)) - 1 if self._open else self.number
        self._above = {number for number in self._above if number > ended}
        self.has_news = False
        return {"ended": ended, "above": sorted(self._above)[:_MOST_ABOVE], "failed": dict(self._failed)}

    def told(self, report: Report) -> None:
        """Take note that the server has got a report."""
        for number, error in report["failed"].items():
            if self._failed.get(number) == error:
                del self._failed[number]

    def _fail(self, number: int, error: str) -> None:
        self._failed.pop(number, None)
        self._failed[number] = error[:_LONGEST_REASON]
        if len(self._failed) > _MOST_FAILED:
            del self._failed[next(iter(self._failed))]

    def _news(self) -> None:
        if not self.has_news:
            self.has_news = True
            self.on_news()
