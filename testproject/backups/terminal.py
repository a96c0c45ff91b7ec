"""The live screen of a demonstration. The only module that needs rich."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TextIO

from rich.console import Console, RenderableType
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Table
from rich.text import Text


class TerminalScreen:
    """A progress bar at the bottom, with the events scrolling by above it."""

    def __init__(self, stream: TextIO) -> None:
        self._progress = _Bars(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=Console(file=stream, highlight=False),
        )
        self._task: TaskID | None = None
        self._progress.start()

    def say(self, text: str) -> None:
        """Print a line above the bar."""
        self._progress.console.print(Text(text))

    def begin(self, what: str, total: int) -> None:
        """Show a fresh bar; the bars before stay."""
        self._task = self._progress.add_task(what, total=total)
        self._progress.remark = ""

    def reach(self, done: int, remark: str = "") -> None:
        """Move the bar."""
        if self._task is not None:
            self._progress.update(self._task, completed=done)
            self._progress.remark = remark

    def tabulate(self, title: str, rows: Sequence[tuple[str, str]]) -> None:
        """Print a table, below the finished bars."""
        self.close()
        table = Table(title=title, title_justify="left", show_header=False)
        table.add_column(style="bold")
        table.add_column()
        for name, value in rows:
            table.add_row(Text(name), Text(value))
        self._progress.console.print(table)

    def close(self) -> None:
        """End the live display; the cursor is shown again."""
        self._progress.stop()


class _Bars(Progress):
    """Bars, and below them a line of its own for a remark: narrow terminals have no room beside."""

    remark = ""

    def get_renderables(self) -> Iterable[RenderableType]:
        """Yield the bars and the remark."""
        yield from super().get_renderables()
        if self.remark:
            yield Text(self.remark, style="yellow")
