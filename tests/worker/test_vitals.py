"""What one process shows, the others see."""

from __future__ import annotations

import os
from typing import Any

import pytest

from django_jobqueue.worker.vitals import State, Vital, Vitals


def test_nobody_is_there_at_first() -> None:
    vitals = Vitals(2)
    assert [vitals.read(row) for row in range(3)] == [Vital(State.ABSENT, 0.0, 0.0, 0.0)] * 3


def test_each_writes_its_own_row() -> None:
    vitals = Vitals(2)
    vitals.show(State.WORKING, 1.5, turned_at=1.25, served_at=1.0)
    vitals.row = 2
    vitals.show(State.QUIET, 4.5, turned_at=4.25, served_at=4.0)
    assert vitals.read(0) == Vital(State.WORKING, 1.5, 1.25, 1.0)
    assert vitals.read(1) == Vital(State.ABSENT, 0.0, 0.0, 0.0)
    assert vitals.read(2) == Vital(State.QUIET, 4.5, 4.25, 4.0)
    vitals.reset(2, State.FINISHED)
    assert vitals.read(2) == Vital(State.FINISHED, 0.0, 0.0, 0.0)


def test_who_reads_in_the_middle_of_it_finds_no_process_that_runs_and_has_no_times() -> None:
    vitals = Vitals(0)
    seen: list[Vital] = []

    class Watched(list[float]):
        """Has somebody read after each number."""

        def __setitem__(self, at: Any, number: Any) -> None:
            super().__setitem__(at, number)
            seen.append(Vital(State(int(self[0])), *self[1:4]))

    vitals._numbers = Watched(vitals._numbers.tolist())  # type: ignore[assignment]
    vitals.show(State.WORKING, 3.0, turned_at=2.0, served_at=1.0)
    assert seen[-1] == Vital(State.WORKING, 3.0, 2.0, 1.0)
    vitals.reset(0)
    assert {vital for vital in seen if vital.state is State.WORKING} == {seen[3]}


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_what_a_fork_shows_is_seen_by_its_parent() -> None:
    vitals = Vitals(1)
    pid = os.fork()
    if pid == 0:
        vitals.row = 1
        vitals.show(State.AWAY, 3.0, turned_at=2.0, served_at=1.0)
        os._exit(0)
    os.waitpid(pid, 0)
    assert vitals.row == 0
    assert vitals.read(1) == Vital(State.AWAY, 3.0, 2.0, 1.0)
