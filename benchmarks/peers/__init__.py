"""Other job systems under the same load: what they are, and how to have them work."""

from __future__ import annotations

from benchmarks.peers.peer import Peer, Unavailable
from benchmarks.peers.systems import (
    RQ,
    Brpop,
    Celery,
    Dramatiq,
    Huey,
    LateCelery,
    Sidekiq,
    SimpleRQ,
)

__all__ = ["PEERS", "Peer", "Unavailable"]

#: Every peer by its name.
PEERS: dict[str, Peer] = {
    peer.name: peer
    for peer in (
        Brpop(), Sidekiq(), Huey(), Dramatiq(), Celery(), LateCelery(), SimpleRQ(), RQ(),
    )
}  # fmt: skip
