"""The server itself: its version and the settings that decide whether jobs are safe with it."""

from __future__ import annotations

import re
from dataclasses import dataclass

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
        numbers = [int(n) for n in re.findall(r"\d+", self.version)[:2]]
        return tuple(numbers) < OLDEST

    @property
    def evicts(self) -> bool:
        """Whether the server throws keys away when it is full."""
        return self.eviction not in ("noeviction", "")


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
            # Valkey has another name for it.
            mode=str(server.get("server_mode") or server.get("redis_mode", "")),
            eviction=str(memory.get("maxmemory_policy", "")),
            uptime=int(server.get("uptime_in_seconds", 0)),
            appends=bool(files.get("aof_enabled", 1)),
        )

    def takes_snapshots(self) -> bool:
        """Return whether the server writes all data down now and then; True if it does not say."""
        try:
            reply = self._link.call("CONFIG", "GET", "save")
        except (AccessDenied, StoreRefused):
            return True  # a managed server, or a user that may not ask
        return bool(reply[1:] != [b""])

    def find(self, key: str) -> bool:
        """
        Return whether a key exists, whatever it holds.

        Raises: WrongServer when another node of a cluster has its slot, and is not ours to ask.
        """
        return bool(self._link.call("EXISTS", key))

    def peer(self) -> str:
        """Return the IP address of the server as we reach it; empty for a unix socket."""
        return self._link.peer()
