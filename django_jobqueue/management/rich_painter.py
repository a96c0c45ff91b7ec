"""The same screen with colours. The only module here that needs rich."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TextIO

from rich.console import Console
from rich.live import Live
from rich.text import Text

from django_jobqueue.management.painters import TerminalPainter

#: How a line looks by how it begins; the rest as it comes.
WARNING, HEAD = "bold red", "bold"


class RichPainter(TerminalPainter):
    """Draws with rich: warnings stand out, and so do the heads of tables."""

    def __init__(self, stream: TextIO) -> None:
        self._live = Live(
            console=Console(file=stream, highlight=False), screen=True, auto_refresh=False
        )
        super().__init__(stream)

    @property
    def columns(self) -> int | None:
        """The width of the terminal as it is now."""
        return self._live.console.width

    def _begin(self) -> None:
        self._end.callback(self._live.stop)
        self._live.start()

    def paint(self, lines: Sequence[str]) -> None:
        """Draw as many as there is room for."""
        room = self._live.console.height
        # Text and no markup: a job may be called "[red]".
        drawn = [Text(line, style=_style(line), no_wrap=True) for line in lines[:room]]
        self._live.update(Text("\n").join(drawn), refresh=True)


def _style(line: str) -> str:
    if line.startswith("! "):
        return WARNING
    return HEAD if line and line.split("  ")[0].strip().isupper() else ""
