"""The end of an experiment: faults are over, and what was accepted has time to be done."""

from __future__ import annotations

import time
from collections.abc import Collection

from tests.acceptance.site import LEASE, SOON
from tests.chaos.scene import Scene

#: Seconds for the last jobs: a lease that has to end, one that the judge has to be old, and more.
PATIENCE = 2 * LEASE + 2 * SOON

#: Seconds between two looks.
LOOK = 0.2


def drained(stage: Scene, accepted: Collection[str], patience: float = PATIENCE) -> bool:
    """
    Wait until every accepted job has finished and nothing waits or is claimed any more.

    Returns whether it came to that within ``patience`` seconds without any progress: what
    has not finished then, is lost.
    """
    deadline, before = time.monotonic() + patience, -1
    while time.monotonic() < deadline:
        stage.ledger.read()
        if not stage.ledger.missing(accepted) and _is_settled(stage):
            return True
        if stage.ledger.finishes.total() != before:
            before = stage.ledger.finishes.total()
            deadline = time.monotonic() + patience
        time.sleep(LOOK)
    return False


def _is_settled(stage: Scene) -> bool:
    site = stage.site
    waiting = site.store.queues.sizes(site.store.queues.names())
    later = [site.redis.zcard(name) for name in (site.keys.schedule, site.keys.retry)]
    return not (any(waiting.values()) or any(later) or site.held() or stage.killer.outstanding())
