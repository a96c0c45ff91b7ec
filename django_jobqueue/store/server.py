"""The server itself: its version and the settings that decide whether jobs are safe with it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django_jobqueue.exceptions import AccessDenied, StoreRefused
from django_jobqueue.store.link import Link

#: The oldest Redis whose commands are enough (BLMOVE, SMISMEMBER).
OLDEST = (6, 2)


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """
    What a worker asks a server before it trusts it with jobs. ``uptime`` in seconds.

    ``mode`` is ``"standalone"``, ``"cluster"`` or ``"sentinel"``. A managed server may
    keep some of it to itself: that is empty then, and ``appends`` is True.
    """

    version: str
    mode: str
    eviction: str
    uptime: int
    #: Whether every write goes to a file (AOF), sooner or later.
    appends: bool = True

    @property
    def is_too_old(self) -> bool:
        """Whether commands that we need are missing."""
        return _is_too_old(self.version)

    @property
    def evicts(self) -> bool:
        """Whether the server throws keys away when it is full."""
        return _evicts(self.eviction)


@dataclass(frozen=True, slots=True)
class ServerReport:
    """
    What a server tells of itself, for people.

    What it keeps to itself, as a managed one may, is None, or empty where it is a text.
    Memory is in bytes, times are in seconds.
    """

    #: Where it is: never with a user or password.
    address: str
    #: ``"redis"``, ``"valkey"``, or another that speaks like them.
    product: str
    #: Its own version.
    version: str
    #: The version of Redis whose commands it has.
    redis_version: str
    #: ``"standalone"``, ``"cluster"`` or ``"sentinel"``.
    mode: str
    #: ``"master"`` or ``"slave"``, as the server calls it.
    role: str
    #: How many copies follow it.
    replicas: int | None
    #: Seconds since it started.
    uptime: int | None
    #: What is thrown away when it is full: ``"noeviction"`` for nothing, which is what jobs need.
    eviction: str
    #: How many keys were thrown away since it started.
    evicted: int | None
    #: Bytes that its data take.
    used_memory: int | None
    #: The most bytes that they ever took.
    peak_memory: int | None
    #: 0 where there is no limit but the machine's.
    max_memory: int | None
    #: Whether every write goes to a file (AOF).
    appends: bool | None
    #: Whether the last one got there.
    append_ok: bool | None
    #: Whether all is written down now and then (RDB).
    snapshots: bool | None
    #: Whether that went well the last time.
    snapshot_ok: bool | None
    #: Seconds since then, or since the server started.
    snapshot_age: float | None
    #: Changes that came since.
    unsaved: int | None
    #: Connections that are open.
    clients: int | None
    #: Connections that wait for something, as idle workers do.
    blocked_clients: int | None
    #: Connections that there can be.
    max_clients: int | None
    #: Commands that it ran in the last second.
    commands_per_second: int | None
    #: The number of keys in each database, ``"db0"``; others' too.
    keys: dict[str, int]

    @property
    def is_too_old(self) -> bool:
        """Whether commands that we need are missing."""
        return _is_too_old(self.redis_version)

    @property
    def evicts(self) -> bool:
        """Whether the server throws keys away when it is full."""
        return _evicts(self.eviction)

    @property
    def fullness(self) -> float | None:
        """The share of its memory that is used, from 0.0 to 1.0; None without a limit."""
        if self.used_memory is None or not self.max_memory:
            return None
        return self.used_memory / self.max_memory


class Server:
    """Ask the server about itself."""

    def __init__(self, link: Link) -> None:
        self._link = link

    def facts(self) -> ServerFacts:
        """Return what the server tells in INFO."""
        sections = ("server", "memory", "persistence")
        server, memory, files = self._link.pipeline([("INFO", section) for section in sections])
        return ServerFacts(
            version=str(server.get("redis_version", "0")),
            mode=_mode(server),
            eviction=str(memory.get("maxmemory_policy", "")),
            uptime=int(server.get("uptime_in_seconds", 0)),
            appends=bool(files.get("aof_enabled", 1)),
        )

    def report(self) -> ServerReport:
        """Return all that the server tells, in two round trips."""
        sections = (
            "server", "memory", "persistence", "replication", "clients", "stats", "keyspace",
        )  # fmt: skip
        server, memory, files, copies, clients, stats, keys = self._link.pipeline(
            [("INFO", section) for section in sections]
        )
        product, version = _product(server)
        saved = _whole(files, "rdb_last_save_time")
        now = _whole(server, "server_time_usec")
        return ServerReport(
            address=self._link.address,
            product=product,
            version=version,
            redis_version=str(server.get("redis_version", "")),
            mode=_mode(server),
            role=str(copies.get("role", "")),
            replicas=_whole(copies, "connected_slaves"),
            uptime=_whole(server, "uptime_in_seconds"),
            eviction=str(memory.get("maxmemory_policy", "")),
            evicted=_whole(stats, "evicted_keys"),
            used_memory=_whole(memory, "used_memory"),
            peak_memory=_whole(memory, "used_memory_peak"),
            max_memory=_whole(memory, "maxmemory"),
            appends=_truth(files, "aof_enabled", 1),
            append_ok=_truth(files, "aof_last_write_status", "ok"),
            snapshots=self._saves(),
            snapshot_ok=_truth(files, "rdb_last_bgsave_status", "ok"),
            # By the server's own clock, like the other one.
            snapshot_age=None if saved is None or now is None else max(0.0, now / 1e6 - saved),
            unsaved=_whole(files, "rdb_changes_since_last_save"),
            clients=_whole(clients, "connected_clients"),
            blocked_clients=_whole(clients, "blocked_clients"),
            max_clients=_whole(clients, "maxclients"),
            commands_per_second=_whole(stats, "instantaneous_ops_per_sec"),
            keys={
                name: int(facts["keys"])
                for name, facts in keys.items()
                if isinstance(facts, dict) and type(facts.get("keys")) is int
            },
        )

    def takes_snapshots(self) -> bool:
        """Return whether the server writes all data down now and then; True if it does not say."""
        return self._saves() is not False

    def _saves(self) -> bool | None:
        try:
            reply = self._link.call("CONFIG", "GET", "save")
        except (AccessDenied, StoreRefused):
            return None  # a managed server, or a user that may not ask
        return reply[1:] != [b""] if reply else None

    def find(self, key: str) -> bool:
        """
        Return whether a key exists, whatever it holds.

        Raises: WrongServer when another node of a cluster has its slot, and is not ours to ask.
        """
        return bool(self._link.call("EXISTS", key))

    def peer(self) -> str:
        """Return the IP address of the server as we reach it; empty for a unix socket."""
        return self._link.peer()


#: What INFO says in a section, by redis-py: numbers where they look like some.
Info = Mapping[str, Any]


def _is_too_old(version: str) -> bool:
    return tuple(int(n) for n in re.findall(r"\d+", version)[:2]) < OLDEST


def _evicts(policy: str) -> bool:
    return policy not in ("noeviction", "")


def _mode(server: Info) -> str:
    # Valkey has another name for it.
    return str(server.get("server_mode") or server.get("redis_mode", ""))


def _product(server: Info) -> tuple[str, str]:
    """Return the name of the program, and its own version."""
    name = str(server.get("server_name") or "")
    if not name:
        kin = ("valkey", "dragonfly")
        name = next((each for each in kin if f"{each}_version" in server), "redis")
    return name, str(server.get(f"{name}_version") or server.get("redis_version", ""))


def _whole(info: Info, name: str) -> int | None:
    value = info.get(name)
    return int(value) if isinstance(value, int | float) else None


def _truth(info: Info, name: str, yes: object) -> bool | None:
    return bool(info[name] == yes) if name in info else None
