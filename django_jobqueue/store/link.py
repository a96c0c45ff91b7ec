"""One line to one Redis: the only room that calls redis-py, and where its errors become ours."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.connection import (
    AbstractConnection,
    Connection,
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

from django_jobqueue import clock
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
    r"\b(READONLY|LOADING|MASTERDOWN|CLUSTERDOWN|NOREPLICAS|MISCONF|UNBLOCKED|TRYAGAIN|BUSY"
    r"|MOVED|ASK)\b"
)
#: The same, where redis-py has a class for it and takes the word out of the text.
_PASSING_ERRORS = (
    RedisConnectionError, RedisTimeoutError, ReadOnlyError, ClusterDownError, TryAgainError,
    AskError,
)  # fmt: skip
_FULL = re.compile(r"\bOOM\b")
_DENIED = re.compile(
    r"\b(NOAUTH|WRONGPASS|NOPERM)\b|ACL failure in script|user executing the script can't"
)
_NO_FLAGS = re.compile(r"Error compiling script.*near '#'")


#: Seconds for which a connection that has just served is taken to be open still.
TRUSTED = 0.05


def scored(flat: list[bytes]) -> list[tuple[bytes, float]]:
    """Return the reply of a WITHSCORES command as pairs."""
    it = iter(flat)
    return [(member, float(score)) for member, score in zip(it, it, strict=True)]


class Connections:
    """
    The connections of one process that are open and not in use.

    redis-py's pool takes longer than a command on an open connection, and what
    it has made it counts for ever: after 100 it makes no more. Here there is no
    bound to those in use; ``kept`` is how many of the others stay open.
    """

    def __init__(
        self, kind: type[AbstractConnection], options: Mapping[str, Any], kept: int | None = None
    ) -> None:
        self._kind = kind
        self._options = options
        self._kept = kept
        self._owner = os.getpid()
        self._idle: list[tuple[AbstractConnection, float]] = []

    def new(self) -> AbstractConnection:
        """Return another connection. It connects with its first command."""
        return self._kind(**self._options)

    def take(self) -> AbstractConnection:
        """Return the connection used last that is still open, or another one."""
        if self._owner != os.getpid():
            # A fork has the sockets of its parent, but not the right to use them.
            self._owner, self._idle = os.getpid(), []
        while True:
            try:
                connection, since = self._idle.pop()
            except IndexError:
                return self.new()
            if clock.monotonic() - since < TRUSTED or _is_open(connection):
                return connection
            connection.disconnect()

    def give_back(self, connection: AbstractConnection) -> None:
        """Keep a connection on which every reply has been read."""
        if self._kept is None or len(self._idle) < self._kept:
            self._idle.append((connection, clock.monotonic()))
        else:
            connection.disconnect()

    def close(self) -> None:
        """Close them. One that is in use stays open: another thread reads from it."""
        idle, self._idle = self._idle, []
        for connection, _ in idle:
            connection.disconnect()


class Link:
    """
    Commands, pipelines and scripts, each in one round trip.

    A command is never sent twice by itself: it may have run the first time, and
    only the caller knows whether that is harmless. Every socket has a timeout,
    in seconds.

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
        kind = options.pop("connection_class", Connection)
        if issubclass(kind, (Connection, SSLConnection)):
            options.setdefault("socket_keepalive", True)
        kept = options.pop("max_connections", connections)
        self._options = options
        self._connections = Connections(kind, options, kept)
        self._flags = True
        #: Where the verbs come from. The mutation tests put others here.
        self._verbs: Callable[..., Mapping[str, scripts.Script]] = scripts.load

    @property
    def address(self) -> str:
        """Where the server is, for people: never with a user or password."""
        options = self._options
        if "path" in options:
            return str(options["path"])
        return f"{options.get('host', 'localhost')}:{options.get('port', 6379)}"

    def call(self, *command: Word) -> Any:
        """Run one command and return its reply."""
        try:
            return _shaped(command, self._run(command))
        except RedisError as error:
            raise self._failed(error) from error

    def pipeline(self, commands: Sequence[Command], *, atomic: bool = False) -> list[Any]:
        """
        Run commands in one round trip and return their replies in order.

        With ``atomic`` they are one transaction: refused together when Redis is
        full. The first error reply is raised; without ``atomic`` the others
        were run all the same.
        """
        if not commands:
            return []
        try:
            if atomic:
                # Where EXEC is refused, the command at fault has said why before it.
                replies = _served(self._exchange([("MULTI",), *commands, ("EXEC",)]))[-1]
            else:
                replies = self._exchange(commands)
            return [
                _shaped(command, reply)
                for command, reply in zip(commands, _served(replies), strict=True)
            ]
        except RedisError as error:
            raise self._failed(error) from error

    def script(self, name: str, keys: Sequence[Word], arguments: Sequence[Word]) -> Any:
        """
        Run a verb by its digest, and by its text where the server has forgotten it.

        Raises: also StoreRefused when the script met a key of the wrong type;
        by its rules it had not written then.
        """
        script = self._verbs(flags=self._flags)[name]
        try:
            try:
                return self._run(("EVALSHA", script.digest, len(keys), *keys, *arguments))
            except NoScriptError:
                return self._run(("EVAL", script.text, len(keys), *keys, *arguments))
        except RedisError as error:
            if not (self._flags and _NO_FLAGS.search(str(error))):
                raise self._failed(error) from error
        self._flags = False  # Redis 6.2: the same without the '#!lua' line
        return self.script(name, keys, arguments)

    def connection(self) -> AbstractConnection:
        """Return a connection of the caller's own, for a duty that blocks; the caller closes it."""
        return self._connections.new()

    def close(self) -> None:
        """Close every connection that is not in use."""
        self._connections.close()

    def _run(self, command: Command) -> Any:
        return _served(self._exchange([command]))[0]

    def _exchange(self, commands: Sequence[Command]) -> list[Any]:
        """Send commands and return their replies; those that are errors are not raised."""
        connection = self._connections.take()
        try:
            connection.send_packed_command(connection.pack_commands(commands))
            replies = [_reply(connection) for _ in commands]
        except BaseException:
            # A reply may still be on its way, and nobody else shall take it for his.
            connection.disconnect()
            raise
        self._connections.give_back(connection)
        return replies

    def _failed(self, error: RedisError) -> StoreError:
        """Return one of our errors, and look anew where the server cannot serve us now."""
        translated = self.translate(error)
        if isinstance(translated, StoreUnavailable):
            self._connections.close()
        return translated

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


def _is_open(connection: AbstractConnection) -> bool:
    """Return whether a connection that nobody reads from is alive: one at its end is readable."""
    try:
        return not connection.can_read()
    except (RedisError, OSError):
        return False


def _reply(connection: AbstractConnection) -> Any:
    try:
        return connection.read_response()
    except ResponseError as error:
        return error


def _served(replies: list[Any]) -> list[Any]:
    """Return replies, or raise the first that is an error."""
    for reply in replies:
        if isinstance(reply, RedisError):
            raise reply
    return replies


def _shaped(command: Command, reply: Any) -> Any:
    """Return a reply as redis-py's commands return it: a hash as a dict, INFO parsed."""
    shape = _shapes().get(command[0])
    return reply if shape is None else shape(reply)


@cache
def _shapes() -> dict[Word, Callable[[Any], Any]]:
    return dict(redis.Redis(protocol=2).response_callbacks)
