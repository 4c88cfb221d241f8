"""The demo on a terminal's whole screen: lamps, steps, transactions and callbacks as they happen."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.layout import Layout
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from cabochon_demo.board import Board, Step
from cabochon_demo.show import Show

__all__ = ["LiveShow"]

_AFTERGLOW_S = 0.8
"""A lamp that was off for a blink stays off so long on the screen."""
_FRAMES_PER_S = 12
_SPINNER = "|/-\\"
_NAME_WIDTH = 13


class LiveShow(Show):
    """Draws the board several times a second from a thread of its own."""

    def __init__(self, board: Board, console: Console) -> None:
        super().__init__(board)
        self._console = console
        self._live = Live(
            console=console, get_renderable=self._screen, screen=True, refresh_per_second=_FRAMES_PER_S, transient=True
        )

    def __enter__(self) -> Self:
        """Take over the screen."""
        self._live.start(refresh=True)
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Give the screen back."""
        self._live.stop()

    # --------------------------------------------------------------------------------------------------- the screen

    def _screen(self) -> RenderableType:
        height = self._console.size.height
        layout = Layout()
        body = Layout(name="body")
        layout.split_column(Layout(self._header(), size=3), body, Layout(self._footer(), size=3))
        right = Layout()
        body.split_row(Layout(Panel(self._steps(), title="the story", title_align="left")), right)
        room = height - 6
        callbacks = max(4, room // 3)
        right.split_column(
            Layout(Panel(self._transactions(room - callbacks - 2), title="transactions", title_align="left")),
            Layout(Panel(self._callbacks(callbacks - 2), title="callbacks", title_align="left"), size=callbacks),
        )
        return layout

    def _header(self) -> RenderableType:
        board = self.board
        grid = Table.grid(expand=True)
        grid.add_column()
        grid.add_column(justify="right")
        grid.add_row(
            Text("    ").join([self._lamp("ready"), self._lamp("healthy"), self._lamp("in_sync")]),
            Text(f"{board.elapsed_s:4.1f} s", style="dim"),
        )
        title = Text.assemble(("Cabochon", "bold"), " keeps the store ", (board.store, "cyan"), " in sync")
        where = f"{board.records} records of a made-up company, over {board.server}"
        return Panel(grid, title=title, title_align="left", subtitle=where, subtitle_align="right")

    def _lamp(self, name: str) -> Text:
        lit: bool = getattr(self.board.lamps, name)
        if time.monotonic() - self.board.dark.get(name, -_AFTERGLOW_S) < _AFTERGLOW_S:
            lit = False
        return Text.assemble(("● ", "bold green") if lit else ("○ ", "bold red"), (name, "" if lit else "bold red"))

    def _footer(self) -> RenderableType:
        return Panel(Text(self.board.now, no_wrap=True, overflow="ellipsis"), border_style="dim")

    def _steps(self) -> RenderableType:
        grid = Table.grid(padding=(0, 1))
        grid.add_column(width=1)
        grid.add_column()
        for step in self.board.steps:
            title = {"waiting": "dim", "running": "bold", "done": ""}[step.state]
            grid.add_row(_mark(step), Text(step.title, style=title, no_wrap=True, overflow="ellipsis"))
            if step.state == "running":
                for promise in step.promises:
                    mark = Text("✓", "green") if promise.held else Text("✗", "bold red")
                    measured = f" {promise.measured}" if promise.measured else ""
                    grid.add_row("", Text.assemble(mark, " ", promise.text, (measured, "cyan")))
        return grid

    def _transactions(self, rows: int) -> RenderableType:
        lines: list[Text] = []
        for ended in list(self.board.transactions)[-max(rows, 1) :]:
            name = ended.id if ended.kind in {"live", "retry"} else ended.kind
            again = "again: " if ended.kind == "retry" else ""
            lines.append(_line(Text("✓", "green") if ended.success else Text("✗", "red"), name, again + ended.what))
        return Group(*lines)

    def _callbacks(self, rows: int) -> RenderableType:
        lines: list[Text] = []
        for one in list(self.board.deliveries)[-max(rows, 1) :]:
            name = "base" if one.update_id not in self.board.published else one.update_id
            name = "policy" if one.update_id == "policies" else name
            what = f"{one.receiver} {one.status}"
            what += f"{', follow-up' if one.follow_up else ''}: {'saved' if one.saved else 'not saved'}"
            lines.append(_line(Text("✓", "green") if one.accepted else Text("✗", "red"), name, what))
        return Group(*lines)


def _line(mark: Text, name: str, what: str) -> Text:
    return Text.assemble(
        mark, " ", (f"{name:<{_NAME_WIDTH}.{_NAME_WIDTH}} ", "bold"), (what, "dim"), no_wrap=True, overflow="ellipsis"
    )


def _mark(step: Step) -> Text:
    if step.state == "waiting":
        return Text("·", "dim")
    if step.state == "running":
        return Text(_SPINNER[int(time.monotonic() * 8) % len(_SPINNER)], "yellow")
    return Text("✓", "green") if step.held else Text("✗", "bold red")
