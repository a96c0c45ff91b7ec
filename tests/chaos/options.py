"""What an experiment is asked to do."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Options:
    """The command line, complete. Times are in seconds."""

    #: How many jobs at least; the rows of ``flush``.
    jobs: int
    #: How many faults must hit something.
    faults: int
    seed: int
    #: How long the soak lasts, from one of its faults to the next, and its jobs a second.
    seconds: float
    every: float
    rate: float
    #: Seconds that a busy machine is forgiven where a time is promised.
    slack: float
    #: Where the soak writes a line each minute, besides the standard output.
    samples: Path | None
    #: The job system that is hurt in place of ours, and how long its last jobs are waited for.
    peer: str | None
    patience: float
