"""The dry run tells what a run would do, and does nothing."""

from __future__ import annotations

from typing import Any

import pytest

from django_jobqueue.connection import store
from django_jobqueue.exceptions import TooManyErrors
from django_jobqueue.models import ReconcilerRun, ReconcilerState
from django_jobqueue.reconciliation.forecast import Forecast, forecast
from django_jobqueue.reconciliation.run import reconcile
from django_jobqueue.switches.state import ON
from django_jobqueue.switches.switches import switches
from django_jobqueue.timetable import Timetable
from tests.healing.jobs import OrderJob, ScheduleOrders, variant
from tests.healing.models import Order
from tests.support.clocks import freeze, shift
from tests.support.inside import Inside

pytestmark = pytest.mark.usefixtures("queue")


class PlainJob(OrderJob):
    """Not unique."""

    unique_for = None
    self_healing = False


class KeyedJob(OrderJob):
    """Unique by something else than its arguments."""

    unique_key = staticmethod(lambda order_id: f"order {order_id}")
    self_healing = False


def make_orders(*keys: int) -> None:
    Order.objects.bulk_create([Order(pk=key) for key in keys])


def look(*, exact: bool = False, timetable: Timetable | None = None, **options: Any) -> Forecast:
    return forecast(variant(**options).plan(), timetable, exact=exact)


def cool(inside: Inside, number: int, *, seconds: int) -> None:
    (digest,) = [job["unique_digest"] for job in inside.jobs("orders") if job["args"] == [number]]
    inside.client.delete(store().keys.unique(digest))
    until = (int(inside.client.time()[0]) + seconds) * 1000
    inside.client.hset(store().keys.tombstone(digest), mapping={"deaths": 1, "until": until})


def test_rows_are_told_apart_and_nothing_is_pushed_or_written_down(inside: Inside) -> None:
    make_orders(1, 2, 3, 4, 5)
    OrderJob.set(on_commit=False).perform_bulk([(1,), (2,), (3,)])
    cool(inside, 2, seconds=60)
    cool(inside, 3, seconds=-60)

    def args_for(self: Any, row: Any) -> Any:
        if row.pk == 5:
            raise ValueError("broken")
        return (row.pk,)

    before = inside.raw("orders")
    seen = look(args_for=args_for, batch_size=2)
    assert (seen.found, seen.queued, seen.cooling, seen.errors) == (5, 1, 1, 1)
    assert seen.missing == seen.would_enqueue == 2
    assert "ValueError: broken" in seen.error
    assert inside.raw("orders") == before
    assert not ReconcilerState.objects.exists()
    assert not ReconcilerRun.objects.exists()
    # It told the truth.
    report = reconcile(variant(args_for=args_for).plan())
    assert (report.pushed, report.duplicates, report.cooling, report.errors) == (2, 1, 1, 1)


@pytest.mark.parametrize("job", [OrderJob, PlainJob, KeyedJob])
def test_what_stands_in_redis_is_queued_already(job: type[OrderJob]) -> None:
    make_orders(1, 2)
    job.set(on_commit=False).perform_async(1)
    assert look(job=job).queued == 1
    assert look(job=job, exact=True).queued == 1


def test_a_lock_without_a_job_is_believed_unless_it_is_looked_at_exactly(inside: Inside) -> None:
    make_orders(1)
    OrderJob.set(on_commit=False).perform_async(1)
    inside.client.delete(inside.key("queue:orders"))
    assert look().would_enqueue == 0
    assert look(exact=True).would_enqueue == 1


def test_a_run_that_would_be_skipped_would_enqueue_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = shift(monkeypatch)
    make_orders(1, 2)
    with switches().overridden({"disable_order_job": ON}):
        seen = look()
        assert (seen.missing, seen.would_enqueue, seen.blocked) == (2, 0, "skipped_disabled")
    OrderJob.set(on_commit=False).perform_async(1)
    clock.advance(61)
    seen = look()
    assert (seen.missing, seen.would_enqueue, seen.blocked) == (1, 0, "skipped_backpressure")
    assert look(exact=True).would_enqueue == 1


def test_the_time_to_heal_is_that_to_the_next_tick_and_the_jitter(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = freeze(monkeypatch)
    timetable = Timetable("x", "x", every=600)
    slot = timetable.next(clock.now)
    assert slot is not None
    wait = slot - clock.now
    assert look(timetable=timetable).heals_in == 0  # nothing is missing
    make_orders(*range(1, 11))
    assert look(timetable=timetable).heals_in == pytest.approx(wait)
    assert look(timetable=timetable, jitter=60).heals_in == pytest.approx(wait + 60)
    assert look(timetable=timetable, max_per_run=4).heals_in == pytest.approx(wait + 2 * 600)
    assert look().heals_in is None


def test_errors_of_all_rows_end_the_look() -> None:
    make_orders(*range(1, 101))

    def args_for(self: Any, row: Any) -> Any:
        raise ValueError("broken")

    with pytest.raises(TooManyErrors):
        look(args_for=args_for)


def test_it_is_json() -> None:
    make_orders(1)
    facts = forecast(ScheduleOrders().plan()).as_dict()
    assert facts["would_enqueue"] == facts["missing"] == 1
    assert facts["name"] == "tests.healing.jobs.ScheduleOrders"


def test_a_look_may_be_at_the_first_rows_only() -> None:
    make_orders(1, 2, 3)
    plan = ScheduleOrders().plan()
    seen = forecast(plan, limit=2)
    assert (seen.found, seen.missing, seen.complete) == (2, 2, False)
    assert forecast(plan, limit=4).complete
    assert forecast(plan).complete
