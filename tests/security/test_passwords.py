"""The password of Redis, in twenty kinds of trouble: no error, log line or process list has it."""

from __future__ import annotations

import base64
import logging
import re
import socket
import textwrap
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from io import StringIO
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import pytest
from django.core.checks import run_checks
from django.core.exceptions import ImproperlyConfigured
from django.core.management import CommandError, call_command
from django.views.debug import SafeExceptionReporterFilter

from django_jobqueue import Job, api
from django_jobqueue.conf import get_settings
from django_jobqueue.connection import store
from django_jobqueue.exceptions import JobQueueError
from django_jobqueue.worker.boot import wait_for_redis
from tests.acceptance.conftest import MakeSite
from tests.conftest import JobqueueSettings
from tests.jobsite.jobs import NoopJob
from tests.support.proxy import TcpProxy
from tests.support.server import RedisServer, free_port

#: As it is, and as a URL holds it. What is odd in it must not end it too early.
PASSWORD = "hunter2/and@more:than#that"
QUOTED = quote(PASSWORD, safe="")

LOGIN = f"worker:{QUOTED}@"


class LeakyJob(Job):
    """Is only enqueued."""

    self_healing = False

    def perform(self) -> None:
        """Do nothing."""


class Liar:
    """A server that says the same to every command, and is no Redis."""

    def __init__(self, reply: bytes | None) -> None:
        self._reply = reply
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self._ends = ExitStack()
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._ends.close()
        self._socket.close()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._socket.accept()
            except OSError:
                return
            self._ends.enter_context(closing(client))
            threading.Thread(target=self._answer, args=(client,), daemon=True).start()

    def _answer(self, client: socket.socket) -> None:
        try:
            while said := client.recv(65_536):
                if self._reply is None:
                    return  # and let the client wait
                # As many answers as there were commands in it.
                client.sendall(self._reply * max(1, said.count(b"*")))
        except OSError:
            return


#: What a server may say instead of serving.
ERRORS = [
    "LOADING Redis is loading the dataset in memory",
    "READONLY You can't write against a read only replica.",
    "MASTERDOWN Link with MASTER is down",
    "MISCONF Redis is configured to save RDB snapshots",
    "NOREPLICAS Not enough good replicas to write.",
    "OOM command not allowed when used memory > 'maxmemory'.",
    "CLUSTERDOWN The cluster is down",
    "MOVED 42 127.0.0.1:1",
    "NOAUTH Authentication required.",
    "WRONGPASS invalid username-password pair or user is disabled.",
    "NOPERM this user has no permissions to run the 'evalsha' command",
    "WRONGTYPE Operation against a key holding the wrong kind of value",
    "ERR unknown command",
    "ERR max number of clients reached",
    "-ERR syntax",
]


def let_in(server: RedisServer) -> None:
    """Have a server know the user and the password."""
    with server.client() as admin:
        admin.acl_setuser(
            "worker", enabled=True, passwords=[f"+{PASSWORD}"], keys=["*"], channels=["*"],
            commands=["+@all"],
        )  # fmt: skip


@pytest.fixture(scope="module")
def knowing_server() -> Iterator[RedisServer]:
    """A server that lets the user in."""
    with RedisServer() as server:
        let_in(server)
        yield server


@pytest.fixture
def trouble(
    request: pytest.FixtureRequest, redis_server: RedisServer, knowing_server: RedisServer
) -> Iterator[str]:
    """A URL with a password that leads into the trouble of this name."""
    name: str = request.param
    host = f"127.0.0.1:{redis_server.port}"
    if name in URLS:
        yield URLS[name].format(login=LOGIN, host=host, closed=free_port())
    elif name.startswith("says "):
        with TcpProxy(knowing_server.url) as proxy:  # once the client has been let in
            proxy.answer(name.removeprefix("says "))
            yield f"redis://{LOGIN}127.0.0.1:{proxy.port}/0"
    else:
        with Liar(LIES[name]) as liar:
            yield f"redis://{LOGIN}127.0.0.1:{liar.port}/0"


#: Addresses that lead nowhere, or where the password is not known.
URLS = {
    "a wrong password": "redis://{login}{host}/0",
    "a wrong password alone": "redis://:" + QUOTED + "@{host}/0",
    "a closed port": "redis://{login}127.0.0.1:{closed}/0",
    "a name that nobody knows": "redis://{login}no-such-host.invalid:6379/0",
    "no socket": "unix://{login}/no/such/socket?db=0",
    "TLS to a plain port": "rediss://{login}{host}/0",
    "no sentinel": "redis+sentinel://{login}127.0.0.1:{closed}/mymaster/0",
    "no cluster": "redis+cluster://{login}127.0.0.1:{closed}",
    "a password in the query": "redis://{host}/0?password=" + QUOTED,
    "a user and password in the query": "redis://{host}/0?username=worker&password=" + QUOTED,
}

#: Servers that are none, by what they answer.
LIES: dict[str, bytes | None] = {
    "a web server": b"HTTP/1.1 400 Bad Request\r\n\r\n",
    "noise": b"\xff\x00\r\n" * 3,
    "silence": None,
    "an array without an end": b"*1000000\r\n",
}

TROUBLES = [*URLS, *LIES, *(f"says {error}" for error in ERRORS)]


def give_up(seconds: float) -> bool:
    """Wait for nothing."""
    return True


