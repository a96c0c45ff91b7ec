"""One thing that was found, in a sentence, with what to do about it in another."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Level(StrEnum):
    """How bad it is, the worst first."""

    #: Work is lost, stands still or cannot be seen: a health check fails.
    FAULT = "fault"
    #: It may become a fault, or somebody should know that it is meant to be so.
    WARNING = "warning"
    #: Good to know.
    NOTE = "note"


@dataclass(frozen=True, slots=True)
class Finding:
    """
    One thing that was found.

    ``id`` names its kind, as the manual does; ``fact`` says what is, ``way_out`` what to
    do. Both are for people, in the language that is active, and hold nothing secret:
    no password, no argument of a job.
    """

    id: str
    level: Level
    fact: str
    way_out: str

    @property
    def is_fault(self) -> bool:
        """Whether something is wrong now, so that a health check should fail."""
        return self.level is Level.FAULT

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return {
            "id": self.id,
            "level": self.level.value,
            "is_fault": self.is_fault,
            "fact": self.fact,
            "way_out": self.way_out,
        }


def fault(id: str, fact: str, way_out: str) -> Finding:
    """Return a finding that is wrong now."""
    return Finding(id, Level.FAULT, fact, way_out)


def warning(id: str, fact: str, way_out: str) -> Finding:
    """Return a finding that somebody should look at."""
    return Finding(id, Level.WARNING, fact, way_out)


def note(id: str, fact: str, way_out: str) -> Finding:
    """Return a finding that is good to know."""
    return Finding(id, Level.NOTE, fact, way_out)
