"""When a process has done its share: counted jobs, and memory that it made itself."""

from __future__ import annotations

import mmap
from pathlib import Path

import pytest

from django_jobqueue.worker import limits as room
from django_jobqueue.worker.limits import MEGABYTE, Limits, own_memory


class Alarm:
    """Counts how often it was rung."""

    def __init__(self) -> None:
        self.rings = 0

    def __call__(self) -> None:
        self.rings += 1


def test_without_limits_nothing_is_ever_reached() -> None:
    alarm = Alarm()
    limits = Limits(None, None, alarm)
    limits.begin()
    limits.ran(10**9)
    assert not limits.are_set
    assert limits.reached() == ""
    assert alarm.rings == 0


def test_the_job_that_reaches_the_limit_wakes_once() -> None:
    alarm = Alarm()
    limits = Limits(9, None, alarm)  # a tenth of 9 is not one job
    assert limits.are_set
    limits.ran(5)
    limits.ran(3)
    assert (limits.reached(), alarm.rings) == ("", 0)
    limits.ran(3)
    assert limits.reached() == "has run 11 jobs (--max-jobs)"
    limits.ran(1)
    assert alarm.rings == 1


def test_each_process_draws_its_own_limit_from_the_one_given_to_a_tenth_more() -> None:
    drawn = set()
    for _ in range(300):
        limits = Limits(1000, None, Alarm())
        limits.ran(999)
        assert limits.reached() == ""
        ran = 999
        while not limits.reached():
            limits.ran(1)
            ran += 1
        drawn.add(ran)
    assert min(drawn) >= 1000
    assert max(drawn) <= 1100
    assert len(drawn) > 30


def test_memory_counts_from_the_beginning_on(monkeypatch: pytest.MonkeyPatch) -> None:
    used = 500 * MEGABYTE
    monkeypatch.setattr(room, "own_memory", lambda: used)
    limits = Limits(None, 100, Alarm())
    limits.begin()
    assert limits.are_set
    assert limits.reached() == ""
    used += 99 * MEGABYTE
    assert limits.reached() == ""
    used += 2 * MEGABYTE
    assert limits.reached() == "has grown by 101 MB (--max-memory)"
    used -= 50 * MEGABYTE
    assert limits.reached() == ""


def test_what_is_allocated_is_memory_and_a_file_that_is_read_in_is_not(tmp_path: Path) -> None:
    size = 64 * MEGABYTE
    before = own_memory()
    with mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE) as block:
        for at in range(0, size, 4096):
            block[at] = 1
        grown = own_memory() - before
    assert grown > size // 2
    path = tmp_path / "code"
    path.write_bytes(b"\1" * size)
    before = own_memory()
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        assert sum(mapped[at] for at in range(0, size, 4096)) == size // 4096
        assert own_memory() - before < size // 2


def test_where_the_system_does_not_tell_the_peak_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(*_: object, **__: object) -> None:
        raise FileNotFoundError("/proc")

    monkeypatch.setattr(room, "open", gone, raising=False)
    assert own_memory() > MEGABYTE
