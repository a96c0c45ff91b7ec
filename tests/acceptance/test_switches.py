"""A switch that was thrown in one process, and how soon all others obey."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
from django.core.management import call_command
from django.db import transaction
from waffle.models import Flag

from tests.acceptance.asking import APPS
from tests.acceptance.site import SOON, tell
from tests.conftest import JobqueueSettings
from tests.support.databases import database_of_workers
from tests.support.flags import set_flag
from tests.support.polling import wait_until
from tests.support.processes import Process
from tests.support.server import RedisServer

__all__ = ["database_of_workers"]

FLAG, OTHER = "disable_noop_job", "disable_sleep_job"

#: Seconds for a machine that is busy, beside those that are promised.
GRACE = 5.0


class Asker:
    """One of the other processes, and what it answered when."""

    def __init__(self, process: Process) -> None:
        self._process = process

    def answers(self, job: str) -> list[tuple[str, float]]:
        """Return what it said of a job, each with the time (epoch seconds), the oldest first."""
        words = [line.split() for line in self._process.output().splitlines()]
        # Its last line may not be complete yet.
        return [(w[1], float(w[2])) for w in words if len(w) == 3 and w[0] == job]

    def await_answers(self, job: str, *wanted: str) -> float:
        """Wait until it has answered so, one after the other; return when it gave the last."""
        wait_until(
            lambda: [answer for answer, _ in self.answers(job)] == list(wanted),
            SOON,
            lambda: f"{wanted} about {job}, not this: {self._process.output()}",
        )
        return self.answers(job)[-1][1]


@pytest.fixture
def askers(
    redis_server: RedisServer,
    jobqueue_settings: JobqueueSettings,
    database_of_workers: dict[str, str],
    tmp_path: Path,
) -> Iterator[list[Asker]]:
    """Four processes, as of two web servers and two workers, each with a cache of its own."""
    env = {
        "DJANGO_SETTINGS_MODULE": "tests.jobsite.settings",
        "JOBQUEUE_TEST_URL": redis_server.url,
        "JOBQUEUE_TEST_PREFIX": jobqueue_settings(),
        "JOBQUEUE_TEST_APPS": APPS,
        **database_of_workers,
    }
    with ExitStack() as processes:
        found = [
            Asker(
                processes.enter_context(
                    Process(
                        [sys.executable, "-m", "tests.acceptance.asking", role],
                        log_path=tmp_path / f"asker-{number}.log",
                        env=env,
                    )
                )
            )
            for number, role in enumerate(("web", "web", "worker", "worker"))
        ]
        for asker in found:
            asker.await_answers("NoopJob", "accepted")
            asker.await_answers("SleepJob", "accepted")
        yield found


def test_a_flag_that_is_saved_in_one_process_is_obeyed_by_others_within_a_second(
    askers: list[Asker],
) -> None:
    answers = ["accepted"]
    for everyone in (True, False):
        answers.append("refused" if everyone else "accepted")
        set_flag(FLAG, everyone)
        committed = time.time()
        late = [asker.await_answers("NoopJob", *answers) - committed for asker in askers]
        tell(f"{answers[-1]} {min(late):.3f} to {max(late):.3f} s after the commit")
        assert max(late) < 1 + GRACE


def test_what_is_written_past_every_signal_is_obeyed_within_five_seconds(
    askers: list[Asker],
) -> None:
    def update() -> None:
        Flag.objects.filter(name=FLAG).update(everyone=True)

    def delete() -> None:
        call_command("waffle_delete", "--flags", FLAG, verbosity=0)

    def insert() -> None:
        Flag.objects.bulk_create([Flag(name=FLAG, everyone=True)])

    answers = ["accepted"]
    for change in (update, delete, insert):
        answers.append("accepted" if change is delete else "refused")
        change()
        committed = time.time()
        late = [asker.await_answers("NoopJob", *answers) - committed for asker in askers]
        tell(f"{change.__name__}: obeyed {min(late):.3f} to {max(late):.3f} s after the commit")
        assert max(late) < 5 + GRACE


def test_a_flag_whose_transaction_is_rolled_back_is_obeyed_by_nobody(askers: list[Asker]) -> None:
    class Undo(Exception):
        pass

    with suppress(Undo), transaction.atomic():
        set_flag(FLAG, True)
        raise Undo
    set_flag(OTHER, True)
    for asker in askers:
        # Whoever knows of this one has looked since then.
        asker.await_answers("SleepJob", "accepted", "refused")
        assert [answer for answer, _ in asker.answers("NoopJob")] == ["accepted"]