def looks() -> list[Callable[[], Any]]:
    """Return what meets Redis in a project, each in its own way."""
    return [
        lambda: LeakyJob.perform_async(),
        lambda: LeakyJob.perform_bulk([()] * 3),
        lambda: wait_for_redis(store(), get_settings(), give_up),
        lambda: api.Stats(),
        lambda: api.Queue("default").page(),
        lambda: repr(store()) + repr(get_settings()) + repr(store().server),
        lambda: run_checks(),
        lambda: call_command("jobqueue", "stats", stdout=StringIO(), stderr=StringIO()),
        lambda: call_command("jobqueue", "doctor", stdout=(out := StringIO())) or out.getvalue(),
    ]


def told_by(error: BaseException) -> str:
    """Return all that an error report would have: the chain, its texts, and what it keeps."""
    lines = traceback.format_exception(error)
    seen: list[BaseException] = []
    ahead: list[BaseException | None] = [error]
    while ahead:
        each = ahead.pop()
        if each is not None and each not in seen:
            seen.append(each)
            lines += [repr(each), str(each), repr(each.args), repr(vars(each))]
            ahead += [each.__cause__, each.__context__]
    return "\n".join(lines)


def assert_untold(text: str) -> None:
    """Assert that a text has the password in no form."""
    plain = PASSWORD.encode()
    for form in (PASSWORD, QUOTED, base64.b64encode(plain).decode(), plain.hex(), "hunter2"):
        assert form not in text, text[max(0, text.index(form) - 300) : text.index(form) + 100]


@pytest.mark.django_db
@pytest.mark.parametrize("trouble", TROUBLES, indirect=True, ids=lambda name: name[:40])
def test_no_error_and_no_log_line_has_the_password(
    trouble: str,
    jobqueue_settings: JobqueueSettings,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    jobqueue_settings(REDIS_URL=trouble, SOCKET_TIMEOUT=0.2, BOOT_TIMEOUT=0, KEY_PREFIX="{t}:")
    told: list[str] = []
    failures = 0
    with caplog.at_level(logging.DEBUG):
        for look in looks():
            try:
                told.append(repr(look()))
            except (JobQueueError, ImproperlyConfigured, CommandError, SystemExit) as error:
                failures += 1
                told.append(told_by(error))
    formatter = logging.Formatter("%(name)s %(message)s")
    told += [formatter.format(record) + repr(record.args) for record in caplog.records]
    told += capsys.readouterr()
    assert failures >= 3, told
    assert_untold("\n".join(told))


def test_a_report_of_errors_would_have_shown_it() -> None:
    # The proof that the silence above means something.
    try:
        try:
            raise ValueError(PASSWORD)
        except ValueError as error:
            raise KeyError("hidden") from error
    except KeyError as error:
        told = told_by(error)
    with pytest.raises(AssertionError):
        assert_untold(told)


@pytest.mark.parametrize(
    "url",
    [
        f"rediss:/{LOGIN}host/0",
        f"http://{LOGIN}host/0",
        f"redis://{LOGIN}host:port/0",
        f"redis://{LOGIN}host/zero",
        f"redis://{LOGIN}host:99999999/0",
        f"redis://{LOGIN}[::1/0",
        f"redis://{LOGIN}host/0?no_such_option=1&password={QUOTED}",
        f"redis+sentinel://{LOGIN}host",
        f"worker:{QUOTED}@host",
        f"redis://{LOGIN}host/0?db=x",
    ],
)
def test_a_url_that_cannot_be_used_is_refused_without_the_password(settings: Any, url: str) -> None:
    settings.JOBQUEUE = {"REDIS_URL": url}
    with pytest.raises(ImproperlyConfigured) as caught:
        get_settings()
    assert_untold(told_by(caught.value))
    messages = run_checks()
    assert any(
        message.id in ("django_jobqueue.E004", "django_jobqueue.E005") for message in messages
    )
    assert_untold("\n".join(f"{message} {message.hint} {message!r}" for message in messages))


def test_no_process_list_and_no_record_of_a_worker_has_it(
    private_redis: Callable[..., RedisServer], make_site: MakeSite
) -> None:
    server = private_redis()
    let_in(server)
    site = make_site(server, url=f"redis://{LOGIN}127.0.0.1:{server.port}/0")
    worker = site.run_ready()
    site.push(NoopJob, "one")
    site.await_finished("one")
    for pid in (worker.pid, *worker.children()):
        assert_untold(Path(f"/proc/{pid}/cmdline").read_text(errors="replace"))
        assert_untold(Path(f"/proc/{pid}/comm").read_text(errors="replace"))
    everything = [(key, site.redis.dump(key)) for key in site.redis.scan_iter()]
    (identity,) = site.identities()
    assert any(identity.encode() in key for key, _ in everything)
    assert_untold(repr(everything) + repr(site.redis.hgetall(site.prefix + identity)))
    assert_untold(worker.output())


def test_djangos_own_report_hides_the_keys_and_by_the_filter_of_the_manual_the_url() -> None:
    told = {
        "REDIS_URL": f"redis://{LOGIN}host/0",
        "SIGNING_KEYS": [PASSWORD * 2],
        "ENCRYPTION_KEYS": [PASSWORD.encode() * 2],
        "METRICS_TOKEN": PASSWORD,
    }
    page = Path(__file__).parents[2] / "docs" / "howto" / "redaction.rst"
    code = re.search(r"    (import re\n.*?)\n\S", page.read_text(), re.DOTALL)
    assert code is not None
    shown: dict[str, Any] = {}
    exec(textwrap.dedent(f"    {code[1]}"), shown)  # noqa: S102 - the text of our own manual
    plain = SafeExceptionReporterFilter().cleanse_setting("JOBQUEUE", told)
    assert_untold(repr({name: value for name, value in plain.items() if name != "REDIS_URL"}))
    assert_untold(repr(shown["SettingsFilter"]().cleanse_setting("JOBQUEUE", told)))
    with pytest.raises(AssertionError):
        assert_untold(repr(plain))
