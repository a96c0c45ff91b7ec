"""What a run would do now, found out without pushing anything: the dry run."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from django_jobqueue import clock
from django_jobqueue.client.client import named
from django_jobqueue.connection import store
from django_jobqueue.job.declaration import wire_name
from django_jobqueue.reconciliation.drafts import Draft, Faults, draft_all
from django_jobqueue.reconciliation.exact import standing
from django_jobqueue.reconciliation.plan import Plan
from django_jobqueue.reconciliation.report import RunStatus
from django_jobqueue.reconciliation.rows import pages
from django_jobqueue.switches.switches import switches
from django_jobqueue.timetable import Timetable


@dataclass(frozen=True, slots=True)
class Forecast:
    """
    What a run would find and do.

    Of the rows ``found``, some have a job ``queued`` already, some are
    ``cooling`` after theirs died, some have ``errors``, and the rest is
    ``missing``. ``blocked`` is the status of a run that would end before it
    looks, else empty. ``heals_in`` estimates the seconds until every missing job
    is in its queue or schedule; None where no timetable brings that about.
    ``complete`` is whether all rows were looked at.
    """

    name: str
    found: int
    queued: int
    cooling: int
    errors: int
    missing: int
    blocked: str
    heals_in: float | None
    error: str = ""
    complete: bool = True

    @property
    def would_enqueue(self) -> int:
        """How many jobs a run would push now."""
        return 0 if self.blocked else self.missing

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return {**asdict(self), "would_enqueue": self.would_enqueue}


def forecast(
    plan: Plan,
    timetable: Timetable | None = None,
    *,
    exact: bool = False,
    limit: int | None = None,
) -> Forecast:
    """
    Look at all rows, or the first ``limit``, and at Redis, and return what a run would do.

    Whether a row has a job is told by its lock; with ``exact``, and for a job
    that is not unique, by what stands in Redis. Raises what the user's code,
    Redis and the database raise; TooManyErrors.
    """
    began = clock.now()
    blocked = "" if exact else _blocked(plan)
    is_unique = plan.job.unique_for is not None
    there = standing(store(), plan.job).jids if exact or not is_unique else None
    faults = Faults(plan)
    found = queued = cooling = 0
    for page in pages(plan, limit=limit):
        found += len(page.rows)
        drafts = digests(draft_all(plan, page.rows, faults))
        have = there if there is not None else store().locks.owners(drafts)
        rest = [digest for digest in drafts if digest not in have]
        queued += len(page.rows) - len(rest)
        cooling += len(cooling_of(rest))
    queued -= faults.count
    missing = found - queued - cooling - faults.count
    heals_in = _heals_in(plan, timetable, found, clock.now() - began) if missing else 0.0
    complete = limit is None or found < limit
    return Forecast(
        plan.name, found, queued, cooling, faults.count, missing, blocked, heals_in, str(faults),
        complete,
    )  # fmt: skip


def digests(drafts: Iterable[Draft]) -> dict[str, Any]:
    """Return the keys of the rows by what names the work of their jobs."""
    found = {}
    for draft in drafts:
        payload = draft.payload if draft.payload.unique_for is None else named(draft.payload)
        found[Draft(draft.key, payload).digest] = draft.key
    return found


def cooling_of(missing: Iterable[str]) -> set[str]:
    """Return those of some digests whose row is left alone, because its job has died."""
    now = clock.now()
    stones = store().locks.tombstones(missing)
    return {digest for digest, stone in stones.items() if stone.until > now}


def _blocked(plan: Plan) -> str:
    if switches().is_on(wire_name(plan.job)):
        return RunStatus.DISABLED
    if store().queues.latency(plan.queue) > plan.late:
        return RunStatus.BACKPRESSURE
    return ""


def _heals_in(plan: Plan, timetable: Timetable | None, found: int, elapsed: float) -> float | None:
    """Estimate by the next tick, the time that this look took, and the window of the jitter."""
    slot = None if timetable is None else timetable.next(clock.now())
    if timetable is None or slot is None:
        return None
    runs = 1 if plan.max_per_run is None else math.ceil(found / plan.max_per_run)
    waits = max(0.0, slot - clock.now()) + (runs - 1) * timetable.period
    return waits + elapsed + plan.jitter
