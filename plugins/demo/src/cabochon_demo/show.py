"""How the demo is shown: nothing at all, plain lines, or (in `live_show`) a screen."""

from __future__ import annotations

from types import TracebackType
from typing import Self

import click

from cabochon_demo.board import Board, Delivery, Ended, Promise, Step

__all__ = ["PlainShow", "Show"]


class Show:
    """Shows nothing; the base of those that do."""

    def __init__(self, board: Board) -> None:
        self.board = board
        self._deliveries = 0

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End, whatever happened."""

    def began(self, step: Step) -> None:
        """A step begins."""

    def said(self, sentence: str) -> None:
        """Something is going to happen."""

    def checked(self, promise: Promise) -> None:
        """A promise of the running step was checked."""

    def transaction(self, ended: Ended) -> None:
        """A transaction has ended."""

    def delivered(self, delivery: Delivery) -> None:
        """A callback was called."""

    def catch_up(self) -> None:
        """Show the callbacks since the last time; the server's threads put them down."""
        deliveries = self.board.deliveries[self._deliveries :]
        self._deliveries += len(deliveries)
        for delivery in deliveries:
            self.delivered(delivery)


class PlainShow(Show):
    """Lines, as they fit a log: each with the seconds since the start."""

    def began(self, step: Step) -> None:
        """Write a heading."""
        number = self.board.steps.index(step) + 1
        self._line(f"--- {number}/{len(self.board.steps)} {step.title}")

    def said(self, sentence: str) -> None:
        """Write the sentence."""
        self._line(f"    {sentence}")

    def checked(self, promise: Promise) -> None:
        """Write the promise with its verdict."""
        self.catch_up()
        measured = f"  ({promise.measured})" if promise.measured else ""
        self._line(f"    {'kept' if promise.held else 'BROKEN'}: {promise.text}{measured}")

    def transaction(self, ended: Ended) -> None:
        """Write the transaction."""
        self.catch_up()
        how = "ok" if ended.success else f"failed: {ended.error}"
        name = " ".join(str(part) for part in (ended.number, ended.kind, ended.id) if part is not None)
        self._line(f"      transaction {name}: {ended.what}: {how}")

    def delivered(self, delivery: Delivery) -> None:
        """Write the delivery."""
        kind = "follow-up" if delivery.follow_up else "report"
        how = "taken" if delivery.accepted else "refused"
        self._line(f"      callback {delivery.receiver}: {kind} on {delivery.update_id[:12]}: {delivery.status} {how}")

    def _line(self, text: str) -> None:
        click.echo(f"{self.board.elapsed_s:6.2f} {text}")
