"""Print tables for people: columns that line up, and nothing in them that a terminal obeys."""

from __future__ import annotations

import shutil
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime

from django.core.management.base import BaseCommand
from django.utils import timezone

from django_jobqueue.payload import printable

#: Characters of a cell, but for the last of its line: a long name leaves room for the others.
CELL = 60

#: Stands in the place of what is not known or not there.
NOTHING = "-"

_UNITS = (("d", 86_400), ("h", 3_600), ("min", 60))
_BYTES = ("B", "KiB", "MiB", "GiB", "TiB")


def columns_of(command: BaseCommand) -> int | None:
    """Return how wide a line may be: on a terminal as wide as that, else as it comes."""
    return shutil.get_terminal_size().columns if command.stdout.isatty() else None


def table(
    head: Sequence[str], rows: Iterable[Sequence[object]], *, limit: int | None = None
) -> Iterator[str]:
    """
    Yield the lines of a table; a line is cut at ``limit`` columns, None for no limit.

    Control characters are escaped in every cell (``printable``): whoever can push a job must
    not write on an operator's screen. A number is written with commas and stands to the
    right, None is a dash.
    """
    numeric = [False] * len(head)
    lines = [tuple(head)]
    for row in rows:
        last = len(row) - 1
        numeric = [was or _is_number(cell) for was, cell in zip(numeric, row, strict=True)]
        lines.append(
            tuple(cell_of(cell, None if at == last else CELL) for at, cell in enumerate(row))
        )
    widths = [max(map(width, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        cells = (
            _padded(cell, wide, right=right)
            for cell, wide, right in zip(line, widths, numeric, strict=True)
        )
        yield cut("  ".join(cells).rstrip(), limit)


def facts(pairs: Iterable[tuple[str, object]], *, limit: int | None = None) -> Iterator[str]:
    """Yield a line for each name and its value, the values below each other."""
    shown = [(name, cell_of(value)) for name, value in pairs]
    wide = max((width(name) for name, _ in shown), default=0)
    for name, value in shown:
        yield cut(f"{_padded(name, wide, right=False)}  {value}".rstrip(), limit)


def cell_of(value: object, most: int | None = None) -> str:
    """Return what is shown of a value, in one line of at most ``most`` columns."""
    if value is None or value == "":
        return NOTHING
    return cut(f"{value:,}" if _is_number(value) else printable(str(value)), most)


def width(text: str) -> int:
    """Return how many columns a text takes: East Asian characters take two, accents none."""
    if text.isascii():
        return len(text)
    return sum(_columns(char) for char in text)


def cut(text: str, most: int | None) -> str:
    """Return a text of at most so many columns; an ellipsis stands for the rest."""
    if most is None or width(text) <= most:
        return text
    room, kept = most - 1, ""
    for char in text:
        room -= _columns(char)
        if room < 0:
            break
        kept += char
    return f"{kept}…"


# What people read -----------------------------------------------------------------------


def span(seconds: float | None) -> str:
    """Return a length of time: ``0.3 s``, ``12 s``, ``5 min``, ``3 h 20 min``, ``4 d 2 h``."""
    if seconds is None:
        return NOTHING
    if seconds < 0:
        return f"-{span(-seconds)}"
    if seconds < 10:
        return f"{seconds:.3g} s" if seconds >= 0.001 or not seconds else "0.001 s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    for index, (unit, length) in enumerate(_UNITS):
        if seconds >= length:
            whole, rest = divmod(seconds, length)
            if index + 1 < len(_UNITS):
                smaller, its = _UNITS[index + 1]
                if int(rest // its):
                    return f"{whole:.0f} {unit} {rest // its:.0f} {smaller}"
            return f"{whole:.0f} {unit}"
    return f"{seconds:.0f} s"


def ago(when: datetime | None, at: datetime) -> str:
    """Return how far a time is from ``at``: ``5 min ago``, ``in 20 s``."""
    if when is None:
        return NOTHING
    seconds = (at - when).total_seconds()
    return f"{span(seconds)} ago" if seconds >= 0 else f"in {span(-seconds)}"


def local(when: datetime | None) -> str:
    """Return a time in the project's time zone, to the second."""
    if when is None:
        return NOTHING
    return when.astimezone(timezone.get_default_timezone()).strftime("%Y-%m-%d %H:%M:%S")


def size(count: float | None) -> str:
    """Return a number of bytes: ``312 MiB``."""
    if count is None:
        return NOTHING
    for unit in _BYTES:
        if count < 1024 or unit == _BYTES[-1]:
            break
        count /= 1024
    return f"{count:.3g} {unit}" if unit != "B" else f"{count:.0f} B"


def share(part: float) -> str:
    """Return a share from 0 to 1 as a percentage; what happened is never shown as 0 %."""
    if 0 < part < 0.001:
        return "<0.1 %"
    return f"{part:.1%}".replace("%", " %")


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _columns(char: str) -> int:
    if unicodedata.combining(char):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def _padded(text: str, wide: int, *, right: bool) -> str:
    space = " " * (wide - width(text))
    return space + text if right else text + space
