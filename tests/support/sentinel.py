"""A Redis under Sentinel of one's own: a master, a replica, and three that watch them."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack, suppress
from types import TracebackType
from typing import Any, Self

import redis

from tests.support import acl
from tests.support.polling import wait_until
from tests.support.server import RedisServer

#: What the Sentinels call the master.
MASTER = "mymaster"

#: Seconds for the five to know each other, and for one failover.
_TIMEOUT = 60.0

#: Milliseconds of silence after which a master is taken to be down, and of a failover.
_DOWN_AFTER, _FAILOVER = 1000, 1500


class Sentinel(RedisServer):
    """One Sentinel. It writes what it learns into its configuration."""

    def __init__(self, master: RedisServer, config: Mapping[str, object] | None = None) -> None:
        # Neither is for a server without data.
        super().__init__({"appendonly": "no", "save": "", **(config or {})})
        self._path = self.directory / "sentinel.conf"
        self._path.write_text(
            f"sentinel monitor {MASTER} 127.0.0.1 {master.port} 2\n"
            f"sentinel down-after-milliseconds {MASTER} {_DOWN_AFTER}\n"
            f"sentinel failover-timeout {MASTER} {_FAILOVER}\n"
        )

    def master_url(self, credentials: str = "") -> str:
        """Return the address of the master by way of this Sentinel; credentials end with an @."""
        return f"redis+sentinel://{credentials}127.0.0.1:{self.port}/{MASTER}/0"

    def state(self) -> dict[str, Any]:
        """Return what it knows of the master."""
        with self.client() as client:
            state: Any = client.sentinel_master(MASTER)
        return dict(state)

    @property
    def node_url(self) -> str:
        """The address of this very Sentinel."""
        return f"redis://127.0.0.1:{self.port}/0"

    def _user(self) -> list[str]:
        return []  # Sentinels have users of their own

    def _arguments(self, port: int) -> list[str]:
        return [str(self._path), "--sentinel", *super()._arguments(port)]


class Sentinels:
    """
    Two servers of which one replicates the other, and three Sentinels that see to it.

    A context manager. ``url`` names the Sentinels.
    """

    def __init__(self) -> None:
        self._stack = ExitStack()
        self.servers: list[RedisServer] = []
        self.sentinels: list[Sentinel] = []

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self.servers = [
                # By default a replica waits for 5 s, so that others can share its snapshot.
                stack.enter_context(RedisServer({"repl-diskless-sync-delay": 0}))
                for _ in range(2)
            ]
            master, replica = self.servers
            with replica.client() as client:
                client.replicaof("127.0.0.1", str(master.port))
            self.sentinels = [stack.enter_context(Sentinel(master)) for _ in range(3)]
            self.await_whole()
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stack.close()

    @property
    def url(self) -> str:
        """The address of the master by way of its Sentinels, database 0."""
        return self._url(acl.login())

    @property
    def admin_url(self) -> str:
        """The same for somebody who may do everything."""
        return self._url("")

    def _url(self, login: str) -> str:
        hosts = ",".join(f"127.0.0.1:{each.port}" for each in self.sentinels)
        return f"redis+sentinel://{login}{hosts}/{MASTER}/0"

    @property
    def master(self) -> RedisServer:
        """The server that all Sentinels take for the master."""
        ports = {int(sentinel.state()["port"]) for sentinel in self.sentinels}
        (found,) = (server for server in self.servers if ports == {server.port})
        return found

    def fail_over(self) -> None:
        """Have a Sentinel make the replica the master, and return when all know."""
        old = self.master

        def is_begun() -> bool:
            with self.sentinels[0].client() as client, suppress(redis.ResponseError):
                # Refused while it does not know enough of the replica.
                client.execute_command("SENTINEL", "FAILOVER", MASTER)
                return True
            return False

        wait_until(is_begun, _TIMEOUT, "a failover to begin")
        self.await_other(old)

    def await_other(self, old: RedisServer) -> RedisServer:
        """Return the server that is master instead of ``old``, once all Sentinels agree."""
        wait_until(
            lambda: all(int(each.state()["port"]) != old.port for each in self.sentinels),
            _TIMEOUT,
            lambda: f"another master\n{self.sentinels[0].log()}",
        )
        return self.master

    def await_whole(self) -> None:
        """Return when the replica has everything, and every Sentinel knows all the others."""
        wait_until(
            lambda: _has_replica(self.master) and all(_sees_all(each) for each in self.sentinels),
            _TIMEOUT,
            lambda: f"the Sentinels to see everything\n{self.sentinels[0].log()}",
        )


def _sees_all(sentinel: Sentinel) -> bool:
    state = sentinel.state()
    return (state["num-other-sentinels"], state["num-slaves"], state["flags"]) == (
        2, 1, "master",
    )  # fmt: skip


def _has_replica(master: RedisServer) -> bool:
    with master.client() as client:
        replication = client.info("replication")
    return (
        replication["role"] == "master"
        and replication["connected_slaves"] == 1
        and str(replication["slave0"]["state"]) == "online"
    )
