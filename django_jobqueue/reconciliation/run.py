"""One run of a reconciler: page after page of rows, each pushed before the next is read."""

from __future__ import annotations

import logging
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from django_jobqueue import clock, databases
from django_jobqueue.client.outlet import RedisOutlet, outlet
from django_jobqueue.client.results import Status
from django_jobqueue.connection import store
from django_jobqueue.exceptions import TooManyErrors
from django_jobqueue.job.declaration import wire_name
from django_jobqueue.reconciliation import books
from django_jobqueue.reconciliation.drafts import Draft, Faults, draft_all
from django_jobqueue.reconciliation.exact import Missing
from django_jobqueue.reconciliation.plan import Plan
from django_jobqueue.reconciliation.pushes import push_all
from django_jobqueue.reconciliation.report import RunReport, RunStatus
from django_jobqueue.reconciliation.rows import Page, dump_key, moment, pages
from django_jobqueue.switches.switches import switches

logger = logging.getLogger("django_jobqueue.reconciler")

#: Skips in a row after which one run looks at what is queued and adds only what is missing.
PATIENCE = 10


def _never() -> bool:
    return False


def reconcile(
    plan: Plan,
    *,
    jid: str = "",
    exact: bool = False,
    retry_dead: bool = False,
    halted: Callable[[], bool] = _never,
) -> RunReport:
    """
    Look at the rows of a reconciler, enqueue what is missing, and write down what happened.

    Between two pages ``halted`` is asked whether to stop. With ``exact`` jobs are
    pushed only for rows that have none anywhere in Redis, also where a lock says
    that there is one, and however late the queue is. With ``retry_dead`` rows are
    not left alone because their job has died a short while ago.

    Raises: what the user's code, Redis or the database raise, and TooManyErrors.
    The run is written down as failed then, and the next one goes on where it ended.
    """
    return Run(plan, jid=jid, exact=exact, retry_dead=retry_dead, halted=halted).perform()


class Run:
    """One run. Its counts grow with every page."""

    def __init__(
        self,
        plan: Plan,
        *,
        jid: str = "",
        exact: bool = False,
        retry_dead: bool = False,
        halted: Callable[[], bool] = _never,
    ) -> None:
        self._plan = plan
        self._jid = jid
        self._exact = exact
        self._retry_dead = retry_dead
        self._halted = halted
        # What is pushed elsewhere, as in tests, meets no queue and no worker.
        self._has_queue = isinstance(outlet(), RedisOutlet)
        self._missing: Missing | None = None
        self._started_at = clock.now()
        self._cursor = ""
        self._pages = 0
        self._found = 0
        self._answers: Counter[Status] = Counter()
        self._faults = Faults(plan)
        self._since: float | None = None

    def perform(self) -> RunReport:
        """Do it; see ``reconcile``."""
        try:
            if self._is_disabled():
                return self._end(RunStatus.DISABLED)
            state = books.begin(self._plan.name, self._started_at)
            self._cursor = state.cursor
            if not self._exact and self._is_late():
                if state.skips < PATIENCE:
                    return self._end(RunStatus.BACKPRESSURE, skips=state.skips + 1)
                self._exact = True
            return self._end(self._heal())
        except Exception as error:
            self._fail(error)
            raise

    def _heal(self) -> RunStatus:
        epoch = self._epoch()
        if self._exact and self._has_queue:
            self._missing = Missing(store(), self._plan.job)
        status = self._walk()
        if self._missing:
            self._push(self._missing.settle(self._answers))
        if self._epoch() != epoch:
            # What was pushed before may be gone: nothing is known of any row.
            self._cursor = ""
            return RunStatus.PARTIAL
        return status

    def _walk(self) -> RunStatus:
        limit = self._plan.max_per_run
        for page in pages(self._plan, self._cursor, limit=limit):
            self._take(page)
            if page.is_last:
                break
            books.advance(self._plan.name, self._cursor)
            if limit is not None and self._found >= limit:
                return RunStatus.LIMITED
            if self._halted() or self._is_disabled():
                return RunStatus.INTERRUPTED
        self._cursor = ""
        return RunStatus.DONE

    def _take(self, page: Page) -> None:
        self._pages += 1
        self._found += len(page.rows)
        self._note_age(page.rows)
        try:
            drafts = draft_all(self._plan, page.rows, self._faults)
            if self._missing:
                drafts = self._missing.among(drafts, self._answers)
            self._push(drafts)
            self._faults.judge()
        except TooManyErrors:
            # Behind the rows at fault: the next run must not end at the same ones.
            self._cursor = dump_key(self._faults.last)
            raise
        self._cursor = page.cursor

    def _push(self, drafts: Sequence[Draft]) -> None:
        push_all(
            drafts,
            self._answers,
            self._faults,
            jitter=self._plan.jitter,
            singly=not self._has_queue,
            healing=not self._retry_dead,
        )

    def _note_age(self, rows: Sequence[Any]) -> None:
        field = self._plan.age_field
        if field is None:
            return
        times = [at for row in rows if (at := getattr(row, field)) is not None]
        oldest = moment(min(times)) if times else None
        if oldest is not None:
            self._since = oldest if self._since is None else min(self._since, oldest)

    # What is asked -------------------------------------------------------------

    def _is_disabled(self) -> bool:
        return switches().is_on(wire_name(self._plan.job))

    def _is_late(self) -> bool:
        return self._has_queue and store().queues.latency(self._plan.queue) > self._plan.late

    def _epoch(self) -> str | None:
        return store().epoch.read() if self._has_queue else None

    # How it ends ---------------------------------------------------------------

    def _end(self, status: RunStatus, *, skips: int = 0, error: str = "") -> RunReport:
        report = self._report(status, error or str(self._faults))
        books.end(report, skips=skips)
        tell(report, self._plan.heal_within)
        return report

    def _fail(self, error: Exception) -> None:
        trace = "".join(traceback.format_exception(error))
        databases.mend()
        try:
            self._end(RunStatus.FAILED, error=trace)
        except Exception:  # the database is away: what was written before is what there is
            logger.exception("%s: the failed run cannot be written down", self._plan.name)

    def _report(self, status: RunStatus, error: str) -> RunReport:
        now, count = clock.now(), self._answers
        return RunReport(
            name=self._plan.name,
            status=status,
            started_at=self._started_at,
            finished_at=now,
            jid=self._jid,
            exact=self._exact,
            pages=self._pages,
            found=self._found,
            pushed=count[Status.PUSHED],
            duplicates=count[Status.DUPLICATE],
            cooling=count[Status.COOLING],
            disabled=count[Status.DISABLED],
            refused=count[Status.REFUSED],
            errors=self._faults.count,
            oldest=None if self._since is None else max(0.0, now - self._since),
            cursor=self._cursor,
            error=error,
        )


def tell(report: RunReport, heal_within: float | None) -> None:
    """Log one line of a run, and a warning where a row waits for longer than it may (seconds)."""
    level = logging.INFO if report.is_eventful else logging.DEBUG
    logger.log(
        logging.WARNING if report.errors else level,
        "%s: %s; %d found, %d pushed, %d on their way, %d cooling, %d with errors, in %.1f s",
        report.name, report.status, report.found, report.pushed, report.duplicates,
        report.cooling, report.errors, report.elapsed,
    )  # fmt: skip
    if heal_within is not None and report.oldest is not None and report.oldest > heal_within:
        logger.warning(
            "%s: the oldest row has waited for %.0f s, over the objective of %.0f s",
            report.name, report.oldest, heal_within,
        )  # fmt: skip
