"""Lose all of Redis on purpose, and measure how long it takes until everything is back."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from django_jobqueue import clock
from django_jobqueue.exceptions import DrillRefused, InvalidPayload
from django_jobqueue.payload import Payload
from django_jobqueue.reconciliation.drift import Drift, drift
from django_jobqueue.reconciliation.exact import free
from django_jobqueue.reconciliation.plan import Plan
from django_jobqueue.store.store import Store

#: Seconds between two looks, and how much longer they grow with what a look takes.
INTERVAL = 0.5
SHARE = 2.0


@dataclass(frozen=True, slots=True)
class DrillReport:
    """``erased`` keys, ``seconds`` until the drift was 0 (None: not in time), and the last look."""

    erased: int
    seconds: float | None
    drifts: tuple[Drift, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return {**asdict(self), "drifts": [each.as_dict() for each in self.drifts]}


def inspect(store: Store) -> int:
    """
    Return how many keys a drill would remove.

    Raises: DrillRefused where others may lose something, or nobody would heal it.
    """
    if not store.keys.prefix and (name := store.eraser.foreign()) is not None:
        raise DrillRefused(
            f"there is no KEY_PREFIX, and others use this database too: it has a key {name!r}",
            "give this project a JOBQUEUE['KEY_PREFIX'] or a database of its own",
        )
    if not store.claims.leases():
        raise DrillRefused(
            "no worker runs, so nobody would bring anything back",
            "start manage.py runjobs, and keep it running",
        )
    return len(store.eraser.ours())


def drill(
    store: Store,
    plans: Sequence[Plan],
    *,
    timeout: float,
    watch: Callable[[Sequence[Drift]], None] = lambda drifts: None,
) -> DrillReport:
    """
    Erase our keys, and wait until every row has its job again, at most ``timeout`` seconds.

    ``watch`` is told of every look. Work that no reconciler can make again is lost.
    """
    erased = store.eraser.erase()
    began = clock.monotonic()
    free_stale_locks(store)
    while True:
        looked = clock.monotonic()
        drifts = tuple(drift(plan) for plan in plans)
        now = clock.monotonic()
        watch(drifts)
        if all(each.is_zero for each in drifts):
            return DrillReport(erased, now - began, drifts)
        if now - began > timeout:
            return DrillReport(erased, None, drifts)
        time.sleep(INTERVAL + SHARE * (now - looked))


def free_stale_locks(store: Store) -> int:
    """
    End locks whose job was erased right after its push; return how many.

    In a flush a job and its lock go together. Here they are two keys among many,
    and a lock without its job would keep the row from healing.
    """
    locks = store.eraser.locks()
    if not locks:
        return 0
    jids = set(_jids(store))
    stale = {digest: jid for digest, jid in locks.items() if jid not in jids}
    free(store, stale)
    return len(stale)


def _jids(store: Store) -> Iterator[str]:
    for _, page in store.survey.jobs(""):
        for raw in page:
            # What is no job holds no lock.
            with contextlib.suppress(InvalidPayload):
                yield Payload.decode(raw).jid
