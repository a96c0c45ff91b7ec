"""The server itself: its version and the settings that decide whether jobs are safe with it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from django_jobqueue.store.link import Link

#: The oldest Redis whose commands are enough (BLMOVE, SMISMEMBER).
OLDEST = (6, 2)


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """What a worker asks a server before it trusts it with jobs. ``uptime`` in seconds."""

    version: str
    cluster: bool
    eviction: str
    uptime: int

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
        server, memory = self._link.pipeline([("INFO", "server"), ("INFO", "memory")])
        return ServerFacts(
            version=str(server.get("redis_version", "0")),
            # Valkey has another name for it.
            cluster="cluster" in (server.get("redis_mode"), server.get("server_mode")),
            eviction=str(memory.get("maxmemory_policy", "")),
            uptime=int(server.get("uptime_in_seconds", 0)),
        )
