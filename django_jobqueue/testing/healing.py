"""What a project asserts of its jobs: that one may run twice, and that a reconciler heals."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from django.apps import apps
from django.db import router
from django.db.models import Model
from django.test import TestCase

from django_jobqueue.client.outlet import use_outlet
from django_jobqueue.conf import get_settings
from django_jobqueue.job.base import Job
from django_jobqueue.job.declaration import wire_name
from django_jobqueue.payload import Payload
from django_jobqueue.reconciliation import Reconciler
from django_jobqueue.reconciliation.plan import Plan
from django_jobqueue.reconciliation.rows import pages
from django_jobqueue.signals import job_died, job_retried
from django_jobqueue.store.claims import DISCARDED, DONE, SKIPPED
from django_jobqueue.testing.fake import FakeOutlet
from django_jobqueue.worker.executor import Executor
from django_jobqueue.worker.outcome import Outcome

#: Differences, or rows, that a failure names.
_SHOWN = 10

#: The app whose rows are no work of any job: our own books.
_OURS = "django_jobqueue"

#: Characters of a value in a failure.
_LONGEST = 200

#: Rows by their model's label and their key.
_Rows = dict[tuple[str, Any], dict[str, Any]]


def assert_idempotent(job: type[Job], *args: Any, state: Callable[[], Any] | None = None) -> None:
    """
    Assert that a job may run twice: the second run changes nothing.

    ::

        assert_idempotent(BackupJob, database.pk)

    The same job, with one jid, goes through the serializer and both chains of
    middleware, as when a worker dies between the work and its word. ``state``
    returns what has to stay the same, such as the mails that were sent; without
    it that is every row of every model. Jobs that the job enqueues are not run.

    Raises: AssertionError, with what the second run changed; what the job
    raises in its first run.
    """
    spelled = f"{job.__qualname__}({', '.join(map(_short, args))})"
    look = _all_rows if state is None else state
    with use_outlet(FakeOutlet()):
        raw = _made(job, args, spelled)
        first = _deliver(raw)
        if first.error is not None:
            raise first.error
        if first.verb != DONE:
            raise AssertionError(
                f"{spelled} was {first.verb} when it ran the first time, which shows nothing: "
                "give it something to do."
            )
        before = look()
        second = _deliver(raw)
        after = look()
    if second.error is not None:
        raise AssertionError(
            f"{spelled} failed when it ran a second time: {second.error!r}"
        ) from second.error
    if second.verb not in (DONE, SKIPPED, DISCARDED):
        raise AssertionError(f"{spelled} did not end when it ran a second time: {second.verb}.")
    if before != after:
        changes = [f"state() was {before!r} and is {after!r}"]
        if state is None:
            changes = list(_differences(before, after))
        raise AssertionError(
            f"{spelled} is not idempotent. Its second run changed:\n{_lines(changes)}"
        )


def assert_heals(reconciler: type[Reconciler]) -> None:
    """
    Assert that a reconciler brings back the jobs of its rows, and that these leave none to do.

    ::

        Database.objects.create(name="shop", state="pending")
        assert_heals(ScheduleBackups)

    It looks at the rows as after the loss of Redis, its jobs and those that they
    enqueue are run, and then ``get_queryset`` must return none of the rows any
    more. ``grace``, ``jitter`` and ``max_per_run`` are not waited for.

    Raises: AssertionError, which names the rows.
    """
    # Here, because the models can be imported only when the apps are loaded.
    from django_jobqueue.reconciliation.run import reconcile

    name = reconciler.__qualname__
    plan = replace(reconciler().plan(), grace=0.0, jitter=0.0, max_per_run=None)
    job = plan.job.__qualname__
    rows = _waiting(plan)
    if not rows:
        raise AssertionError(
            f"{name}.get_queryset() returns no row, which shows nothing: create one that needs "
            f"a {job}."
        )
    box = FakeOutlet()
    with use_outlet(box):
        with TestCase.captureOnCommitCallbacks(execute=True):
            report = reconcile(plan)
        pushed = box.args_of(plan.job)
        missing = [row for row, args in rows.items() if args not in pushed]
        if missing:
            raise AssertionError(
                f"{name} enqueued no {job} for these rows; its run ended as '{report.status}' "
                f"({report.errors} errors, {report.disabled} stopped by a kill switch, "
                f"{report.refused} by a middleware):\n{_lines(missing)}\n{report.error}".rstrip()
            )
        ran: set[str] = set()  # a job that snoozes is in the box again
        while waiting := {entry.payload.jid for entry in box.entries} - ran:
            ran |= waiting  # what jobs enqueue may come with a commit, after the others
            with _failures_of(plan.job, rows), TestCase.captureOnCommitCallbacks(execute=True):
                box.drain()
    left = _waiting(plan)
    stuck = [row for row in rows if row in left]
    if stuck:
        raise AssertionError(
            f"{name} does not heal: each {job} ran, and {name}.get_queryset() still returns "
            f"these rows:\n{_lines(stuck)}"
        )


# Running ---------------------------------------------------------------------------


def _made(job: type[Job], args: tuple[Any, ...], spelled: str) -> bytes:
    """Return the job as Redis would hold it."""
    box = FakeOutlet()
    with use_outlet(box):
        # At once: in a test case the commit never comes.
        result = job.set(on_commit=False).enqueue(*args)
        if not result:
            raise AssertionError(f"{spelled} was not enqueued: {result.reason}.")
    return box.jobs_of(job)[-1].raw


def _deliver(raw: bytes) -> Outcome:
    """Run a job as a worker would, with the callbacks of its commits."""
    payload = Payload.decode(raw)
    executor = Executor(get_settings(), stopping=lambda: False, inline=True)
    with TestCase.captureOnCommitCallbacks(execute=True):
        outcome, _ = executor.run_payload(payload, payload.queue)
    return outcome or Outcome(DONE)


@contextmanager
def _failures_of(job: type[Job], rows: Mapping[str, Any]) -> Iterator[None]:
    """Make an AssertionError of the failure of a job, which names its row."""
    failed: list[Payload] = []

    def note(*, payload: Payload, **_: Any) -> None:
        failed.append(payload)

    job_retried.connect(note)
    job_died.connect(note)
    try:
        yield
    except Exception as error:
        if not failed:
            raise
        payload = failed[-1]
        of = [row for row, args in rows.items() if args == payload.args]
        of_row = f" for {of[0]}" if of and payload.job_class == wire_name(job) else ""
        raise AssertionError(
            f"{payload.job_class}{tuple(payload.args)!r}{of_row} failed: {error!r}"
        ) from error
    finally:
        job_retried.disconnect(note)
        job_died.disconnect(note)


# Looking -----------------------------------------------------------------------------


def _waiting(plan: Plan) -> dict[str, list[Any] | None]:
    """Return the rows of a reconciler by a name for people, with the arguments of their jobs."""
    label = plan.queryset().model._meta.label
    return {f"{label} {row.pk}": _args_for(plan, row) for page in pages(plan) for row in page.rows}


def _args_for(plan: Plan, row: Any) -> list[Any] | None:
    try:
        return list(plan.args_for(row))
    except Exception:  # the run counts it as an error of the row, and tells it
        return None


def _all_rows() -> _Rows:
    """Return what stands in the tables of all models but our own."""
    return {
        (model._meta.label, values.pop("pk")): values
        for model in apps.get_models(include_auto_created=True)
        if _is_looked_at(model)
        for values in _values(model)
    }


def _is_looked_at(model: type[Model]) -> bool:
    meta = model._meta
    if meta.app_label == _OURS or not meta.managed or meta.proxy:
        return False
    return bool(router.allow_migrate_model(router.db_for_write(model), model))


def _values(model: type[Model]) -> Iterable[dict[str, Any]]:
    names = [field.attname for field in model._meta.concrete_fields]
    rows = model._base_manager.using(router.db_for_write(model))
    return rows.order_by().values("pk", *names)


def _differences(before: _Rows, after: _Rows) -> Iterator[str]:
    for key in after.keys() - before.keys():
        yield f"{_named(key)} is new: {_short(after[key])}"
    for key in before.keys() - after.keys():
        yield f"{_named(key)} is gone"
    for key in before.keys() & after.keys():
        for field, old in before[key].items():
            new = after[key][field]
            if old != new:
                yield f"{_named(key)}: {field} was {_short(old)} and is {_short(new)}"


def _named(key: tuple[str, Any]) -> str:
    label, pk = key
    return f"{label} {pk}"


def _short(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) <= _LONGEST else f"{shown[:_LONGEST]}..."


def _lines(facts: Iterable[str]) -> str:
    found = sorted(facts)
    lines = [f"  {fact}" for fact in found[:_SHOWN]]
    if len(found) > _SHOWN:
        lines.append(f"  and {len(found) - _SHOWN} more")
    return "\n".join(lines)
