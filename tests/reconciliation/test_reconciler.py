"""A reconciler is a job like any other, and what its options become."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from django_jobqueue import Payload, Snooze
from django_jobqueue.conf import get_settings
from django_jobqueue.job.attempt import Attempt
from django_jobqueue.job.declaration import wire_name
from django_jobqueue.reconciliation.reconciler import Reconciler
from django_jobqueue.reconciliation.report import RunReport, RunStatus
from django_jobqueue.switches.state import ON
from django_jobqueue.switches.switches import switches
from django_jobqueue.worker.executor import Executor
from tests.healing.jobs import OrderJob, ScheduleOrders, variant
from tests.healing.models import Order, Parcel
from tests.support.inside import Inside
from tests.support.processes import ROOT

pytestmark = pytest.mark.usefixtures("queue")

NAME = "tests.healing.jobs.ScheduleOrders"


def attempt(stopping: Callable[[], bool] = lambda: False, **fields: Any) -> Attempt:
    given = {"class": NAME, "args": [], "jid": "5" * 24, "queue": "reconcilers", **fields}
    return Attempt(Payload(given), "reconcilers", 0.0, stopping)


def started(reconciler: Reconciler, **options: Any) -> Reconciler:
    reconciler._attempt = attempt(**options)
    return reconciler


def test_it_is_enqueued_once_and_runs_as_a_job(inside: Inside) -> None:
    bound = ScheduleOrders.set(on_commit=False)
    jid = bound.perform_async()
    assert bound.perform_async() is None
    (job,) = inside.jobs("reconcilers")
    assert (job["jid"], job["class"], job["retry"], job["dead"]) == (jid, NAME, 0, False)
    Order.objects.create(pk=1)
    executor = Executor(get_settings(), stopping=lambda: False)
    outcome = executor.run(inside.raw("reconcilers")[0], "reconcilers")
    assert outcome is None or outcome.error is None
    assert inside.args("orders") == [[1]]


def test_a_failed_run_is_a_failed_job_and_does_not_fill_the_dead_set(inside: Inside) -> None:
    ScheduleOrders.set(on_commit=False).perform_async()
    raw = inside.raw("reconcilers")[0]
    executor = Executor(get_settings(), stopping=lambda: False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ScheduleOrders, "get_queryset", lambda self: 1 / 0)
        outcome = executor.run(raw, "reconcilers")
    assert outcome is not None
    assert outcome.verb == "forget"
    assert isinstance(outcome.error, ZeroDivisionError)


def test_one_that_the_worker_stops_asks_another_to_go_on(inside: Inside) -> None:
    Order.objects.bulk_create([Order(pk=key) for key in (1, 2, 3)])
    with pytest.raises(Snooze) as told:
        started(variant(batch_size=2), stopping=lambda: True).perform()
    assert told.value.delay == 0
    assert inside.args("orders") == [[1], [2]]
    report = started(variant(batch_size=2)).perform()
    assert report.status == RunStatus.DONE
    assert inside.args("orders") == [[1], [2], [3]]


def test_one_that_has_ended_when_the_worker_stops_has_ended() -> None:
    Order.objects.create()
    assert started(variant(), stopping=lambda: True).perform().status == RunStatus.DONE


def test_its_own_switch_ends_it_between_two_pages_unless_it_was_told_to_pass() -> None:
    Order.objects.bulk_create([Order() for _ in range(3)])
    with switches().overridden({"disable_schedule_orders": ON}):
        assert started(variant(batch_size=2)).perform().status == RunStatus.INTERRUPTED
        passing = started(variant(batch_size=2), bypass_kill_switch=True)
        assert passing.perform().status == RunStatus.DONE


def test_a_partial_run_in_line_asks_for_no_other(
    inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    from django_jobqueue.reconciliation import run

    def partial(*args: Any, **kwargs: Any) -> RunReport:
        return RunReport(NAME, RunStatus.PARTIAL, 0.0, 1.0)

    monkeypatch.setattr(run, "reconcile", partial)
    ScheduleOrders.perform_inline()
    assert inside.jobs("reconcilers") == []


def test_the_job_says_which_arguments_a_row_has() -> None:
    class CustomerJob(OrderJob):
        """Has arguments of its own."""

        abstract = True

        @classmethod
        def args_for(cls, obj: Any) -> tuple[Any, ...]:
            return (obj.customer,)

    assert variant(job=CustomerJob).args_for(Order(customer=7)) == (7,)
    parcel = Parcel()
    assert variant().args_for(parcel) == (str(parcel.pk),)


def test_without_a_queryset_it_says_so() -> None:
    with pytest.raises(NotImplementedError, match="has no get_queryset"):
        variant(Reconciler, job=OrderJob).get_queryset()


def test_the_class_itself_is_never_run() -> None:
    from django_jobqueue.job.registry import registry

    assert Reconciler not in registry().classes()
    assert ScheduleOrders in registry().classes()
    assert wire_name(ScheduleOrders) == NAME


def test_it_can_be_imported_before_the_apps_are_loaded() -> None:
    script = (
        "from django.conf import settings; settings.configure();"
        "from django_jobqueue.reconciliation import Reconciler; import sys;"
        "assert 'django_jobqueue.models' not in sys.modules;"
        "assert 'waffle' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True)
