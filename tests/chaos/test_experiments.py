"""
Each experiment once, in small: what the long ones prove, short ones keep.

They run as the commands that they are: a promise that breaks is an exit code.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol

import pytest

from tests.acceptance.site import tell
from tests.support.databases import database_of_workers
from tests.support.processes import Process

__all__ = ["database_of_workers"]

#: Seconds after which an experiment is hung.
HUNG = 280.0

#: Seconds that a busy machine is forgiven where a time is promised.
SLACK = "--slack", "10"


class Experiment(Protocol):
    """Start ``python -m tests.chaos`` with these words."""

    def __call__(self, *words: str, env: Mapping[str, str] | None = None) -> Process: ...


@pytest.fixture
def experiment(tmp_path: Path) -> Iterator[Experiment]:
    """A factory of experiments; what still runs at the end of the test is killed."""
    with ExitStack() as processes:

        def start(*words: str, env: Mapping[str, str] | None = None) -> Process:
            command = [sys.executable, "-m", "tests.chaos", *words]
            return processes.enter_context(Process(command, tmp_path / f"{words[0]}.log", env))

        yield start


def keeps_its_promises(process: Process) -> bool:
    """Wait for an experiment's end, and show what it found."""
    code = process.wait(HUNG)
    tell(process.output())
    return code == 0


def test_kill_9_of_workers_and_groups_loses_no_job(experiment: Experiment) -> None:
    assert keeps_its_promises(experiment("kill", "--jobs", "1000", "--faults", "20", *SLACK))


def test_faults_of_all_kinds_lose_no_job(experiment: Experiment) -> None:
    assert keeps_its_promises(experiment("mixed", "--jobs", "1000", "--faults", "20"))


def test_whatever_is_flushed_and_killed_every_row_ends_done(
    experiment: Experiment, database_of_workers: dict[str, str]
) -> None:
    words = ("flush", "--jobs", "1000", "--faults", "20")
    assert keeps_its_promises(experiment(*words, env=database_of_workers))


def test_what_must_outlast_a_lease_keeps_its_promises(experiment: Experiment) -> None:
    """Side by side: zombies, an outage and a short soak do little but wait."""
    started = [
        experiment("stop", "--jobs", "1000", "--faults", "6"),
        experiment("outage", "--jobs", "200", "--faults", "1"),
        experiment("soak", "--seconds", "30", "--every", "3"),
    ]
    assert [keeps_its_promises(process) for process in started] == [True] * len(started)
