"""
Charts as SVG drawn by the server, so that they work without scripts, on paper and in the dark.

A chart is plain data with a template; ``{% chart it %}`` shows it. Nothing in it is
markup: whatever a name or a label holds is escaped by the template. The drawing is
stretched to the width that there is, and so all text stands beside it, not in it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from django.utils.formats import number_format
from django.utils.translation import gettext as _

#: The space that is drawn in, in units of the SVG; it has no fixed size on the screen.
WIDTH, HEIGHT = 600.0, 150.0

#: What a series or a bar may mean, which is also how it is coloured.
CSS = ("ok", "bad", "warn", "neutral")

#: Where a scale may end, times a power of ten: round, and not far above the highest value.
STEPS = (1, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10)

#: Shows a value to people.
Show = Callable[[float], str]


@dataclass(frozen=True, slots=True)
class Series:
    """
    A line to draw: ``values`` has one for each label, None where there is none.

    ``css`` is "ok", "bad", "warn" or "neutral".
    """

    name: str
    values: Sequence[float | None]
    css: str = "neutral"


@dataclass(frozen=True, slots=True)
class Line:
    """A series as it is drawn: each of ``parts`` is the points of a polyline."""

    name: str
    css: str
    parts: tuple[str, ...]
    latest: str


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle with a tooltip: a bar, or the place of one label over which a mouse can hover."""

    x: str
    y: str
    width: str
    height: str
    told: str


@dataclass(frozen=True, slots=True)
class Axis:
    """What stands beside a drawing: the value at its top, and labels from left to right."""

    top: str
    labels: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LineChart:
    """Lines over time. ``rows`` are the labels with all values, for who cannot see a drawing."""

    template: ClassVar[str] = "django_jobqueue/charts/lines.html"

    title: str
    summary: str
    lines: tuple[Line, ...]
    places: tuple[Box, ...]
    marks: tuple[Box, ...]
    axis: Axis
    rows: tuple[tuple[str, tuple[str, ...]], ...]


@dataclass(frozen=True, slots=True)
class BarChart:
    """A bar for each label."""

    template: ClassVar[str] = "django_jobqueue/charts/bars.html"

    title: str
    summary: str
    css: str
    bars: tuple[Box, ...]
    axis: Axis


@dataclass(frozen=True, slots=True)
class Sparkline:
    """A small line without axes, to stand in a row of a table."""

    template: ClassVar[str] = "django_jobqueue/charts/sparkline.html"

    summary: str
    css: str
    parts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Meter:
    """How much of something is taken; ``width`` is the percentage."""

    template: ClassVar[str] = "django_jobqueue/charts/meter.html"

    summary: str
    css: str
    width: str
    told: str


# Drawing -------------------------------------------------------------------------


def number(value: float) -> str:
    """Return a number for people: whole where it is or where the rest does not matter."""
    if value == int(value) or abs(value) >= 100:
        return number_format(value, 0, force_grouping=True)
    return number_format(value, 1 if abs(value) >= 1 else 2)


def line_chart(
    series: Sequence[Series],
    labels: Sequence[str],
    *,
    title: str,
    marks: Sequence[tuple[float, str]] = (),
    show: Show = number,
) -> LineChart:
    """
    Return a chart of lines from 0 up, all on one scale.

    ``marks`` are upright lines: each a place, counted in labels from 0 and possibly
    between two, and what it marks. ``show`` writes the values.
    Raises: ValueError for a series that has not as many values as there are labels.
    """
    drawn = [(each, [_finite(value) for value in each.values]) for each in series]
    for each, values in drawn:
        if len(values) != len(labels):
            raise ValueError(f"{each.name!r} has {len(values)} values for {len(labels)} labels")
    top = _ceiling(value for _each, values in drawn for value in values)
    step = _step(len(labels))
    rows = tuple(
        (
            label,
            tuple("" if values[at] is None else show(values[at] or 0.0) for _each, values in drawn),
        )
        for at, label in enumerate(labels)
    )
    names = [each.name for each in series]
    return LineChart(
        title=title,
        summary=_summary(title, drawn, show),
        lines=tuple(
            Line(each.name, each.css, _parts(values, top), _latest(values, show))
            for each, values in drawn
        ),
        places=tuple(
            _box((at - 0.5) * step, 0, step, HEIGHT, _told(label, cells, names))
            for at, (label, cells) in enumerate(rows)
        ),
        marks=tuple(
            _box(min(max(at * step, 1), WIDTH - 1) - 1, 0, 2, HEIGHT, told) for at, told in marks
        ),
        axis=Axis(show(top), _spread(labels)),
        rows=rows,
    )


