"""Workers on real database servers: what ends idle connections fails no job, and none leaks."""

from __future__ import annotations

import json
import re
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.acceptance.site import SOON, Site, count_lines, payload
from tests.jobsite.jobs import QueryJob, QueryWaitJob, TransactionLeakJob
from tests.support.databases import JOBS, real_server, real_servers
from tests.support.polling import wait_until
from tests.support.processes import Process
from tests.support.sql_server import SqlServer
from tests.support.sql_settings import VARIABLE

__all__ = ["real_server", "real_servers"]

pytestmark = pytest.mark.sql

#: Threads of the worker: each has a connection of its own.
THREADS = 3

#: Threads, more than the server takes: PostgreSQL 100 by default, MariaDB 10 at the least.
CROWDS = {"postgresql": 110, "mariadb": 15}

PULSE = {"pulse": {"job": "tests.jobsite.jobs.NoopJob", "every": "1s", "args": ["pulse"]}}


class Desk:
    """A site whose workers keep their connections for good, and never ask whether they work."""

    def __init__(self, site: Site, server: SqlServer, directory: Path) -> None:
        self.site = site
        self.server = server
        self._directory = directory
        self._rounds = 0
        more = {"CONN_MAX_AGE": None, "CONN_HEALTH_CHECKS": False}
        self.env = {
            **server.environment,
            "JOBQUEUE_TEST_DATABASE": JOBS,
            f"{VARIABLE}MORE": json.dumps(more),
        }
        for table in ("written", "leaked"):
            server.execute(f"CREATE TABLE IF NOT EXISTS {table} (ident text)", JOBS)
            server.execute(f"DELETE FROM {table}", JOBS)

    def migrate(self) -> None:
        command = [sys.executable, "manage.py", "migrate", "--verbosity", "0"]
        env = {
            **self.env,
            "DJANGO_SETTINGS_MODULE": "tests.jobsite.settings",
            "JOBQUEUE_TEST_JSON": '{"OUTLET": "fake"}',  # it has no use for a Redis
        }
        with Process(command, self._directory / "migrate.log", env=env) as process:
            assert process.wait() == 0, process.output()

    def use_every_thread(self) -> None:
        """Have each thread of the worker ask the database at the same time."""
        self._rounds += 1
        gate = self._directory / f"gate-{self._rounds}"
        idents = [f"{self._rounds}.{number}" for number in range(THREADS)]
        for ident in idents:
            self.site.push(QueryWaitJob, ident, str(gate))
        self.site.await_started(*idents)
        gate.touch()
        self.site.await_finished(*idents)
        self.site.await_settled()

    def failures(self) -> tuple[int, int]:
        """Return how many attempts failed, and how many jobs wait to be tried again."""
        return self.site.counter("failed"), len(self.site.entries("retry"))


@pytest.fixture
def desk(site: Site, real_server: SqlServer, tmp_path: Path) -> Desk:
    """A site on a real server of each kind."""
    return Desk(site, real_server, tmp_path)


def test_whatever_ends_idle_connections_no_job_fails_for_it(desk: Desk) -> None:
    desk.migrate()
    with ExitStack() as expiring:
        expiring.enter_context(desk.server.expiring())
        worker = desk.site.run_ready("--concurrency", str(THREADS), env=desk.env, PERIODIC=PULSE)
        desk.use_every_thread()
        idle_since = desk.site.journal.finishes["pulse"]
        wait_until(
            lambda: desk.site.journal.finishes["pulse"] >= idle_since + 2, SOON, "the time-out"
        )
        desk.use_every_thread()
        assert desk.failures() == (0, 0), worker.output()
    for _ in range(2):
        desk.server.cut_connections()
        desk.use_every_thread()
        assert desk.failures() == (0, 0), worker.output()
    desk.server.stop()
    desk.server.resume()
    desk.use_every_thread()
    assert desk.failures() == (0, 0), worker.output()
    # Nor has the ticker's thread lost its way.
    ticks = desk.site.journal.finishes["pulse"]
    wait_until(lambda: desk.site.journal.finishes["pulse"] >= ticks + 2, SOON, "two more ticks")
    worker.term()
    assert worker.wait() == 0


def test_while_the_server_is_away_jobs_wait_for_their_retry_and_run_no_more_often(
    desk: Desk,
) -> None:
    worker = desk.site.run_ready("--concurrency", str(THREADS), env=desk.env)
    desk.use_every_thread()
    desk.server.stop()
    try:
        idents = [f"away-{number}" for number in range(2 * THREADS)]
        for ident in idents:
            desk.site.push(QueryJob, ident)
        wait_until(lambda: desk.failures() == (len(idents), len(idents)), SOON, worker.output)
        assert {desk.site.journal.starts[ident] for ident in idents} == {1}
        assert all(
            "Error" in str(entry.fields["error_class"]) for entry in desk.site.entries("retry")
        )
    finally:
        desk.server.resume()
    desk.use_every_thread()
    assert desk.failures() == (len(idents), len(idents))


def test_a_transaction_left_open_is_named_and_in_nobody_s_way(desk: Desk) -> None:
    worker = desk.site.run_ready("--concurrency", "1", env=desk.env)
    leak = desk.site.push(TransactionLeakJob, "leak")
    desk.site.push(QueryJob, "next")
    desk.site.await_finished("next")
    assert f"jid={leak.jid} left a transaction open on database 'default'" in worker.output()
    assert desk.server.execute("SELECT ident FROM leaked", JOBS) == []
    assert desk.server.execute("SELECT ident FROM written", JOBS) == [("next",)]
    assert desk.failures() == (0, 0)


def test_more_threads_than_the_server_has_connections_fail_some_jobs_and_no_worker(
    desk: Desk, tmp_path: Path
) -> None:
    if desk.server.name not in CROWDS:
        pytest.skip("a pooler lets everybody in, and makes them wait")
    crowd = CROWDS[desk.server.name]
    with desk.server.crowded():
        crowd_out(desk, crowd, tmp_path / "crowded")


def crowd_out(desk: Desk, crowd: int, gate: Path) -> None:
    """Have so many threads ask at once; all jobs end, well or with a retry."""
    worker = desk.site.run_ready("--concurrency", str(crowd), env=desk.env)
    idents = [f"crowd-{number}" for number in range(crowd)]
    desk.site.push_all(payload(QueryWaitJob, ident, str(gate)) for ident in idents)
    desk.site.await_started(*idents)
    wait_until(lambda: desk.failures()[1], SOON, "the first who was not let in")
    gate.touch()

    def have_ended() -> bool:
        return len(desk.site.journal.finishes) + desk.failures()[1] == crowd

    wait_until(have_ended, SOON, lambda: f"all to end: {desk.failures()}")
    for entry in desk.site.entries("retry"):
        assert "OperationalError" in str(entry.fields["error_class"])
        assert re.search("(?i)too many|no more connections", str(entry.fields["error_message"]))
    desk.site.await_settled()
    assert set(desk.site.journal.starts.values()) == {1}
    assert count_lines(worker.output(), "died") == [0]
    worker.term()
    assert worker.wait() == 0
