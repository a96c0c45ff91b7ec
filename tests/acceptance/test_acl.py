"""Workers as the Redis user that is documented: what it lacks is named, and its password never."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from io import StringIO

import pytest
import redis
from django.core.management import call_command

from tests.acceptance.conftest import MakeSite
from tests.acceptance.site import SOON, Site, count_lines
from tests.conftest import JobqueueSettings
from tests.jobsite.jobs import NoopJob, SleepJob
from tests.support.polling import wait_until
from tests.support.server import RedisServer

PASSWORD = "hunter2-and-more"

MakeUserSite = Callable[[], Site]


@pytest.fixture
def user_site(
    private_redis: Callable[..., RedisServer],
    make_site: MakeSite,
    jobqueue_settings: JobqueueSettings,
) -> Iterator[Site]:
    """A place whose workers are the user that ``jobqueue acl`` tells how to make."""
    server = private_redis()
    site = make_site(server, url=f"redis://worker:{PASSWORD}@127.0.0.1:{server.port}/0")
    jobqueue_settings(KEY_PREFIX=site.prefix)
    with ExitStack() as at_the_end:
        at_the_end.callback(site.close)
        site.redis.execute_command(*printed("--user", "worker"))
        yield site


def printed(*arguments: str) -> list[str]:
    """Return the words of the command that is printed, with the password put in."""
    out = StringIO()
    call_command("jobqueue", "acl", *arguments, stdout=out)
    return out.getvalue().replace("PASSWORD", PASSWORD).split()


def test_the_user_that_is_printed_is_all_that_a_worker_needs(user_site: Site) -> None:
    worker = user_site.run_ready()
    user_site.push(NoopJob, "one")
    user_site.await_finished("one")
    worker.term()
    assert worker.wait() == 0
    assert count_lines(worker.output(), "NOPERM", "Traceback", PASSWORD) == [0, 0, 0]
    assert user_site.redis.execute_command("ACL", "LOG") == []


def test_a_user_without_a_command_is_a_failed_start_that_names_it(user_site: Site) -> None:
    user_site.redis.execute_command("ACL", "SETUSER", "worker", "-zadd", "-hincrby")
    worker = user_site.run("--verbosity", "3")
    assert worker.wait() == 1
    worker.wait_for_line("may not use the command ZADD, the command HINCRBY")
    assert "jobqueue acl" in worker.output()
    assert count_lines(worker.output(), PASSWORD, "Traceback") == [0, 0]


def test_a_worker_in_every_trouble_never_tells_its_password(user_site: Site) -> None:
    admin = user_site.redis
    worker = user_site.run_ready("--verbosity", "3")
    user_site.push(SleepJob, "long", 0.2)
    admin.execute_command("ACL", "SETUSER", "worker", "-@all")
    worker.wait_for_line("Redis is away")
    worker.signal_child(signal.SIGTTIN)
    worker.wait_for_line("what every thread is doing")
    admin.execute_command(*printed("--user", "worker"))
    worker.wait_for_line("Redis back after")
    user_site.await_finished("long")
    # Another password, as when one is rotated in the wrong order.
    admin.execute_command("ACL", "SETUSER", "worker", f"<{PASSWORD}", ">other")
    for client in admin.client_list():
        if client["user"] == "worker":
            with suppress(redis.ResponseError):  # it has gone by itself
                admin.client_kill(client["addr"])
    wait_until(
        lambda: count_lines(worker.output(), "Redis is away") == [2], SOON, "the second outage"
    )
    wait_until(lambda: any(entry["reason"] == "auth" for entry in admin.acl_log()), SOON, "a login")
    worker.kill9_group()
    assert count_lines(worker.output(), PASSWORD) == [0]
