"""Fixtures of all tests: servers they own, a prefix each, settings, and worker processes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import Any, Protocol

import pytest

from tests.support.cluster import Cluster
from tests.support.journal import Journal
from tests.support.prefixes import is_cluster, new_prefix
from tests.support.processes import RunJobs
from tests.support.server import RedisServer
from tests.support.share import draw, wanted_share

#: Keys removed in one command when a test's prefix is cleared.
_SWEEP = 500

#: The tests of the dashboard, also those in a browser.
_PAGES = tuple(Path(__file__).parent / name for name in ("dashboard", "browser"))

#: Tests that take long, and do not depend on what the stages of .ci/run differ in.
_ONCE = tuple(
    Path(__file__).parent / name
    for name in (
        "acceptance/test_databases.py",
        "acceptance/test_processes.py",
        "acceptance/test_recycling.py",
        "acceptance/test_reload.py",
        "chaos",
        "crash",
        "interop",
        "model",
        "support/test_sql_server.py",
        "test_embedded.py",
        "test_typing.py",
        "testing/test_stranger.py",
        "testproject/test_demo.py",
    )
)

#: Fixtures of pytest-django that let a test into the database.
_LET_IN = frozenset({"db", "transactional_db", "django_db_reset_sequences"})


@pytest.hookimpl(tryfirst=True)  # before pytest itself looks for what -m asks for
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """
    Mark as ``sql`` whatever test uses the database: .ci/run runs those on three of them.

    And as ``redis`` what uses the server of the run: those it runs on a cluster too. What looks
    at pages is marked ``page``: all that they ask of a server or a database is asked by the
    tests of the rooms below as well.
    """
    for item in items:
        names = getattr(item, "fixturenames", ())
        if _LET_IN.intersection(names) or item.get_closest_marker("django_db"):
            item.add_marker(pytest.mark.sql)
        if "redis_server" in names:
            item.add_marker(pytest.mark.redis)
        for mark in _marks_of(item.path):
            item.add_marker(mark)
    share = wanted_share()
    if share < 100:
        config.hook.pytest_deselected(items=draw(items, share, config.getoption("randomly_seed")))


def pytest_report_header() -> str | None:
    """Say that not all tests are run."""
    share = wanted_share()
    return f"{share} % of the tests, drawn by the seed" if share < 100 else None


@cache  # there are some thirty tests to a file
def _marks_of(path: Path) -> list[pytest.MarkDecorator]:
    """Return the marks that all tests of a file have, for the room it stands in."""
    rooms = (("page", _PAGES), ("once", _ONCE))
    return [
        getattr(pytest.mark, name) for name, paths in rooms if any(map(path.is_relative_to, paths))
    ]


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """
    The server of this test process (one per xdist worker).

    With ``JOBQUEUE_TEST_TOPOLOGY=cluster`` it is the node of a cluster that has the
    slots of all prefixes, and its ``url`` leads there by way of other nodes.
    Shared: keep to your ``key_prefix``, and do not kill, flush or configure it.
    """
    if is_cluster():
        with Cluster() as cluster:
            yield cluster.owner
    else:
        with RedisServer() as server:
            yield server


@pytest.fixture
def private_redis() -> Iterator[Callable[..., RedisServer]]:
    """
    A factory of servers of one's own, to be killed, configured or flushed.

    ``private_redis(maxmemory="1mb")``: arguments are directives of redis.conf.
    """
    with ExitStack() as servers:

        def start(**config: object) -> RedisServer:
            return servers.enter_context(RedisServer(config))

        yield start


@pytest.fixture
def key_prefix(redis_server: RedisServer) -> Iterator[str]:
    """A prefix that no other test has; what stands under it is removed afterwards."""
    prefix = new_prefix()
    yield prefix
    with redis_server.client() as client:
        keys = list(client.scan_iter(match=f"{prefix}*", count=_SWEEP))
        for at in range(0, len(keys), _SWEEP):
            client.unlink(*keys[at : at + _SWEEP])


class JobqueueSettings(Protocol):
    """Set JOBQUEUE for this test; returns the key prefix."""

    def __call__(self, **overrides: Any) -> str:
        """Call it with keys of JOBQUEUE; they win over the server and prefix of the test."""


@pytest.fixture
def jobqueue_settings(
    redis_server: RedisServer, key_prefix: str, settings: Any
) -> JobqueueSettings:
    """
    Set ``settings.JOBQUEUE`` to the test's server and prefix, with overrides.

    ``prefix = jobqueue_settings(LEASE=20)``. A second call replaces the first one;
    all is taken back after the test.
    """

    def configure(**overrides: Any) -> str:
        wanted = {"REDIS_URL": redis_server.url, "KEY_PREFIX": key_prefix, **overrides}
        # Through pytest-django's fixture: overrides of two owners, taken back in
        # another order than they were made, would leave one of them behind.
        settings.JOBQUEUE = wanted
        return str(wanted["KEY_PREFIX"])

    return configure


@pytest.fixture
def journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Journal]:
    """The journal of this test's jobs, in worker processes and in this one."""
    made = Journal(tmp_path / "journal")
    monkeypatch.setenv("JOBQUEUE_TEST_JOURNAL", str(made.path))
    yield made
    made.close()


class StartRunJobs(Protocol):
    """Start ``manage.py runjobs``; see ``tests.support.processes.RunJobs``."""

    def __call__(
        self,
        *arguments: str,
        url: str | None = None,
        prefix: str | None = None,
        env: Mapping[str, str] | None = None,
        settings: str = "tests.jobsite.settings",
        **overrides: Any,
    ) -> RunJobs:
        """``overrides`` are keys of JOBQUEUE as JSON can say them."""


@pytest.fixture
def run_jobs(
    redis_server: RedisServer, key_prefix: str, journal: Journal, tmp_path: Path
) -> Iterator[StartRunJobs]:
    """
    A factory of ``manage.py runjobs`` processes, killed with all they forked at the end.

    ``run_jobs("--concurrency", "2", LEASE=15)`` works on the test's server and
    prefix unless ``url`` and ``prefix`` say otherwise.
    """
    with ExitStack() as processes:

        def start(
            *arguments: str,
            url: str | None = None,
            prefix: str | None = None,
            env: Mapping[str, str] | None = None,
            settings: str = "tests.jobsite.settings",
            **overrides: Any,
        ) -> RunJobs:
            return processes.enter_context(
                RunJobs(
                    *arguments,
                    url=redis_server.url if url is None else url,
                    prefix=key_prefix if prefix is None else prefix,
                    directory=tmp_path,
                    journal=journal,
                    overrides=overrides,
                    env=env,
                    settings=settings,
                )
            )

        yield start
