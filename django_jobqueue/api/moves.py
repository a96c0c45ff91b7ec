"""
Let jobs go on from where they wait, because somebody says so.

The kill switches and the client middleware are asked, as for every way into a
queue. What they refuse stays where it is.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from django_jobqueue.client.client import client_chain
from django_jobqueue.client.middleware import Push
from django_jobqueue.client.results import EnqueueResult, Status
from django_jobqueue.conf import get_settings
from django_jobqueue.exceptions import (
    InvalidPayload,
    JobKilled,
    JobQueueError,
    StoreRefused,
    UnknownJob,
)
from django_jobqueue.job.disabled import policy_of
from django_jobqueue.job.registry import registry
from django_jobqueue.payload import Payload, stamp, unwrap_invalid, wrap_invalid
from django_jobqueue.reconciliation.pairs import cooldown_of
from django_jobqueue.retry import bury
from django_jobqueue.scheduling.releaser import release_of
from django_jobqueue.signals import job_died, job_enqueued, job_refused, tell
from django_jobqueue.signing import carried
from django_jobqueue.store.locks import Lock, lock_of
from django_jobqueue.store.sets import PUSH, Promotion, Revival
from django_jobqueue.store.store import Store
from django_jobqueue.switches.switches import switches

#: Where bytes go that are no job: a worker buries them, with their error.
DEFAULT_QUEUE = "default"

#: Why a job did not go on, for people.
REASONS = {
    Status.GONE: "it is not there any more: somebody else has moved it",
    Status.DISABLED: "the kill switch of the job is on",
    Status.REFUSED: "a client middleware refused the job",
    Status.DUPLICATE: "a newer job with the same arguments is on its way",
}


def answer(status: Status, jid: str, owner: str | None = None) -> EnqueueResult:
    """Return what a caller is told of one job."""
    if status is Status.PUSHED:
        return EnqueueResult(status, jid)
    return EnqueueResult(status, None, owner, REASONS[status])


@dataclass(slots=True)
class Batch:
    """
    What became of a page: how many went on, how many were gone, and why others stayed.

    ``faults`` are what middleware raised and what Redis refused, by the entry.
    """

    moved: int = 0
    gone: int = 0
    stayed: list[EnqueueResult] = field(default_factory=list)
    faults: dict[bytes, JobQueueError | Exception] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Way:
    """How one entry goes on: what is written, where, with which lock; ``payload`` if it is one."""

    old: bytes
    new: bytes
    queue: str
    lock: Lock | None = None
    payload: Payload | None = None


# From the dead set ---------------------------------------------------------------


def revive(store: Store, entries: Sequence[bytes]) -> Batch:
    """Let dead jobs run once more. It is an enqueue, with all that belongs to one."""
    chain, batch = client_chain(), Batch()
    refused: list[Payload] = []
    ways = _decide(entries, batch, lambda raw: _way_of_dead(raw, chain, refused))
    if refused:
        _tell_refused(refused)
    if not ways:
        return batch
    done = store.sets.revive([Revival(way.old, way.new, way.queue, way.lock) for way in ways])
    for index, way in enumerate(ways):
        if index in done.gone:
            batch.gone += 1
        elif index in done.owners:
            batch.stayed.append(answer(Status.DUPLICATE, "", done.owners[index]))
        elif index in done.refused:
            batch.faults[way.old] = StoreRefused(done.refused[index])
        else:
            batch.moved += 1
            if way.payload is not None:
                tell(job_enqueued, None, payload=way.payload, at=None)
    return batch


def _way_of_dead(raw: bytes, chain: Push, refused: list[Payload]) -> _Way | EnqueueResult:
    payload = _decoded(raw)
    if payload is None:
        return _Way(raw, raw, DEFAULT_QUEUE)
    kept = unwrap_invalid(payload)
    if kept is not None:
        # As they came: what middleware would say of them nobody can ask.
        inner = _decoded(kept)
        if inner is not None and switches().refuses(inner):
            refused.append(inner)
            return answer(Status.DISABLED, inner.jid)
        return _Way(raw, kept, payload.queue, None if inner is None else lock_of(inner))
    payload = _once_more(payload)
    if switches().refuses(payload):
        refused.append(payload)
        return answer(Status.DISABLED, payload.jid)
    accepted = chain(payload)
    if accepted is None:
        refused.append(payload)
        return answer(Status.REFUSED, payload.jid)
    new = _enqueued(carried(payload, accepted))
    return _Way(raw, new.encode(), new.queue, lock_of(new), new)


def _tell_refused(refused: Sequence[Payload]) -> None:
    for payload in refused:
        tell(job_refused, None, payload=payload)
    counts = Counter(p.job_class for p in refused if switches().refuses(p))
    if counts:
        switches().count_refused(counts)


# From the schedule and the retry set ------------------------------------------------


def promote(store: Store, name: str, entries: Sequence[bytes], *, spares_attempt: bool) -> Batch:
    """
    Let jobs run now that wait for a time, as if it had come.

    With ``spares_attempt`` this run is none of those that the job's ``retry`` counts.
    """
    chain, batch = client_chain(), Batch()
    ways = _decide(entries, batch, lambda raw: _way_of_waiting(raw, chain, spares_attempt))
    promotions = [Promotion(PUSH, w.old, w.new, queue=w.queue, lock=w.lock) for w in ways]
    if promotions:
        _settle(batch, promotions, *store.sets.promote(name, promotions))
    return batch


def _way_of_waiting(raw: bytes, chain: Push, spares_attempt: bool) -> _Way | EnqueueResult:
    payload = _decoded(raw)
    if payload is None:
        return _Way(raw, raw, DEFAULT_QUEUE)
    lock = lock_of(payload)
    disabled = switches().refuses(payload)
    if disabled and policy_of(payload) != "run":
        return answer(Status.DISABLED, payload.jid)
    with switches().allowing() if disabled else contextlib.nullcontext():
        accepted = chain(_once_more(payload) if spares_attempt else payload)
    if accepted is None:
        return answer(Status.REFUSED, payload.jid)
    new = _enqueued(carried(payload, accepted))
    return _Way(raw, new.encode(), new.queue, lock, new)


# Held jobs -------------------------------------------------------------------------


def release(store: Store, job_class: str, entries: Sequence[bytes]) -> Batch:
    """Let held jobs go to their queues at once, those that no switch stops."""
    batch = Batch()
    promotions = []
    switches().refresh(force=True)
    with switches().pinned():
        for raw in entries:
            promotion = release_of(raw)
            if promotion is None:
                batch.stayed.append(answer(Status.DISABLED, ""))
            else:
                promotions.append(promotion)
    if promotions:
        _settle(batch, promotions, *store.sets.release(job_class, promotions))
    return batch


# To the dead set -------------------------------------------------------------------


def buried(raw: bytes, place: str, queue: str) -> tuple[bytes, float]:
    """
    Return what is written of a job that is killed by hand, and the cool-down of its row (s).

    An error that it has stays; one that never failed gets ``JobKilled``. Bytes that
    are no job are kept as a worker keeps them.
    """
    unit = get_settings().timestamps
    try:
        payload = Payload.decode(raw).replace(held_at=None, held_from=None)
        if "error_class" not in payload.fields:
            payload = bury(payload, JobKilled(place), unit=unit).payload
        return payload.encode(), cooldown_of(payload.job_class)
    except (InvalidPayload, ValueError, RecursionError) as error:
        return bury(wrap_invalid(raw, queue), error, unit=unit).payload.encode(), 0.0


def tell_killed(raw: bytes, place: str) -> None:
    """Tell who listens that a job was killed, after it was."""
    payload = _decoded(raw)
    if payload is None:
        return
    try:
        cls = registry().get(payload.job_class)
    except UnknownJob:
        cls = None
    tell(job_died, cls, payload=payload, error=JobKilled(place))


# -----------------------------------------------------------------------------------


def _decide(
    entries: Sequence[bytes], batch: Batch, way_of: Callable[[bytes], _Way | EnqueueResult]
) -> list[_Way]:
    """Ask of each entry how it goes on; what stays is noted in the batch."""
    ways = []
    # One that was thrown a moment ago stops the rest of many.
    switches().refresh(force=True)
    with switches().pinned():  # asked twice, here and by the chain: the same answer
        for raw in entries:
            try:
                found = way_of(raw)
            except Exception as error:
                batch.faults[raw] = error  # a middleware's; the others go on
                continue
            if isinstance(found, EnqueueResult):
                batch.stayed.append(found)
            else:
                ways.append(found)
    return ways


def _settle(
    batch: Batch, promotions: Sequence[Promotion], moved: int, refused: dict[int, str]
) -> None:
    batch.moved += moved
    batch.gone += len(promotions) - moved - len(refused)
    for index, why in refused.items():
        batch.faults[promotions[index].old] = StoreRefused(why)


def _once_more(payload: Payload) -> Payload:
    """Return a job that is run by hand: that run is none of those that its ``retry`` counts."""
    # Where its class is not known yet, it is waited for anew.
    payload = payload.replace(unknown_since=None)
    count = payload.retry_count
    # With -1 the next failure is the first again, as Sidekiq counts.
    return payload if count is None else payload.replace(retry_count=count - 1)


def _enqueued(payload: Payload) -> Payload:
    return payload.replace(enqueued_at=stamp(unit=get_settings().timestamps))


def _decoded(raw: bytes) -> Payload | None:
    try:
        return Payload.decode(raw)
    except InvalidPayload:
        return None
