"""Processes that have done their share make room for new ones, and no job notices."""

from __future__ import annotations

import re

from tests.acceptance.site import SOON, Site, count_lines, payload
from tests.jobsite.jobs import LeakJob, NoopJob, SleepJob, WaitJob
from tests.support.polling import wait_until

REPLACED = "another is to take its place"


def test_a_fleet_that_is_replaced_again_and_again_runs_every_job_once(site: Site) -> None:
    worker = site.run_ready("--processes", "2", "--concurrency", "4", "--max-jobs", "30")
    rounds = [[f"job{n}-{number}" for number in range(70)] for n in range(4)]
    for n, idents in enumerate(rounds, 1):
        site.push_all(
            payload(SleepJob, ident, 0.05) if number % 10 == 0 else payload(NoopJob, ident)
            for number, ident in enumerate(idents)
        )
        site.await_finished(*idents)
        # Of 70 jobs two processes cannot have run fewer than 34 each.
        wait_until(
            lambda: count_lines(worker.output(), " threads on ")[0] >= 2 + n,  # noqa: B023 - asked at once
            SOON,
            "a successor",
        )
    worker.term()
    assert worker.wait() == 0
    everything = {ident: 1 for idents in rounds for ident in idents}
    assert site.journal.starts == site.journal.finishes == everything
    assert count_lines(worker.output(), REPLACED)[0] >= 4
    assert count_lines(worker.output(), " died") == [0]
    assert re.search(r"has run \d+ jobs \(--max-jobs\): another is to take", worker.output())
    assert site.leftovers() == []


def test_a_burst_drains_to_the_end_however_often_its_process_is_replaced(site: Site) -> None:
    idents = [f"job{n}" for n in range(100)]
    site.push_all([payload(SleepJob, ident, 0.02) for ident in idents])
    worker = site.run("--burst", "--concurrency", "2", "--max-jobs", "20")
    assert worker.wait() == 0
    assert site.journal.starts == site.journal.finishes == dict.fromkeys(idents, 1)
    assert count_lines(worker.output(), REPLACED)[0] >= 1


def test_a_job_that_runs_may_end_before_its_process_goes(site: Site) -> None:
    go_on = site.journal.path.with_name("go on")
    site.push(WaitJob, "running", str(go_on))
    worker = site.run_ready("--concurrency", "2", "--max-jobs", "3")
    (first,) = worker.children()
    site.await_started("running")
    site.push_all([payload(NoopJob, f"job{n}") for n in range(3)])
    worker.wait_for_line(REPLACED)
    worker.wait_for_line("stopping: 1 job(s) run")
    go_on.touch()
    wait_until(lambda: worker.children() not in ([], [first]), SOON, "another child")
    site.await_finished("running")
    site.push(NoopJob, "after")
    site.await_finished("after")
    assert site.journal.starts["running"] == 1


def test_a_process_that_has_grown_too_far_is_replaced(site: Site) -> None:
    worker = site.run_ready("--concurrency", "1", "--max-memory", "64")
    (first,) = worker.children()
    site.push(LeakJob, "small", 1)
    site.await_finished("small")
    site.push(LeakJob, "large", 100)
    assert "(--max-memory): another is to take its place" in worker.wait_for_line("has grown by")
    wait_until(lambda: worker.children() not in ([], [first]), SOON, "another child")
    site.push(NoopJob, "after")
    site.await_finished("after")
    assert site.journal.starts == {"small": 1, "large": 1, "after": 1}
    assert count_lines(worker.output(), " died", REPLACED) == [0, 1]
