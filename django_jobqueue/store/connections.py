"""The connections to a server: what they are made with, and those that wait for the next use."""

from __future__ import annotations

import os
from collections.abc import Mapping
from inspect import signature
from typing import Any

from redis.backoff import NoBackoff
from redis.connection import AbstractConnection, Connection, SSLConnection, parse_url
from redis.crc import key_slot
from redis.exceptions import MovedError, RedisError
from redis.retry import Retry

from django_jobqueue import clock
from django_jobqueue.redis_url import RedisURL
from django_jobqueue.store.addresses import (
    Address,
    Addresses,
    ClusterAddress,
    FixedAddress,
    SentinelAddress,
    shown,
)

#: Seconds for which a connection that has just served is taken to be open still.
TRUSTED = 0.05

#: redis-py is not to tell its name with each connection: that is two round trips more, and
#: takes a right (CLIENT) that is good for worse.
_NAMELESS: dict[str, Any] = (
    {"driver_info": None}
    if "driver_info" in signature(AbstractConnection.__init__).parameters
    else {"lib_name": None, "lib_version": None}  # the same to an older redis-py
)


class Connections:
    """
    The connections of one process that are open and not in use.

    redis-py's pool takes longer than a command on an open connection, and what
    it has made it counts for ever: after 100 it makes no more. Here there is no
    bound to those in use; ``kept`` is how many of the others stay open.
    """

    def __init__(
        self,
        kind: type[AbstractConnection],
        options: Mapping[str, Any],
        addresses: Addresses,
        kept: int | None = None,
    ) -> None:
        self._kind = kind
        self._options = options
        self._addresses = addresses
        self._kept = kept
        self._owner = os.getpid()
        self._idle: list[tuple[AbstractConnection, float]] = []
        #: How often they were closed. What was in use then is not kept either.
        self.generation = 0

    @property
    def address(self) -> str:
        """Where the server is, for people: never with a user or password."""
        return str(self._addresses)

    def new(self) -> AbstractConnection:
        """
        Return another connection. It connects with its first command.

        Raises: StoreUnavailable when nobody can tell where to.
        """
        return self._kind(**{**self._options, **self._addresses.where()})

    def take(self) -> AbstractConnection:
        """Return the connection used last that is still open, or another one."""
        if self._owner != os.getpid():
            # A fork has the sockets of its parent, but not the right to use them.
            self._owner, self._idle = os.getpid(), []
        if self._idle and self._addresses.has_changed():
            self.close()
        while True:
            try:
                connection, since = self._idle.pop()
            except IndexError:
                return self.new()
            if clock.monotonic() - since < TRUSTED or is_open(connection):
                return connection
            connection.disconnect()

    def give_back(self, connection: AbstractConnection, generation: int) -> None:
        """Keep a connection on which every reply was read, of the generation before its use."""
        is_wanted = self._kept is None or len(self._idle) < self._kept
        if is_wanted and generation == self.generation:
            self._idle.append((connection, clock.monotonic()))
        else:
            connection.disconnect()

    def close(self) -> None:
        """Close them. One that is in use stays open: another thread reads from it."""
        self.generation += 1
        idle, self._idle = self._idle, []
        for connection, _ in idle:
            connection.disconnect()

    def doubt(self) -> None:
        """Close them, and have the next ones look anew: the server cannot serve us now."""
        self._addresses.forget()
        self.close()

    def follow(self, moved: MovedError, asked: str) -> bool:
        """
        Close them, and have the next ones lead where the host ``asked`` says our keys are.

        Returns False, having done nothing, when the URL names no cluster.
        """
        if not self._addresses.follow(moved, asked):
            return False
        self.close()
        return True


def connections_to(
    target: RedisURL,
    timeout: float,
    prefix: str,
    kept: int | None = None,
    plumbing: Mapping[str, Any] | None = None,
) -> Connections:
    """
    Return connections to what a URL names, with a timeout in seconds for all that they do.

    ``plumbing`` is what redis-py is to be told besides, such as another ``connection_class``.
    """
    kind, options = _options(target, timeout, plumbing or {})
    kept = options.pop("max_connections", kept)
    return Connections(kind, options, _addresses(target, kind, options, prefix), kept)


def _options(
    target: RedisURL, timeout: float, plumbing: Mapping[str, Any]
) -> tuple[type[AbstractConnection], dict[str, Any]]:
    """Return the class and the options of the connections to a server."""
    options: dict[str, Any] = {
        "socket_timeout": timeout,
        "socket_connect_timeout": timeout,
        "health_check_interval": 0,
        **parse_url(target.plain),
        "retry": Retry(NoBackoff(), 0),
        "retry_on_timeout": False,
        "retry_on_error": [],
        "protocol": 2,
        "decode_responses": False,
        **_NAMELESS,
        **plumbing,
    }
    kind = options.pop("connection_class", Connection)
    if issubclass(kind, (Connection, SSLConnection)):
        options.setdefault("socket_keepalive", True)
    if issubclass(kind, SSLConnection):
        # redis-py 5 trusts any host that has a certificate.
        options.setdefault("ssl_check_hostname", True)
        if options.get("ssl_cert_reqs") == "none":
            options["ssl_check_hostname"] = False
    return kind, options


def _addresses(
    target: RedisURL, kind: type[AbstractConnection], options: Mapping[str, Any], prefix: str
) -> Addresses:
    """Return who tells where the server is."""
    if target.kind == "server":
        return FixedAddress(shown(target.hosts[0]) if target.hosts else str(options["path"]))

    own: dict[str, Any] = {}
    if target.kind == "sentinel":
        # Sentinels have users of their own, and no databases.
        own["username"] = target.sentinel_username or None
        own["password"] = target.sentinel_password or None
        own["db"] = 0

    def connect(node: Address) -> AbstractConnection:
        return kind(**{**options, **own, "host": node[0], "port": node[1]})

    if target.kind == "sentinel":
        return SentinelAddress(target.hosts, connect, target.master)
    return ClusterAddress(target.hosts, connect, key_slot(prefix.encode()))


def is_open(connection: AbstractConnection) -> bool:
    """Return whether a connection that nobody reads from is alive: one at its end is readable."""
    try:
        return not connection.can_read()
    except (RedisError, OSError):
        return False