def bar_chart(
    values: Sequence[float],
    labels: Sequence[str],
    *,
    title: str,
    css: str = "ok",
    show: Show = number,
) -> BarChart:
    """Return a chart with a bar for each value. Raises: ValueError unless each has a label."""
    finite = [_finite(value) for value in values]
    top = _ceiling(finite)
    room = WIDTH / max(len(finite), 1)
    bars = []
    for at, (value, label) in enumerate(zip(finite, labels, strict=True)):
        # The least that is not nothing is still seen.
        height = max(HEIGHT * value / top, 2.0) if value else 0.0
        told = f"{label}: {show(value or 0.0)}"
        bars.append(_box(at * room + room * 0.1, HEIGHT - height, room * 0.8, height, told))
    summary = _summary(title, [(Series("", (), css), finite)], show)
    return BarChart(title, summary, css, tuple(bars), Axis(show(top), _spread(labels)))


def sparkline(values: Sequence[float | None], *, title: str, css: str = "ok") -> Sparkline:
    """Return a small line; ``title`` is what it tells to who cannot see it."""
    finite = [_finite(value) for value in values]
    summary = _summary(title, [(Series("", (), css), finite)], number)
    return Sparkline(summary, css, _parts(finite, _ceiling(finite)))


def meter(
    value: float, of: float, *, title: str, css: str = "neutral", show: Show = number
) -> Meter:
    """Return a bar that is filled by ``value`` of ``of``; of nothing it is empty."""
    value, of = _finite(value) or 0.0, _finite(of) or 0.0
    share = min(max(value / of, 0.0), 1.0) if of > 0 else 0.0
    told = _("%(value)s of %(all)s") % {"value": show(value), "all": show(of)}
    return Meter(f"{title}: {told}" if title else told, css, f"{share * 100:.1f}", told)


def _finite(value: float | None) -> float | None:
    try:
        return None if value is None or not math.isfinite(value) else float(value)
    except OverflowError:  # somebody has written a whole number of hundreds of digits
        return None


def _ceiling(values: Iterable[float | None]) -> float:
    """Return a round number that no value is above."""
    most = max((value for value in values if value is not None), default=0.0)
    if most <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(most))
    return next(power * step for step in STEPS if power * step >= most)


def _step(count: int) -> float:
    return WIDTH / (count - 1) if count > 1 else WIDTH


def _parts(values: Sequence[float | None], top: float) -> tuple[str, ...]:
    """Return the points of the line, in as many parts as the gaps leave."""
    step = _step(len(values))
    parts: list[list[str]] = [[]]
    for at, value in enumerate(values):
        if value is None:
            parts.append([])
            continue
        y = HEIGHT - HEIGHT * max(value, 0.0) / top
        parts[-1].append(f"{at * step:.1f},{y:.1f}")
        alone = (at == 0 or values[at - 1] is None) and (
            at + 1 == len(values) or values[at + 1] is None
        )
        if alone:  # a point has no length: make it a dash, that it is seen
            parts[-1].append(f"{at * step + 4:.1f},{y:.1f}")
    return tuple(" ".join(part) for part in parts if part)


def _box(x: float, y: float, width: float, height: float, told: str) -> Box:
    return Box(f"{x:.1f}", f"{y:.1f}", f"{width:.1f}", f"{height:.1f}", told)


def _told(label: str, cells: Sequence[str], names: Sequence[str]) -> str:
    shown = ", ".join(f"{name} {cell}" for name, cell in zip(names, cells, strict=True))
    return f"{label}: {shown}"


def _spread(labels: Sequence[str]) -> tuple[str, ...]:
    """Return the first, the middle and the last: more have no room on a phone."""
    if len(labels) < 3:
        return tuple(labels)
    return labels[0], labels[len(labels) // 2], labels[-1]


def _latest(values: Sequence[float | None], show: Show) -> str:
    latest = values[-1] if values else None
    return "" if latest is None else show(latest)


def _summary(title: str, drawn: Sequence[tuple[Series, Sequence[float | None]]], show: Show) -> str:
    """Return the chart in a sentence for each line, as a screen reader says it."""
    told = []
    for series, values in drawn:
        there = [value for value in values if value is not None]
        if not there:
            told.append(f"{series.name}: {_('no data')}" if series.name else _("no data"))
            continue
        facts = _("from %(least)s to %(most)s, last %(last)s") % {
            "least": show(min(there)),
            "most": show(max(there)),
            "last": show(there[-1]),
        }
        told.append(f"{series.name} {facts}" if series.name else facts)
    return f"{title}: {'; '.join(told)}" if title else "; ".join(told)
