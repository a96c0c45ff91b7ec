"""One line to one Redis: the only room that calls redis-py, and where its errors become ours."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

import redis
from redis.connection import AbstractConnection
from redis.exceptions import MovedError, NoScriptError, RedisError, ResponseError

from django_jobqueue.exceptions import StoreError, StoreRefused, StoreUnavailable
from django_jobqueue.redis_url import parse
from django_jobqueue.store import scripts
from django_jobqueue.store.connections import connections_to
from django_jobqueue.store.errors import translate

Word = str | bytes | int | float
Command = Sequence[Word]

_NO_FLAGS = re.compile(r"(compiling script|loading code).*near '#'")

#: How often a command is sent to another node of a cluster that is said to have its keys.
MOVES = 3


def scored(flat: list[bytes]) -> list[tuple[bytes, float]]:
    """Return the reply of a WITHSCORES command as pairs."""
    it = iter(flat)
    return [(member, float(score)) for member, score in zip(it, it, strict=True)]


class Link:
    """
    Commands, pipelines and scripts, each in one round trip.

    A command is never sent twice by itself: it may have run the first time, and
    only the caller knows whether that is harmless. The exception is a node of a
    cluster that says it has not run it, and who would. Every socket has a timeout,
    in seconds. ``prefix`` is that of all keys: its hash tag finds the node.

    Raises, from every call: StoreUnavailable (and AccessDenied, WrongServer),
    StoreFull, StoreRefused.
    """

    def __init__(
        self,
        url: str,
        *,
        timeout: float,
        connections: int | None = None,
        prefix: str = "",
        plumbing: Mapping[str, Any] | None = None,
    ) -> None:
        self.timeout = timeout
        self._connections = connections_to(parse(url), timeout, prefix, connections, plumbing)
        self._flags = True
        #: Where the verbs come from. The mutation tests put others here.
        self._verbs: Callable[..., Mapping[str, scripts.Script]] = scripts.load

    @property
    def address(self) -> str:
        """Where the server is, for people: never with a user or password."""
        return self._connections.address

    def call(self, *command: Word) -> Any:
        """Run one command and return its reply."""
        try:
            return _shaped(command, self._run(command))
        except RedisError as error:
            raise self.failed(error) from error

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
                transaction = [("MULTI",), *commands, ("EXEC",)]
                replies = _served(self._exchange(transaction, atomic=True))[-1]
            else:
                replies = self._exchange(commands)
            return [
                _shaped(command, reply)
                for command, reply in zip(commands, _served(replies), strict=True)
            ]
        except RedisError as error:
            raise self.failed(error) from error

    def attempt(self, commands: Sequence[Command]) -> list[Any]:
        """
        Run commands as ``pipeline`` does, and let one that Redis refuses cost no other its reply.

        In its place stands a StoreRefused, as of a key with a wrong type. Raises: also
        StoreRefused for a command without a key: there the server is at fault.
        """
        if not commands:
            return []
        try:
            return [
                self._refusal(command, reply)
                if isinstance(reply, RedisError)
                else _shaped(command, reply)
                for command, reply in zip(commands, self._exchange(commands), strict=True)
            ]
        except RedisError as error:
            raise self.failed(error) from error

    def _refusal(self, command: Command, error: RedisError) -> StoreRefused:
        translated = self.failed(error)
        if not isinstance(translated, StoreRefused) or len(command) == 1:
            raise translated from error
        return translated

    def script(self, name: str, keys: Sequence[Word], arguments: Sequence[Word]) -> Any:
        """
        Run a verb by its digest, and by its text where the server has forgotten it.

        Raises: also StoreRefused when the script met a key of the wrong type;
        by its rules it had not written then.
        """
        while True:
            flags = self._flags  # another thread may learn meanwhile that there are none
            script = self._verbs(flags=flags)[name]
            try:
                try:
                    return self._run(("EVALSHA", script.digest, len(keys), *keys, *arguments))
                except NoScriptError:
                    return self._run(("EVAL", script.text, len(keys), *keys, *arguments))
            except RedisError as error:
                if not (flags and _NO_FLAGS.search(str(error))):
                    raise self.failed(error) from error
            self._flags = False  # Redis 6.2: the same without the '#!lua' line

    def connection(self) -> AbstractConnection:
        """
        Return a connection of the caller's own, for a duty that blocks; the caller closes it.

        What goes wrong on it is to be told through :meth:`failed`.
        """
        return self._connections.new()

    @property
    def generation(self) -> int:
        """A number that changes when connections made before may lead to the wrong server."""
        return self._connections.generation

    def failed(self, error: Exception) -> StoreError:
        """Return one of our errors, and look anew where the server cannot serve us now."""
        translated = translate(error, self.address)
        if isinstance(error, MovedError) and self._connections.follow(error, ""):
            return StoreUnavailable(f"our keys move to another node (Redis at {self.address})")
        if isinstance(translated, StoreUnavailable):
            self._connections.doubt()
        return translated

    def peer(self) -> str:
        """
        Return the IP address of the server, an empty text for a unix socket.

        Raises: StoreUnavailable.
        """
        connection = self.connection()
        try:
            connection.connect()
            sock: Any = connection._sock  # redis-py has no word for it
            name = sock.getpeername()
        except (RedisError, OSError) as error:
            raise self.failed(error) from error
        finally:
            connection.disconnect()
        return str(name[0]) if isinstance(name, tuple) else ""

    def close(self) -> None:
        """Close every connection that is not in use."""
        self._connections.close()

    def _run(self, command: Command) -> Any:
        return _served(self._exchange([command]))[0]

    def _exchange(self, commands: Sequence[Command], *, atomic: bool = False) -> list[Any]:
        """
        Send commands and return their replies; those that are errors are not raised.

        What another node of a cluster is said to serve is sent there: a transaction
        as a whole, of other commands those alone that were not run.
        """
        replies, asked = self._send(commands)
        for _ in range(MOVES):
            moved = [at for at, reply in enumerate(replies) if isinstance(reply, MovedError)]
            if not moved or not self._connections.follow(replies[moved[0]], asked):
                break
            again = range(len(commands)) if atomic else moved
            found, asked = self._send([commands[at] for at in again])
            for at, reply in zip(again, found, strict=True):
                replies[at] = reply
        return replies

    def _send(self, commands: Sequence[Command]) -> tuple[list[Any], str]:
        """Return the replies to commands, and the host that gave them."""
        generation = self._connections.generation
        connection = self._connections.take()
        try:
            packed = (
                connection.pack_command(*commands[0])
                if len(commands) == 1  # by far the most, and this takes half the time
                else connection.pack_commands(commands)
            )
            connection.send_packed_command(packed)
            replies = [_reply(connection) for _ in commands]
        except BaseException:
            # A reply may still be on its way, and nobody else shall take it for his.
            connection.disconnect()
            raise
        self._connections.give_back(connection, generation)
        return replies, getattr(connection, "host", "")


def _reply(connection: AbstractConnection) -> Any:
    try:
        return connection.read_response()
    except ResponseError as error:
        # redis-py 5 has this one for its own cluster client only.
        word, _, rest = str(error).partition(" ")
        return MovedError(rest) if word == "MOVED" else error


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
