"""Key prefixes that no other test has, and in a cluster all with slots of one node."""

from __future__ import annotations

import os
import secrets

from redis.crc import key_slot

#: Says what the suite runs on: nothing, or ``cluster`` for three nodes of a cluster.
TOPOLOGY_VARIABLE = "JOBQUEUE_TEST_TOPOLOGY"

#: The slots of the node that has the keys of all tests: the last third.
SLOTS = range(10923, 16384)


def is_cluster() -> bool:
    """Tell whether the tests run on a cluster."""
    topology = os.environ.get(TOPOLOGY_VARIABLE, "")
    if topology not in ("", "cluster"):
        raise AssertionError(
            f"{TOPOLOGY_VARIABLE} is {topology!r}: set it to 'cluster' or leave it."
        )
    return topology == "cluster"


def new_prefix(letter: str = "t") -> str:
    """Return a prefix that nobody else has; the letter says whose kind it is."""
    while True:
        # Not from ``random``: pytest-randomly gives every test the same seed.
        token = f"{letter}{secrets.token_hex(4)}"
        if not is_cluster():
            return f"{token}:"
        if key_slot(token.encode()) in SLOTS:
            return f"{{{token}}}:"
