"""Under development: what was saved is what runs."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.acceptance.site import SOON, Site, count_lines
from tests.jobsite.jobs import WaitJob
from tests.support.polling import wait_until
from tests.support.processes import ROOT, RunJobs

#: A module of jobs that says which version of it runs.
SOURCE = """
from django_jobqueue import Job
from tests.jobsite.jobs import journal

class ShiftingJob(Job):
    def perform(self, ident):
        with journal().running(self.jid, f"{{ident}}-{version}"):
            pass
"""


class Shifting:
    """An application whose source changes."""

    def __init__(self, directory: Path) -> None:
        self.package = directory / "shifting"
        self.package.mkdir()
        (self.package / "__init__.py").touch()
        self.env = {
            "PYTHONPATH": os.pathsep.join([str(ROOT), str(directory)]),
            "PYTHONDONTWRITEBYTECODE": "1",
            "JOBQUEUE_TEST_APPS": "shifting",
        }

    def save(self, source: str) -> None:
        """Write the jobs."""
        (self.package / "jobs.py").write_text(source)

    def touch_until(self, worker: RunJobs, text: str, times: int) -> None:
        """Save until that is noticed: the watch sees no change before its first look."""
        path, noticed = self.package / "jobs.py", " changed: starting again"
        (before,) = count_lines(worker.output(), noticed)

        def touch() -> bool:
            os.utime(path, ns=(path.stat().st_mtime_ns + 1_000_000_000,) * 2)
            return count_lines(worker.output(), noticed)[0] > before

        def what() -> str:
            return f"{text!r} {times} times in\n{worker.output()}"

        wait_until(touch, SOON, what)
        wait_until(lambda: count_lines(worker.output(), text)[0] >= times, SOON, what)


@pytest.fixture
def shifting(tmp_path: Path) -> Shifting:
    """An application to change."""
    return Shifting(tmp_path)


def test_a_saved_change_runs_and_a_slip_on_the_way_ends_nothing(
    site: Site, shifting: Shifting
) -> None:
    shifting.save(SOURCE.format(version="one"))
    worker = site.run_ready("--reload", "--concurrency", "1", env=shifting.env)
    site.push("shifting.jobs.ShiftingJob", "a")
    site.await_finished("a-one")
    shifting.save("this is no Python")
    shifting.touch_until(worker, "waiting for a change", 1)
    site.push("shifting.jobs.ShiftingJob", "b")
    shifting.save(SOURCE.format(version="another"))
    shifting.touch_until(worker, " threads on ", 2)
    site.await_finished("b-another")
    # Ctrl-C reaches the whole group, and counts once.
    os.killpg(worker.pid, signal.SIGINT)
    assert worker.wait() == 0
    assert count_lines(worker.output(), "second signal", " died") == [0, 0]
    assert site.journal.starts == {"a-one": 1, "b-another": 1}
    assert site.leftovers() == []


def test_a_job_that_runs_at_a_change_is_given_back_and_run_again(
    site: Site, shifting: Shifting
) -> None:
    shifting.save(SOURCE.format(version="one"))
    go_on = site.journal.path.with_name("go on")
    worker = site.run_ready("--reload", "--concurrency", "1", env=shifting.env)
    job = site.push(WaitJob, "long", str(go_on))
    site.await_started("long")
    shifting.touch_until(worker, "stopping: 1 job(s) run", 1)
    worker.wait_for_line(f"requeued 1 running job ({job.jid})")
    wait_until(lambda: site.journal.starts["long"] >= 2, SOON, "the second start")
    go_on.touch()
    site.await_finished("long")
    # Whoever kills the outermost process finds nothing left behind.
    worker.signal(signal.SIGKILL)
    wait_until(lambda: not worker.members(), SOON, lambda: f"an end of {worker.members()}")
    assert site.leftovers() == []
