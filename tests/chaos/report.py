"""What an experiment found, line by line, with the promise beside what was promised."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Line:
    """One figure. ``is_kept`` is None where nothing is promised about it."""

    name: str
    value: object
    promise: str = ""
    is_kept: bool | None = None


@dataclass(slots=True)
class Report:
    """All that an experiment has to tell. It is kept when every promise in it is."""

    title: str
    lines: list[Line] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def tell(self, name: str, value: object) -> None:
        """Add a figure about which nothing is promised."""
        self.lines.append(Line(name, value))

    def promise(self, name: str, value: object, promise: str, is_kept: bool) -> None:
        """Add a figure with what is promised about it, and whether that held."""
        self.lines.append(Line(name, value, promise, is_kept))

    def note(self, text: str) -> None:
        """Add a sentence that a reader needs to judge the figures."""
        self.notes.append(text)

    @property
    def broken(self) -> list[Line]:
        """Return the lines whose promise did not hold."""
        return [line for line in self.lines if line.is_kept is False]

    @property
    def verdict(self) -> str:
        """Return how it ends, in a few words."""
        promises = sum(line.is_kept is not None for line in self.lines)
        if not promises:
            return "nothing was promised"
        if self.broken:
            return f"{len(self.broken)} of {promises} promises BROKEN"
        return f"{promises} of {promises} promises kept"

    def text(self, facts: Mapping[str, str]) -> str:
        """Return it as a table for people."""
        width = max(len(name) for name in (*facts, *(line.name for line in self.lines)))
        values = [_shown(line.value) for line in self.lines]
        told = [f"{name:{width}}  {fact}" for name, fact in facts.items()]
        told += ["", self.title, ""]
        for line, value in zip(self.lines, values, strict=True):
            if line.is_kept is None:
                told.append(f"{line.name:{width}}  {value}")
            else:
                verdict = "kept" if line.is_kept else "BROKEN"
                told.append(f"{line.name:{width}}  {value:24}  {verdict}: {line.promise}")
        told += ["", *self.notes] if self.notes else []
        return "\n".join([*told, "", self.verdict, ""])

    def as_json(self, facts: Mapping[str, str]) -> str:
        """Return it as one JSON document for programs."""
        lines = {
            line.name: {
                "value": line.value,
                **({} if line.is_kept is None else {"promise": line.promise, "kept": line.is_kept}),
            }
            for line in self.lines
        }
        document = {
            "facts": dict(facts),
            "title": self.title,
            "lines": lines,
            "notes": self.notes,
            "broken": [line.name for line in self.broken],
        }
        return json.dumps(document, indent=2, default=str) + "\n"


def bound(lost: int, faults: int) -> str:
    """Return what a count says of the rate of losses; of none, with 95 % confidence (3/n)."""
    if lost or not faults:
        return f"{lost} in {faults}"
    return f"0 in {faults}; with 95 % confidence fewer than {3 / faults:.4f}"


def machine() -> str:
    """Return what the experiment runs on."""
    model = platform.machine()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    load = " ".join(f"{value:.1f}" for value in os.getloadavg())
    return f"{os.cpu_count()} x {model}, {platform.system()} {platform.release()}, load {load}"


def _shown(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)
