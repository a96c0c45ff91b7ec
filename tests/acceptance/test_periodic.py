"""Timetables with real workers: each slot runs once, whoever is killed."""

from __future__ import annotations

import signal

from tests.conftest import StartRunJobs
from tests.support.databases import database_of_workers
from tests.support.journal import Journal
from tests.support.polling import wait_until

__all__ = ["database_of_workers"]

#: Seconds for what should take a few.
SOON = 60.0

PULSE = {"pulse": {"job": "tests.jobsite.jobs.NoopJob", "every": "1s", "args": ["pulse"]}}


def test_a_slot_runs_once_though_workers_are_frozen_and_killed(
    run_jobs: StartRunJobs, database_of_workers: dict[str, str], journal: Journal
) -> None:
    fleet = [
        run_jobs("--concurrency", "2", env=database_of_workers, PERIODIC=PULSE) for _ in range(2)
    ]
    wait_until(lambda: journal.finishes["pulse"] >= 3, SOON, "three runs")

    def is_replaced_while_frozen() -> bool:
        fleet[0].signal_child(signal.SIGSTOP)
        so_far = journal.finishes["pulse"]
        try:
            wait_until(lambda: journal.finishes["pulse"] >= so_far + 2, 15, "runs by the other")
        except AssertionError:  # it was caught with a lock of the database in its hand
            return False
        finally:
            fleet[0].signal_child(signal.SIGCONT)
        return True

    assert any(is_replaced_while_frozen() for _ in range(3))
    # Whatever it was about when it was frozen, it does now.
    so_far = journal.finishes["pulse"]
    wait_until(lambda: journal.finishes["pulse"] >= so_far + 2, SOON, "runs by both")
    fleet[0].kill9_group()
    so_far = journal.finishes["pulse"]
    wait_until(lambda: journal.finishes["pulse"] >= so_far + 3, SOON, "three more runs")
    fleet[1].term()
    assert fleet[1].wait() == 0
    jids = [entry.jid for entry in journal.entries() if entry.mark == "F"]
    assert len(jids) == len(set(jids))


def test_without_its_table_a_worker_says_so_once_and_works_on(
    run_jobs: StartRunJobs, journal: Journal
) -> None:
    # Its database is one in memory, and nobody has migrated that.
    worker = run_jobs("--concurrency", "1", PERIODIC=PULSE)
    told = worker.wait_for_line("periodic jobs wait for the database")
    assert "was it migrated?" in told
    worker.term()
    assert worker.wait() == 0
    assert worker.output().count("periodic jobs wait for the database") == 1
    assert "Traceback" not in worker.output()
