"""The end of the demo: a table of promises and the health document, for people or as JSON."""

from __future__ import annotations

import json
from typing import Any

from rich.console import Console
from rich.json import JSON
from rich.table import Table
from rich.text import Text

from cabochon_demo.board import Board
from cabochon_demo.run import Outcome

__all__ = ["as_json", "print_summary"]


def print_summary(outcome: Outcome, console: Console) -> None:
    """Print what was promised and what was measured, then the document of `system.opal`."""
    board = outcome.board
    table = Table(title="What was promised", title_justify="left", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("", width=6, no_wrap=True)
    table.add_column("promise", ratio=1)
    table.add_column("measured", style="cyan", justify="left", max_width=32)
    for step in board.steps:
        table.add_row("", Text(step.title, style="bold"), "")
        for promise in step.promises:
            verdict = Text("kept", "green") if promise.held else Text("BROKEN", "bold red")
            table.add_row(verdict, promise.text, promise.measured)
    console.print()
    console.print(table)
    console.print()
    console.print(Text("data.system.opal, as the engine's own clients read it:", style="bold"))
    console.print(JSON(json.dumps(outcome.document, default=float), indent=2), soft_wrap=True)
    console.print()
    console.print(_verdict(board), soft_wrap=True)


def _verdict(board: Board) -> Text:
    promises = [promise for step in board.steps for promise in step.promises]
    kept = sum(promise.held for promise in promises)
    taken = sum(delivery.accepted for delivery in board.deliveries)
    figures = (
        f"{board.succeeded} transactions succeeded, {board.failed} failed; "
        f"{len(board.deliveries)} deliveries tried, {taken} taken; {board.elapsed_s:.1f} s"
    )
    if board.held:
        return Text.assemble((f"All {len(promises)} promises kept.", "bold green"), f" {figures}.")
    return Text.assemble((f"{len(promises) - kept} of {len(promises)} promises BROKEN.", "bold red"), f" {figures}.")


def as_json(outcome: Outcome) -> str:
    """Write the whole outcome as one JSON object."""
    board = outcome.board
    document: dict[str, Any] = {
        "held": board.held,
        "store": board.store,
        "duration_s": round(board.elapsed_s, 3),
        "records": board.records,
        "steps": [
            {
                "title": step.title,
                "held": step.held,
                "promises": [
                    {"promise": promise.text, "held": promise.held, "measured": promise.measured}
                    for promise in step.promises
                ],
            }
            for step in board.steps
        ],
        "transactions": {"succeeded": board.succeeded, "failed": board.failed},
        "callbacks": {
            "tries": len(board.deliveries),
            "taken": sum(delivery.accepted for delivery in board.deliveries),
        },
        "system.opal": outcome.document,
    }
    return json.dumps(document, indent=2, default=float)
