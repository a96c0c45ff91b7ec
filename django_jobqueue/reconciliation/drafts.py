"""Rows turned into jobs that nobody has pushed yet. A row that cannot be is skipped and counted."""

from __future__ import annotations

import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django_jobqueue.client.arguments import check_arguments
from django_jobqueue.encryption import work_digest
from django_jobqueue.exceptions import InvalidOption, TooManyErrors
from django_jobqueue.job.bound import BoundJob
from django_jobqueue.payload import Payload
from django_jobqueue.reconciliation.plan import Plan

#: Rows that must not all fail: then it is not the rows that are at fault.
FIRST_ROWS = 100

#: Errors of rows that are told with their traceback, and characters of each.
SAMPLES = 3
SAMPLE_LIMIT = 3000


@dataclass(frozen=True, slots=True)
class Draft:
    """The job of the row with the primary key ``key``."""

    key: Any
    payload: Payload

    @property
    def digest(self) -> str:
        """What names the work: the digest of the job's lock, also where it takes none."""
        return mark(self.payload)


class Faults:
    """The rows of one run that had errors: how many, and the first few in full."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self.count = 0
        self.samples: list[str] = []
        #: How many rows were tried, and the key of the last.
        self.tried = 0
        self.last: Any = None

    def begin(self, key: Any) -> None:
        """Note that a row is tried."""
        self.tried += 1
        self.last = key

    def add(self, key: Any, error: Exception) -> None:
        """Note the error of one row. Raises: TooManyErrors when all of the first rows had one."""
        self.count += 1
        if len(self.samples) < SAMPLES:
            trace = "".join(traceback.format_exception(error))
            self.samples.append(f"pk={key!r}\n{trace[-SAMPLE_LIMIT:]}")
        if self.count == self.tried == FIRST_ROWS:
            raise self._too_many()

    def judge(self) -> None:
        """Raise TooManyErrors when there were more errors than the reconciler bears."""
        if self._plan.max_errors is not None and self.count > self._plan.max_errors:
            raise self._too_many()

    def _too_many(self) -> TooManyErrors:
        return TooManyErrors(self._plan.name, self.count, str(self))

    def __str__(self) -> str:
        return "\n".join(self.samples)


def draft_all(plan: Plan, rows: Sequence[Any], faults: Faults) -> list[Draft]:
    """Return the jobs of a page of rows, without those of rows that had errors."""
    options = {} if plan.queue == plan.job.queue else {"queue": plan.queue}
    make = BoundJob(plan.job, options).maker()
    drafts = []
    for row in rows:
        faults.begin(row.pk)
        try:
            args = plan.args_for(row)
            if not isinstance(args, (list, tuple)):
                raise InvalidOption(
                    "args_for()", args, "it returns a list or tuple, as in (row.pk,)"
                )
            payload, _ = make(args, None)
            check_arguments(payload.args)
        except Exception as error:  # whatever the user's code raises for this row
            faults.add(row.pk, error)
        else:
            drafts.append(Draft(row.pk, payload))
    return drafts


def mark(payload: Payload) -> str:
    """Return what names the work of a job: the digest of its lock, also where it takes none."""
    return payload.unique_digest or work_digest(payload)
