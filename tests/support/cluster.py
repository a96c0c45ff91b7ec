"""A Redis Cluster of one's own: three nodes, each with a third of the slots, and no replicas."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Self

from tests.support import acl
from tests.support.polling import wait_until
from tests.support.prefixes import SLOTS
from tests.support.server import RedisServer, free_port

#: What a node adds to its port to talk with the others.
_BUS = 10_000

#: Seconds in which nodes that were introduced to each other agree.
_TIMEOUT = 60.0


class ClusterNode(RedisServer):
    """A node. ``url`` names nodes of its cluster, once it is in one."""

    def __init__(self) -> None:
        super().__init__(
            {
                "cluster-enabled": "yes",
                # Longer than a busy machine lets a node wait for an answer.
                "cluster-node-timeout": 60_000,
                "cluster-require-full-coverage": "no",
            }
        )
        #: The nodes that its URL names.
        self.seeds: Sequence[RedisServer] = ()

    @property
    def url(self) -> str:
        """The cluster, by the nodes that a test has chosen for it."""
        if not self.seeds:
            return self.node_url
        hosts = (f"127.0.0.1:{seed.port}" for seed in self.seeds)
        return f"redis+cluster://{acl.login()}{','.join(hosts)}"

    def _new_port(self) -> int:
        while True:
            port = free_port()
            if port + _BUS < 65_536 and _is_free(port + _BUS):
                return port


class Cluster:
    """
    Three nodes; the last one is ``owner`` of the slots of all tests.

    Its ``url`` names only the other two. A context manager.
    """

    def __init__(self) -> None:
        self._stack = ExitStack()
        self.nodes: list[ClusterNode] = []

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self.nodes = [stack.enter_context(ClusterNode()) for _ in range(3)]
            self._join()
            self._stack = stack.pop_all()
        self.owner.seeds = self.nodes[:2]
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stack.close()

    @property
    def owner(self) -> ClusterNode:
        """The node with the keys of the tests."""
        return self.nodes[2]

    def move(self, slot: int, target: RedisServer) -> None:
        """Give a slot without keys to a node, and tell all of them until all believe it."""
        with target.client() as client:
            name = client.execute_command("CLUSTER", "MYID")

        def are_told() -> bool:
            for node in self.nodes:
                with node.client() as client:
                    client.execute_command("CLUSTER", "SETSLOT", slot, "NODE", name)
            # Who had the slot claims it until it is told, and those told before may believe it.
            return all(_owner_of(slot, node) == target.port for node in self.nodes)

        wait_until(are_told, _TIMEOUT, f"all nodes to know where slot {slot} is")

    def _join(self) -> None:
        half = SLOTS.start // 2
        shares = (range(half), range(half, SLOTS.start), SLOTS)
        for epoch, (node, share) in enumerate(zip(self.nodes, shares, strict=True), 1):
            with node.client() as client:
                client.execute_command("CLUSTER", "SET-CONFIG-EPOCH", epoch)
                client.execute_command("CLUSTER", "ADDSLOTS", *share)
                client.execute_command("CLUSTER", "MEET", "127.0.0.1", self.nodes[0].port)
        wait_until(
            lambda: all(_is_whole(node) for node in self.nodes),
            _TIMEOUT,
            lambda: "\n".join(["a cluster", *(node.log() for node in self.nodes)]),
        )


def _owner_of(slot: int, node: RedisServer) -> int | None:
    """Return the port of the node that has a slot, as far as ``node`` knows."""
    with node.client() as client:
        ranges: Any = client.execute_command("CLUSTER", "SLOTS")
    found = [owner[1] for first, last, owner, *_ in ranges if first <= slot <= last]
    return found[0] if found else None


def _is_whole(node: RedisServer) -> bool:
    with node.client() as client:
        info: Any = client.execute_command("CLUSTER", "INFO")
        ranges: Any = client.execute_command("CLUSTER", "SLOTS")
    return b"cluster_state:ok" in info and len(ranges) == 3


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
