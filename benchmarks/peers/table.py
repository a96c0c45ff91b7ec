"""The peers as one table: a line each, medians of all turns."""

from __future__ import annotations

from statistics import median

from benchmarks import report
from benchmarks.peers import kill
from benchmarks.peers.race import PeerRace
from benchmarks.peers.turn import BULK, CPU, ENQUEUE, MEMORY, ONE, P50, P99, TWO

#: The columns: two lines of heading, and the figure below them.
COLUMNS = (
    ("1 process", "jobs/s", ONE),
    ("2 processes", "jobs/s", TWO),
    ("enqueue", "jobs/s", ENQUEUE),
    ("in bulk", "jobs/s", BULK),
    ("latency", "p50 ms", P50),
    ("idle", "p99 ms", P99),
    ("CPU s", "/ 1,000", CPU),
    ("idle PSS", "MB", MEMORY),
)

#: Where a system has no such figure.
NONE = "-"


def text(race: PeerRace) -> str:
    """Return the table, the ratios, and the notes that a reader needs."""
    rows = [
        ["", *(upper for upper, _, _ in COLUMNS), "lost under"],
        ["", *(lower for _, lower, _ in COLUMNS), "kill -9"],
        *([name, *_cells(race, name)] for name in race.runs),
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [f"{race.name}: {race.title}"]
    for first, *others in rows:
        cells = [f"{cell:>{width}}" for cell, width in zip(others, widths[1:], strict=True)]
        lines.append(f"  {'  '.join([f'{first:{widths[0]}}', *cells])}")
    lines += [f"  {name:{widths[0]}}  skipped: {why}" for name, why in race.skipped.items()]
    lines += [report.compared(comparison) for comparison in race.comparisons]
    lines += [f"  {name}: {about}" for name, about in race.about.items()]
    return "\n".join([*lines, *map("  {}".format, _notes(race))]) + "\n"


def _cells(race: PeerRace, name: str) -> list[str]:
    figures = [figure for _, _, figure in COLUMNS]
    has = race.runs[name][0]
    cells = [_short(median(race.figures(name, each))) if each in has else NONE for each in figures]
    return [*cells, f"{race.lost[name]:,}" if name in race.lost else NONE]


def _short(value: float) -> str:
    """Return three digits of it, or the whole of it."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _notes(race: PeerRace) -> list[str]:
    rounds = max(len(runs) for runs in race.runs.values())
    notes = [
        *race.notes,
        f"Medians of {rounds} turns each, taken in turn.",
        "CPU is that of the worker's own processes while one process drains, PSS that of all",
        "processes of one idle worker together. Two processes are --processes 2 of ours, and the",
        "worker twice of all others.",
    ]
    if race.lost:
        notes += [
            f"Lost: of {kill.JOBS:,} jobs of 20 ms, the worker killed {kill.KILLS} times, what had "
            f"not run {kill.PATIENCE} s after the last",
            "that did. Some of it is still in Redis, and may run later: what Celery has not yet",
            "acknowledged after an hour, what dramatiq has not when its maintenance comes by.",
        ]
    return notes
