"""Jobs as they lie in Redis: ours, a Ruby client's, and bytes that are none."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from django_jobqueue import Job, Payload
from django_jobqueue.connection import store
from django_jobqueue.job.declaration import wire_name
from django_jobqueue.store.locks import Lock, lock_of
from django_jobqueue.store.queues import Push
from django_jobqueue.store.removal import Place
from django_jobqueue.unique import digest
from tests.support.inside import Inside


class LookJob(Job):
    """Is looked at."""

    def perform(self, number: int) -> None:
        """Do nothing."""


class LookOnceJob(Job):
    """Is looked at, and unique."""

    unique_for = timedelta(minutes=10)

    def perform(self, number: int) -> None:
        """Do nothing."""


NAME, ONCE = wire_name(LookJob), wire_name(LookOnceJob)
FLAG = "disable_look_job"

#: As a Ruby client of Sidekiq 7 writes it: times are float seconds, and none of our fields.
RUBY: dict[str, Any] = {
    "retry": True, "queue": "mailers", "class": "Sidekiq::ActiveJob::Wrapper",
    "wrapped": "InvoiceMailer", "args": [{"job_class": "InvoiceMailer", "arguments": [7]}],
    "jid": "b4a577edbccf1d805744efa9", "created_at": 1700000000.25, "enqueued_at": 1700000001.5,
    "failed_at": 1700000002.75, "retry_count": 0, "error_class": "Net::ReadTimeout",
    "error_message": "execution expired", "cattr": {"tenant": "acme"}, "tags": ["mail", 7],
}  # fmt: skip

#: What no reader may stumble over.
ODD = [b"", b"\xff\x00", b"null", b"[]", b'"x"', b'{"class":1}', b"{", b"[" * 5000]


def jid_of(number: int) -> str:
    return f"{number:024x}"


def payload(number: int, **fields: Any) -> Payload:
    """Return a job; with ``once=True`` a unique one."""
    name = ONCE if fields.pop("once", False) else NAME
    unique = {"unique_for": 600, "unique_digest": digest(name, [number])} if name == ONCE else {}
    made = {"class": name, "args": [number], "jid": jid_of(number), "queue": "low"}
    return Payload({**made, **unique, **fields})


def put(inside: Inside, name: str, *jobs: Payload | bytes, first: float = 100.0) -> list[bytes]:
    """Put jobs into a set, a second apart, each with its lock; returns their bytes."""
    raws = [job if isinstance(job, bytes) else job.encode() for job in jobs]
    inside.client.zadd(inside.key(name), {raw: first + n for n, raw in enumerate(raws)})
    if name != "dead":
        lock(jobs)
    return raws


def enqueue(*jobs: Payload | bytes, queue: str = "low") -> list[bytes]:
    """Put jobs into a queue, the first to run first; returns their bytes."""
    raws = [job if isinstance(job, bytes) else job.encode() for job in jobs]
    pushes = [
        Push(queue, raw, lock=lock_of(job) if isinstance(job, Payload) else None)
        for raw, job in zip(raws, jobs, strict=True)
    ]
    for at in range(0, len(pushes), 500):
        store().queues.push_unique(pushes[at : at + 500])
    return raws


def lock(jobs: Iterable[Payload | bytes]) -> None:
    """Let unique jobs have their locks."""
    for job in jobs:
        if isinstance(job, Payload) and (own := lock_of(job)) is not None:
            take(own)


def take(own: Lock) -> None:
    """Take a lock as a push does, and leave nothing in the queue."""
    store().queues.push_unique([Push("aside", b"aside", lock=own)])
    store().removal.delete(Place.queue(store().keys, "aside"), [b"aside"])


def owner_of(job: Payload) -> str | None:
    """Return the jid that holds the lock of a unique job."""
    return store().locks.owners([str(job.unique_digest)]).get(str(job.unique_digest))


def throw(state: str | None, flag: str = FLAG) -> None:
    """Write the mirror of the switches as a process does that saves the flag."""
    mirror = store().switches
    mirror.replace(mirror.version(), {} if state is None else {flag: state})


def ruby(**fields: Any) -> bytes:
    """Return a Ruby client's job."""
    return json.dumps({**RUBY, **fields}, separators=(",", ":")).encode()
