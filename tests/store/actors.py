"""Who acts in the state machine, and what a job is there."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from django_jobqueue.store.locks import lock_in
from tests.store.model import Call

#: What JSON and UTF-8 would spoil: nobody on the way may look inside.
_OPAQUE = b'"args":[12345678901234567890,[],{},"\xff\x00"]'

#: The same of a unique job, which is JSON: who removes it has to find its lock.
_JSON = b'"class":"C","args":[12345678901234567890,[],{}]'

#: The digests that all unique jobs share: those of which a duplicate is dropped, those of which
#: it is run afterwards, those that are unique until they start.
ONCE, AGAIN, START = "1" * 32, "a" * 32, "5" * 32

#: Seconds for which their locks last: longer than any example, and told from one another.
TTLS = {ONCE: 100_000, AGAIN: 200_000, START: 300_000}

#: What is written of them besides.
_OPTIONS = {ONCE: b"", AGAIN: b',"on_conflict":"rerun"', START: b',"unique_until":"start"'}


def payload_of(job: int, version: int = 0, digest: str = "") -> bytes:
    """
    Return the bytes of a job; ``version`` tells how often it was written anew.

    With a ``digest`` it is unique.
    """
    if not digest:
        return b'{"jid":%d,"v":%d,%b}' % (job, version, _OPAQUE)
    # The digest of a row has no options.
    unique = b'"unique_digest":"%b","unique_for":%d%b' % (
        digest.encode(), TTLS.get(digest, TTLS[ONCE]), _OPTIONS.get(digest, b"")
    )  # fmt: skip
    return b'{"jid":"%024d","v":%d,%b,%b}' % (job, version, _JSON, unique)


def rewritten(payload: bytes, version: int) -> bytes:
    """Return a version of the same job."""
    lock = lock_in(payload)
    return payload_of(job_of(payload), version, lock.digest if lock else "")


def job_of(payload: bytes) -> int:
    """Return which job a payload is."""
    found = re.match(rb'\{"jid":"?(\d+)"?,', payload)
    assert found, f"a payload was changed on the way: {payload!r}"
    return int(found[1])


@dataclass(slots=True)
class Held:
    """What a worker knows of a claim."""

    raw: bytes
    started: bool = False


@dataclass(slots=True)
class Worker:
    """
    The memory of a process.

    ``unresolved`` is a step whose reply was lost: it is sent again before any
    other, or given up. ``last`` is the last step whose reply came, while a second copy of it
    may still be on the wire.
    """

    identity: str
    held: dict[str, Held] = field(default_factory=dict)
    unresolved: Call | None = None
    last: Call | None = None
    batches: int = 0


@dataclass(slots=True)
class Account:
    """What is known of one job, whatever stands in Redis."""

    version: int = 0
    finished: bool = False
    starts: int = 0
    #: Starts that the promises allow: one, and one more for each retry, snooze, recovery and stop.
    allowed: int = 1
