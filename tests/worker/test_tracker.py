"""What the worker counts: exact from many threads, bounded, and taken once."""

from __future__ import annotations

import threading

import pytest

from django_jobqueue.store.metrics import BUCKETS, LIMITS
from django_jobqueue.worker.tracker import Tracker


def bucket(seconds: float) -> int:
    """Return the index of the bucket that a time falls into."""
    tracker = Tracker()
    tracker.note("A", seconds, failed=False)
    return tracker.take()["A"].histogram.index(1)


def test_an_attempt_is_taken_once() -> None:
    tracker = Tracker()
    tracker.note("A", 0.5, failed=False)
    tracker.note("A", 0.25, failed=False)
    tracker.note("B", 9.0, failed=True)
    taken = tracker.take()
    assert {name: (c.processed, c.failed, c.ms) for name, c in taken.items()} == {
        "A": (2, 0, 750),
        "B": (1, 1, 0),
    }
    assert tracker.take() == {}
    tracker.note("A", 1.0, failed=False)
    assert tracker.take()["A"].ms == 1000


@pytest.mark.parametrize("index", range(BUCKETS - 1))
def test_a_time_falls_into_the_bucket_whose_end_it_does_not_reach(index: int) -> None:
    limit = LIMITS[index]
    assert bucket((limit - 0.5) / 1000) == index
    assert bucket(limit / 1000) == index + 1


def test_times_without_end_and_without_length_have_a_bucket() -> None:
    assert bucket(0.0) == 0
    assert bucket(1e9) == BUCKETS - 1


def test_fractions_of_a_millisecond_add_up() -> None:
    tracker = Tracker()
    total = 0
    for _ in range(40):
        tracker.note("A", 0.000_25, failed=False)
        total += tracker.take()["A"].ms
    assert total == 10


def test_the_time_of_a_failure_is_not_counted() -> None:
    tracker = Tracker()
    tracker.note("A", 3.0, failed=True)
    counts = tracker.take()["A"]
    assert (counts.ms, sum(counts.histogram)) == (0, 0)


def test_nothing_is_lost_while_threads_note_and_another_takes() -> None:
    tracker = Tracker()
    rounds, writers = 3_000, 4
    at_once = threading.Barrier(writers + 1)

    def write(number: int) -> None:
        at_once.wait()
        for n in range(rounds):
            tracker.note(f"C{n % 7}", 0.002, failed=n % 3 == 0)
            if n % 100 == 0:
                tracker.note(f"own-{number}-{n}", 0.002, failed=False)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(writers)]
    for thread in threads:
        thread.start()
    at_once.wait()
    taken = [tracker.take() for _ in range(20)]
    for thread in threads:
        thread.join()
    taken.append(tracker.take())
    counts = [count for snapshot in taken for count in snapshot.values()]
    own = writers * (rounds // 100)
    failures = writers * (rounds // 3)
    assert sum(count.processed for count in counts) == writers * rounds + own
    assert sum(count.failed for count in counts) == failures
    assert abs(sum(count.ms for count in counts) - 2 * (writers * rounds + own - failures)) < 50


def test_what_a_thread_noted_outlives_it() -> None:
    tracker = Tracker()
    thread = threading.Thread(target=tracker.note, args=("A", 0.001, False))
    thread.start()
    thread.join()
    assert tracker.take()["A"].processed == 1
