"""Unique jobs as the client writes them, and what a worker does with one."""

from __future__ import annotations

import json
from collections.abc import Sequence

from django_jobqueue.store.claims import Claim, Move, Step
from django_jobqueue.store.locks import Lock, lock_in
from django_jobqueue.store.queues import Push
from django_jobqueue.store.store import Store

ME = "host:1:abc"
LEASE = 60.0

#: Seconds for which a lock outlives the next move of its job, unless a test says otherwise.
TTL = 600.0


def digest_of(row: int) -> str:
    """Return the digest of the job of a row."""
    return f"{row:032x}"


def jid_of(number: int) -> str:
    """Return the jid of a job."""
    return f"{number:024x}"


def unique_job(
    number: int,
    row: int = 0,
    *,
    queue: str = "q",
    at: float | None = None,
    ttl: float = TTL,
    rerun: bool = False,
    filling: str = "",
) -> Push:
    """Return a job that is unique for its row."""
    fields = {
        "class": "C",
        "args": [row, 12345678901234567890, [], {}, filling],
        "jid": jid_of(number),
        "queue": queue,
        "unique_for": ttl,
        "unique_digest": digest_of(row),
        "on_conflict": "rerun" if rerun else "drop",
    }
    raw = json.dumps(fields, separators=(",", ":")).encode()
    return Push(queue, raw, at, lock_in(raw))


def plain_job(number: int, queue: str = "q", at: float | None = None) -> Push:
    """Return a job that is not unique, and no JSON either."""
    return Push(queue, b"plain %d" % number, at)


def lock_of(job: Push) -> Lock:
    """Return the lock of a unique job."""
    assert job.lock is not None
    return job.lock


def claim(store: Store, count: int = 1, batch: str = "b", queue: str = "q") -> list[Claim]:
    """Claim jobs of a queue."""
    found = store.claims.step(ME, lease=LEASE, batch=batch, wanted=count, queues=[queue]).claimed
    assert len(found) == count
    return found


def end(
    store: Store,
    verb: str,
    claim: Claim,
    *,
    payload: bytes = b"",
    delay: float = 0.0,
    cooldown: float = 0.0,
) -> Step:
    """Deliver the result of a unique job."""
    return deliver(store, [move_of(verb, claim, payload=payload, delay=delay, cooldown=cooldown)])


def move_of(
    verb: str,
    claim: Claim,
    *,
    payload: bytes = b"",
    delay: float = 0.0,
    cooldown: float = 0.0,
) -> Move:
    """Return the move of a claim, with all that any verb needs."""
    return Move(
        verb,
        claim.field,
        payload or claim.raw,
        delay,
        claim.queue,
        claim.raw,
        job_class="C",
        lock=lock_in(claim.raw),
        cooldown=cooldown,
    )


def deliver(store: Store, moves: Sequence[Move]) -> Step:
    """Deliver results, and claim nothing."""
    return store.claims.step(ME, lease=LEASE, batch="last", wanted=0, queues=[], moves=moves)
