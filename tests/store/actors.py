"""Who acts in the state machine, and what a job is there."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from tests.store.model import Call

#: What JSON and UTF-8 would spoil: nobody on the way may look inside.
_OPAQUE = b'"args":[12345678901234567890,[],{},"\xff\x00"]'


def payload_of(job: int, version: int = 0) -> bytes:
    """Return the bytes of a job; ``version`` tells how often it was written anew."""
    return b'{"jid":%d,"v":%d,%b}' % (job, version, _OPAQUE)


def job_of(payload: bytes) -> int:
    """Return which job a payload is."""
    found = re.match(rb'\{"jid":(\d+),', payload)
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
