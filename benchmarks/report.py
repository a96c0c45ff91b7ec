"""How a race is shown: a table for people, or JSON for a program."""

from __future__ import annotations

import json
from dataclasses import asdict
from statistics import median

from benchmarks.race import Comparison, Race


def text(race: Race) -> str:
    """Return a race as lines of text."""
    lines = [f"{race.name}: {race.title}"]
    width = max(map(len, race.runs))
    for contender, runs in race.runs.items():
        name = contender
        for figure in runs[0]:
            values = [run[figure] for run in runs]
            lines.append(
                f"  {name:{width}}  {_number(median(values)):>9} {figure:13}"
                f"  (min {_number(min(values))}, max {_number(max(values))})"
            )
            name = ""
    lines += [compared(comparison) for comparison in race.comparisons]
    lines += [f"  {note}" for note in race.notes]
    return "\n".join(lines) + "\n"


def as_json(facts: dict[str, str], races: list[Race]) -> str:
    """Return everything as one JSON document."""
    found = []
    for race in races:
        document = asdict(race)
        for comparison, told in zip(race.comparisons, document["comparisons"], strict=True):
            told["is_met"] = comparison.is_met
            told["is_met_later"] = comparison.is_met_later
        found.append(document)
    return json.dumps({"facts": facts, "races": found}, indent=2) + "\n"


def compared(comparison: Comparison) -> str:
    """Return one comparison as a line of text."""
    pairs = " ".join(map(_number, comparison.pairs))
    line = f"  > {comparison.what}: {_number(comparison.value)}  (pair by pair {pairs})"
    if comparison.goal is not None:
        line += (
            f"; goal at {comparison.bound} {_number(comparison.goal)}: {_told(comparison.is_met)}"
        )
    if comparison.later is not None:
        later = _number(comparison.later)
        line += f"; in the long run {later}: {_told(comparison.is_met_later)}"
    return line


def _told(is_met: bool | None) -> str:
    return "met" if is_met else "NOT MET"


def _number(value: float) -> str:
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.2f}" if abs(value) < 100 else f"{value:.1f}"
