"""One line to one Redis: the only room that calls redis-py, and where its errors become ours."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.connection import (
    AbstractConnection,
    Connection,
    ConnectionPool,
    SSLConnection,
    parse_url,
)
from redis.exceptions import (
    AskError,
    AuthenticationError,
    AuthorizationError,
    ClusterDownError,
    NoPermissionError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TryAgainError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry

from django_jobqueue.exceptions import (
    AccessDenied,
    StoreError,
    StoreFull,
    StoreRefused,
    StoreUnavailable,
)
from django_jobqueue.store import scripts

Word = str | bytes | int | float
Command = Sequence[Word]

#: Answers of a server that will serve again: drop the connection, look anew, try again.
_PASSING = re.compile(
    r"\b(READONLY|LOADING|MASTERDOWN|CLUSTERDOWN|NOREPLICAS|MISCONF|UNBLOCKED|TRYAGAIN|BUSY)\b"
)
#: The same, where redis-py has a class for it and takes the word out of the text.
_PASSING_ERRORS = (
    RedisConnectionError, RedisTimeoutError, ReadOnlyError, ClusterDownError, TryAgainError, AskError,
)  # fmt: skip
_FULL = re.compile(r"\bOOM\b")
_DENIED = re.compile(
    r"\b(NOAUTH|WRONGPASS|NOPERM)\b|ACL failure in script|user executing the script can't"
)
_NO_FLAGS = re.compile(r"Error compiling script.*near '#'")


def scored(flat: list[bytes]) -> list[tuple[bytes, float]]:
    """Return the reply of a WITHSCORES command as pairs."""
    it = iter(flat)
    return [(member, float(score)) for member, score in zip(it, it, strict=True)]


class Link:
    """
    Commands, pipelines and scripts over one connection pool.

    redis-py's own retries are off: a command that was sent twice may have run
    twice, and only the caller knows whether that is harmless. Every socket has
    a timeout, in seconds.

    Raises, from every call: StoreUnavailable (and AccessDenied), StoreFull,
    StoreRefused.
    """

    def __init__(self, url: str, *, timeout: float, connections: int | None = None) -> None:
        self.timeout = timeout
        self._url = url
        options: dict[str, Any] = {
            "socket_timeout": timeout,
            "socket_connect_timeout": timeout,
            "health_check_interval": 0,
            **parse_url(url),
            "retry": Retry(NoBackoff(), 0),
            "retry_on_timeout": False,
            "retry_on_error": [],
            "protocol": 2,
            "decode_responses": False,
        }
        if issubclass(options.get("connection_class", Connection), (Connection, SSLConnection)):
            options.setdefault("socket_keepalive", True)
        if connections is not None:
            options["max_connections"] = connections
        self._pool = ConnectionPool(**options)
        self._client = redis.Redis(connection_pool=self._pool)
        self._flags = True
        #: Where the verbs come from. The mutation tests put others here.
        self._verbs: Callable[..., Mapping[str, scripts.Script]] = scripts.load

    @property
    def address(self) -> str:
        """Where the server is, for people: never with a user or password."""
        options = self._pool.connection_kwargs
        if "path" in options:
            return str(options["path"])
        return f"{options.get('host', 'localhost')}:{options.get('port', 6379)}"

    def call(self, *command: Word) -> Any:
        """Run one command and return its reply."""
        with self._translated():
            return self._client.execute_command(*command)

    def pipeline(self, commands: Sequence[Command], *, atomic: bool = False) -> list[Any]:
        """
        Run commands in one round trip and return their replies in order.

        With ``atomic`` they are one transaction: refused together when Redis is
        full. The first error reply is raised; without ``atomic`` the others
        were run all the same.
        """
        with self._translated():
            pipe = self._client.pipeline(transaction=atomic)
            for command in commands:
                pipe.execute_command(*command)
            return pipe.execute()

    def script(self, name: str, keys: Sequence[Word], arguments: Sequence[Word]) -> Any:
        """
        Run a verb by its digest, and by its text where the server has forgotten it.

        Raises: also StoreRefused when the script met a key of the wrong type;
        by its rules it had not written then.
        """
        script = self._verbs(flags=self._flags)[name]
        with self._translated():
            try:
                return self._client.execute_command(
                    "EVALSHA", script.digest, len(keys), *keys, *arguments
                )
            except NoScriptError:
                pass
            try:
                return self._client.execute_command(
                    "EVAL", script.text, len(keys), *keys, *arguments
                )
            except ResponseError as error:
                if not (self._flags and _NO_FLAGS.search(str(error))):
                    raise
        self._flags = False  # Redis 6.2: the same without the '#!lua' line
        return self.script(name, keys, arguments)

    def connection(self) -> AbstractConnection:
        """Return a connection outside the pool, for a duty that blocks; the caller closes it."""
        connection = self._pool.make_connection()
        assert isinstance(connection, AbstractConnection)
        return connection

    def close(self) -> None:
        """Close every connection."""
        self._pool.disconnect()

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except RedisError as error:
            translated = self.translate(error)
            if isinstance(translated, StoreUnavailable):
                # Only idle ones: another thread may be reading from one in use.
                self._pool.disconnect(inuse_connections=False)
            raise translated from error

    def translate(self, error: RedisError) -> StoreError:
        """Return one of our errors for one of redis-py's."""
        text = f"{error} (Redis at {self.address})"
        if isinstance(error, (AuthenticationError, AuthorizationError, NoPermissionError)):
            return AccessDenied(text)
        if isinstance(error, _PASSING_ERRORS):
            return StoreUnavailable(text)
        if isinstance(error, OutOfMemoryError) or _FULL.search(str(error)):
            return StoreFull(text)
        if _DENIED.search(str(error)):
            return AccessDenied(text)
        if _PASSING.search(str(error)):
            return StoreUnavailable(text)
        return StoreRefused(text)
