"""Tables on the terminal, and in pipes."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

__all__ = ["print_table"]

_WIDTH_OF_A_PIPE = 200


def print_table(table: Table) -> None:
    """Write a table to stdout: as wide as the terminal, wide where there is none, so that lines can be searched."""
    for column in table.columns:
        column.overflow = "fold"  # never lose the end of a name
    console = Console()
    if not console.is_terminal:
        console.width = _WIDTH_OF_A_PIPE
    console.print(table)
