"""How far Redis is from the database: rows without a job, jobs without a row, and doubles."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from django_jobqueue import clock
from django_jobqueue.connection import store
from django_jobqueue.reconciliation.drafts import Faults, draft_all
from django_jobqueue.reconciliation.exact import Standing, standing
from django_jobqueue.reconciliation.forecast import cooling_of, digests
from django_jobqueue.reconciliation.plan import Plan
from django_jobqueue.reconciliation.rows import moment, ordered, pages

#: Primary keys that one query asks for again, and that are shown at most.
ASKED = 500
SHOWN = 10


@dataclass(frozen=True, slots=True)
class Drift:
    """
    The rows of a reconciler against the jobs in Redis.

    ``expected`` rows should have a job, ``standing`` jobs are there. ``missing``
    rows have none; ``cooling`` ones neither, and shall not, for theirs died.
    ``duplicated`` jobs are there besides one for the same work. ``surplus`` jobs
    wait for a row that needs none (any more): they will find nothing to do. Where
    not all rows were looked at, it is not ``complete``, and no surplus is counted.
    """

    name: str
    expected: int
    standing: int
    missing: int
    surplus: int
    duplicated: int
    cooling: int
    errors: int
    #: The primary keys of some rows that miss their job.
    sample: tuple[str, ...] = ()
    complete: bool = True

    @property
    def is_zero(self) -> bool:
        """Whether every row has just one job. A surplus does not count: rows end at any time."""
        return not self.missing and not self.duplicated

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return {**asdict(self), "is_zero": self.is_zero}


def drift(plan: Plan, *, limit: int | None = None) -> Drift:
    """
    Compare the rows of a reconciler, or the first ``limit``, with what stands in Redis.

    What seems to be missing, or too much, is looked at once more at the end: a
    row may have been finished, or a job pushed, between the two looks.

    Raises what the user's code, Redis and the database raise; TooManyErrors.
    """
    before = standing(store(), plan.job)
    faults = Faults(plan)
    known: set[str] = set()
    missing: dict[str, Any] = {}
    expected = 0
    for digest, key, is_young in _rows(plan, faults, limit):
        known.add(digest)
        if not is_young:
            expected += 1
            if digest not in before:
                missing[digest] = key
    complete = limit is None or faults.tried < limit
    # Of a row that was not looked at nobody knows whether it needs its job.
    surplus = before.jids.keys() - known - before.claimed if complete else set()
    if missing or surplus:
        after = standing(store(), plan.job)
        surplus = {digest for digest in surplus if digest in after} - after.claimed
        missing = _still_missing(plan, missing, after)
    cooling = cooling_of(missing)
    keys = [key for digest, key in missing.items() if digest not in cooling]
    return Drift(
        name=plan.name,
        expected=expected,
        standing=len(before.jids) + before.duplicated,
        missing=len(keys),
        surplus=len(surplus),
        duplicated=before.duplicated,
        cooling=len(cooling),
        errors=faults.count,
        sample=tuple(str(key) for key in keys[:SHOWN]),
        complete=complete,
    )


def _rows(plan: Plan, faults: Faults, limit: int | None) -> Iterator[tuple[str, Any, bool]]:
    """Yield digest and key of every row, and whether it is too young to need a job."""
    young_from = clock.now() - plan.grace
    for page in pages(replace(plan, grace=0.0), limit=limit):
        young = set()
        if plan.grace and plan.age_field:
            times = {row.pk: moment(getattr(row, plan.age_field)) for row in page.rows}
            young = {key for key, at in times.items() if at is not None and at > young_from}
        for digest, key in digests(draft_all(plan, page.rows, faults)).items():
            yield digest, key, key in young


def _still_missing(plan: Plan, missing: Mapping[str, Any], after: Standing) -> dict[str, Any]:
    """Return what is missing in a later look too, of the rows that need a job still."""
    left = {digest: key for digest, key in missing.items() if digest not in after}
    keys = list(left.values())
    needed: set[Any] = set()
    for at in range(0, len(keys), ASKED):
        rows = ordered(plan).filter(pk__in=keys[at : at + ASKED])
        needed.update(row.pk for row in rows)
    return {digest: key for digest, key in left.items() if key in needed}
