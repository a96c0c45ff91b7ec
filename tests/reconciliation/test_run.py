"""One run: what is missing is pushed once, and whatever comes between costs no row its turn."""

from __future__ import annotations

import json
import logging
import random
import tracemalloc
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import DatabaseError, connection, transaction
from django.db import Error as DatabaseFault
from django.db.models import QuerySet
from django.test import override_settings

from django_jobqueue import Payload
from django_jobqueue.client.outlet import use_outlet
from django_jobqueue.connection import store
from django_jobqueue.exceptions import StoreUnavailable, TooManyErrors
from django_jobqueue.models import ReconcilerRun, ReconcilerState
from django_jobqueue.reconciliation import books
from django_jobqueue.reconciliation import run as room
from django_jobqueue.reconciliation.report import RunReport, RunStatus
from django_jobqueue.reconciliation.rows import dump_key
from django_jobqueue.reconciliation.run import PATIENCE, reconcile
from django_jobqueue.store.link import Link
from django_jobqueue.switches.state import State
from django_jobqueue.switches.switches import switches
from django_jobqueue.testing import FakeOutlet, committing
from tests.conftest import JobqueueSettings
from tests.healing.jobs import OrderJob, ScheduleOrders, ScheduleParcels, variant
from tests.healing.models import Order, Parcel
from tests.support.clocks import freeze, shift
from tests.support.inside import Inside

pytestmark = pytest.mark.usefixtures("queue")

NAME = "tests.healing.jobs.ScheduleOrders"
JOB = "tests.healing.jobs.OrderJob"


def make_orders(count: int, **fields: Any) -> list[int]:
    Order.objects.bulk_create([Order(**fields) for _ in range(count)])
    return sorted(Order.objects.values_list("pk", flat=True))


def run(**attributes: Any) -> RunReport:
    return reconcile(variant(**attributes).plan())


def state() -> ReconcilerState:
    return ReconcilerState.objects.get(name=NAME)


def queued(inside: Inside, queue: str = "orders") -> list[int]:
    return [args[0] for args in inside.args(queue)]


@pytest.fixture
def scripts(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the scripts that were called."""
    called: list[str] = []
    call: Any = Link.script

    def spy(self: Link, name: str, *rest: Any) -> Any:
        called.append(name)
        return call(self, name, *rest)

    monkeypatch.setattr(Link, "script", spy)
    return called


# Scenario 10 ------------------------------------------------------------------


def test_10500_pending_rows_become_10500_jobs_in_11_pages_and_11_pushes(
    inside: Inside, scripts: list[str]
) -> None:
    keys = make_orders(10_500)
    report = run()
    assert report.status == RunStatus.DONE
    assert (report.found, report.pushed, report.pages) == (10_500, 10_500, 11)
    assert scripts == ["enqueue"] * 11
    assert queued(inside) == keys
    # The workers stand still; the second tick finds all of them on their way.
    scripts.clear()
    again = run()
    assert (again.found, again.pushed, again.duplicates) == (10_500, 0, 10_500)
    assert scripts == ["enqueue"] * 11
    assert len(queued(inside)) == 10_500


def test_memory_does_not_grow_with_the_number_of_rows() -> None:
    make_orders(300)
    run(batch_size=50)  # what is made once, is made

    def peak(rows: int) -> int:
        Order.objects.all().delete()
        make_orders(rows)
        tracemalloc.start()
        try:
            run(batch_size=50)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    few, many = peak(200), peak(4000)
    assert many < 2 * few


def test_a_job_carries_the_options_of_its_class(inside: Inside) -> None:
    (key,) = make_orders(1)
    run()
    (job,) = inside.jobs("orders")
    assert (job["class"], job["args"], job["queue"], job["retry"]) == (JOB, [key], "orders", 0)
    assert job["unique_for"] == 600


def test_a_job_of_the_users_and_one_of_the_reconciler_are_one(inside: Inside) -> None:
    first, second = make_orders(2)
    jid = OrderJob.set(on_commit=False).perform_async(first)
    report = run(job_queue="slow")
    assert (report.pushed, report.duplicates) == (1, 1)
    assert [job["jid"] for job in inside.jobs("orders")] == [jid]
    assert queued(inside, "slow") == [second]


def test_a_job_that_somebody_pushes_between_the_look_and_the_push_is_not_doubled(
    inside: Inside,
) -> None:
    keys = make_orders(3)

    def args_for(self: Any, row: Any) -> Any:
        if row.pk == keys[1]:
            OrderJob.set(on_commit=False).perform_async(row.pk)
        return (row.pk,)

    report = run(args_for=args_for)
    assert (report.pushed, report.duplicates) == (2, 1)
    assert sorted(queued(inside)) == keys


def test_keys_that_are_no_json_are_passed_as_text(inside: Inside) -> None:
    parcel = Parcel.objects.create()
    assert reconcile(ScheduleParcels().plan()).pushed == 1
    assert inside.args("parcels") == [[str(parcel.pk)]]


def test_args_for_has_the_fields_that_it_asked_for(inside: Inside) -> None:
    make_orders(1, customer=7)
    run(fields=("customer",), args_for=lambda self, row: [row.customer])
    assert inside.args("orders") == [[7]]


def test_without_a_transaction_around_it_and_within_one_a_page_is_pushed_at_once(
    inside: Inside,
) -> None:
    from django.db import transaction

    make_orders(1)
    with transaction.atomic():
        run()
        assert len(queued(inside)) == 1


# The books --------------------------------------------------------------------


def test_a_run_is_written_down_when_it_pushed_and_the_state_always() -> None:
    make_orders(3)
    report = reconcile(ScheduleOrders().plan(), jid="abc")
    (written,) = ReconcilerRun.objects.all()
    assert (written.name, written.jid, written.status) == (NAME, "abc", "done")
    assert (written.pages, written.found, written.pushed, written.duplicates) == (1, 3, 3, 0)
    assert written.started_at <= written.finished_at
    assert report.jid == "abc"
    now = state()
    assert (now.status, now.found, now.pushed, now.cursor) == ("done", 3, 3, "")
    assert now.succeeded_at == now.finished_at == written.finished_at
    reconcile(ScheduleOrders().plan())
    assert ReconcilerRun.objects.count() == 1
    now = state()
    assert (now.status, now.found, now.pushed) == ("done", 3, 0)
    assert now.finished_at is not None
    assert now.finished_at > written.finished_at


def test_old_runs_are_forgotten_as_the_settings_say(
    jobqueue_settings: JobqueueSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobqueue_settings(RECONCILER_RUNS_KEPT=3600, SERVER_MIDDLEWARE=[])
    clock = freeze(monkeypatch)
    make_orders(1)
    run()
    clock.advance(3599)
    make_orders(1)
    run(max_queue_latency=10_000)
    # The first of them stands in the queue still, and half of unique_for is over.
    assert state().status == "skipped_backpressure"
    run_exactly()
    assert ReconcilerRun.objects.count() == 2
    clock.advance(2)
    make_orders(1)
    run_exactly()
    assert ReconcilerRun.objects.count() == 2


def run_exactly(**attributes: Any) -> RunReport:
    return reconcile(variant(**attributes).plan(), exact=True)


def test_the_age_of_the_oldest_row_is_told_and_warned_of(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    clock = freeze(monkeypatch)
    now = datetime.fromtimestamp(clock.now, UTC)
    for minutes in (5, 20, 10):
        make_orders(1, placed_at=now - timedelta(minutes=minutes))
    make_orders(1)
    report = run(age_field="placed_at", heal_within=timedelta(minutes=15), batch_size=2)
    assert report.oldest == 1200
    assert state().oldest_pending == 1200
    assert caplog.messages == [
        f"{NAME}: the oldest row has waited for 1200 s, over the objective of 900 s"
    ]
    caplog.clear()
    run(age_field="placed_at", heal_within=timedelta(minutes=21))
    assert caplog.messages == []


def test_a_text_that_no_database_takes_can_be_stored_all_the_same() -> None:
    assert books.storable("a\0b\ud800c") == "a\\x00b\\ud800c"
    assert len(books.storable("x" * 100_000)) == books.ERROR_LIMIT

    def args_for(self: Any, row: Any) -> Any:
        raise ValueError("\0 \ud800 \N{SNOWMAN}")

    make_orders(1)
    assert run(args_for=args_for).errors == 1
    assert "\\x00 \\ud800" in state().error


def test_times_are_kept_as_the_project_wants_them(settings: Any) -> None:
    make_orders(1)
    with override_settings(USE_TZ=False):
        run()
        assert state().started_at is not None


# Kill switches ----------------------------------------------------------------


def test_while_the_switch_of_its_job_is_on_no_row_is_looked_at(inside: Inside) -> None:
    make_orders(1)

    def get_queryset(self: Any) -> Any:
        raise AssertionError("the rows were asked for")

    with switches().overridden({"disable_order_job": State.partial(100)}):
        report = run(get_queryset=get_queryset)
    assert report.status == RunStatus.DISABLED
    assert state().status == "skipped_disabled"
    assert ReconcilerRun.objects.count() == 0
    assert queued(inside) == []


def test_a_switch_that_is_thrown_half_way_ends_the_run_and_the_next_goes_on(
    inside: Inside,
) -> None:
    keys = make_orders(5)
    with switches().overridden({}):
        on: dict[str, State] = {}

        def args_for(self: Any, row: Any) -> Any:
            return (row.pk,)

        with switches().overridden(on):
            thrown = _throw_after(keys[1], on)
            report = run(batch_size=2, args_for=thrown)
            assert report.status == RunStatus.INTERRUPTED
            assert report.cursor == dump_key(keys[1])
        assert run(batch_size=2, args_for=args_for).status == RunStatus.DONE
    assert set(queued(inside)) == set(keys)


def _throw_after(key: int, on: dict[str, State]) -> Callable[[Any, Any], Any]:
    def args_for(self: Any, row: Any) -> Any:
        if row.pk == key:
            on["disable_order_job"] = State.partial(100)
            switches()._show()
        return (row.pk,)

    return args_for


def test_what_a_switch_stops_in_part_is_counted(inside: Inside) -> None:
    make_orders(400)
    with switches().overridden({"disable_order_job": State.partial(50)}):
        report = run()
    assert report.status == RunStatus.DONE
    assert report.disabled + report.pushed == 400
    assert 100 < report.disabled < 300
    assert len(queued(inside)) == report.pushed


# Back-pressure ----------------------------------------------------------------


def test_nothing_is_added_to_a_queue_that_is_late(
    inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = shift(monkeypatch)
    make_orders(2)
    run()
    clock.advance(59)
    assert run().status == RunStatus.DONE
    clock.advance(2)
    make_orders(1)
    report = run()
    assert report.status == RunStatus.BACKPRESSURE
    assert (report.found, len(queued(inside))) == (0, 2)
    now = state()
    assert (now.status, now.skips, now.found) == ("skipped_backpressure", 1, 2)


def test_a_short_lease_makes_a_queue_late_sooner() -> None:
    class ShortJob(OrderJob):
        """Its lock does not last."""

        unique_for = 60
        abstract = True

    assert variant(job=ShortJob).plan().late == 30
    assert variant(max_queue_latency=20).plan().late == 20


def test_what_nobody_can_read_or_has_no_time_holds_up_nothing(inside: Inside) -> None:
    make_orders(1)
    inside.client.rpush(inside.key("queue:orders"), b"junk")
    assert run().status == RunStatus.DONE
    timeless = Payload({"class": "X", "args": [], "jid": "1", "queue": "orders"}).encode()
    inside.client.rpush(inside.key("queue:orders"), timeless)
    assert run().status == RunStatus.DONE


def test_with_the_workers_stopped_for_an_hour_there_is_a_job_a_row_and_the_exact_pass_mends(
    inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = shift(monkeypatch)
    keys = make_orders(50)
    ends: list[str] = []
    removed = keys[17]
    for minute in range(60):
        if minute == 30:
            _remove_by_hand(inside, removed)
        ends.append(str(run().status))
        assert len(queued(inside)) <= len(keys)
        clock.advance(60)
    skips = ["skipped_backpressure"] * PATIENCE
    assert ends[:23] == ["done", *skips, "done", *skips, "done"]
    assert sorted(queued(inside)) == keys
    # The one that was removed, and no other, was brought back.
    (first, mended) = ReconcilerRun.objects.order_by("pk")
    assert (first.pushed, first.exact) == (50, False)
    assert (mended.pushed, mended.duplicates, mended.exact) == (1, 49, True)


def _remove_by_hand(inside: Inside, key: int) -> None:
    (raw,) = [raw for raw in inside.raw("orders") if json.loads(raw)["args"] == [key]]
    assert inside.client.lrem(inside.key("queue:orders"), 1, raw) == 1


# Errors of rows ---------------------------------------------------------------


def test_a_row_with_an_error_is_skipped_and_told_and_the_others_are_healed(
    inside: Inside,
) -> None:
    keys = make_orders(5)

    def args_for(self: Any, row: Any) -> Any:
        if row.pk == keys[0]:
            raise RuntimeError("this row is broken")
        return (row.pk,)

    report = run(args_for=args_for)
    assert report.status == RunStatus.DONE
    assert (report.errors, report.pushed) == (1, 4)
    assert queued(inside) == keys[1:]
    (written,) = ReconcilerRun.objects.all()
    assert written.errors == 1
    for text in (report.error, written.error, state().error):
        assert f"pk={keys[0]}" in text
        assert "RuntimeError: this row is broken" in text
        assert "args_for" in text


@pytest.mark.parametrize(
    ("args", "error"),
    [
        (lambda pk: (pk, 1, 2), "perform() cannot take these arguments"),
        (lambda pk: (object(),), "ArgumentNotSerializable"),
        (lambda pk: "text", "returns a list or tuple"),
        (lambda pk: ("x" * 1_000_001,), "PayloadTooLarge"),
    ],
)
def test_a_row_whose_job_cannot_be_made_is_an_error_of_that_row(
    inside: Inside, args: Callable[[int], Any], error: str
) -> None:
    keys = make_orders(3)
    report = run(args_for=lambda self, row: args(row.pk) if row.pk == keys[1] else (row.pk,))
    assert (report.errors, report.pushed) == (1, 2)
    assert error in report.error
    assert queued(inside) == [keys[0], keys[2]]


def test_a_middleware_that_fails_on_one_job_costs_that_one_row(
    inside: Inside, jobqueue_settings: JobqueueSettings
) -> None:
    jobqueue_settings(SERVER_MIDDLEWARE=[], CLIENT_MIDDLEWARE=[f"{__name__}.RaiseForEvenNumbers"])
    keys = make_orders(4)
    report = run()
    assert (report.errors, report.pushed) == (2, 2)
    assert queued(inside) == [key for key in keys if key % 2]
    assert "no even numbers" in report.error


class RaiseForEvenNumbers:
    """Client middleware that fails on some."""

    def __init__(self, push: Any) -> None:
        self._push = push

    def __call__(self, payload: Payload) -> Payload | None:
        if payload.args[0] % 2 == 0:
            raise ValueError("no even numbers")
        accepted: Payload | None = self._push(payload)
        return accepted


def test_a_run_gives_up_when_the_first_hundred_rows_all_fail(inside: Inside) -> None:
    make_orders(150)
    tried: list[int] = []

    def args_for(self: Any, row: Any) -> Any:
        tried.append(row.pk)
        raise RuntimeError("all of them")

    with pytest.raises(TooManyErrors, match="gave up after 100 rows with errors"):
        run(args_for=args_for)
    assert len(tried) == 100
    assert state().status == "failed"
    assert "all of them" in state().error


def test_rows_at_fault_do_not_keep_the_others_from_their_turn_for_ever(inside: Inside) -> None:
    keys = make_orders(150)
    bad = set(keys[:100])

    def args_for(self: Any, row: Any) -> Any:
        if row.pk in bad:
            raise RuntimeError("one of the bad ones")
        return (row.pk,)

    with pytest.raises(TooManyErrors):
        run(args_for=args_for)
    report = run(args_for=args_for)
    assert (report.status, report.pushed, report.errors) == (RunStatus.DONE, 50, 100)
    assert queued(inside) == keys[100:]


def test_a_run_gives_up_after_more_errors_than_it_bears(inside: Inside) -> None:
    keys = make_orders(6)

    def args_for(self: Any, row: Any) -> Any:
        if row.pk in keys[1:3]:
            raise RuntimeError("bad")
        return (row.pk,)

    with pytest.raises(TooManyErrors, match="gave up after 2 rows"):
        run(args_for=args_for, max_errors=1, batch_size=3)
    assert queued(inside) == keys[:1]
    assert state().cursor == dump_key(keys[2])
    assert state().pushed == 1
    assert run(max_errors=2, args_for=args_for, batch_size=3).errors == 2
    assert queued(inside) == [keys[0], *keys[3:]]


def test_a_queryset_that_fails_fails_its_run_with_the_traceback_and_the_cursor_stays() -> None:
    keys = make_orders(3)
    run(max_per_run=1)
    assert state().cursor == dump_key(keys[0])

    def get_queryset(self: Any) -> Any:
        raise ZeroDivisionError("in the queryset")

    with pytest.raises(ZeroDivisionError):
        run(get_queryset=get_queryset)
    now = state()
    assert now.status == "failed"
    assert now.cursor == dump_key(keys[0])
    assert "get_queryset" in now.error
    assert "ZeroDivisionError: in the queryset" in now.error
    assert ReconcilerRun.objects.filter(status="failed").count() == 1
    assert run().status == RunStatus.DONE
    assert state().error == ""


# Interruptions ----------------------------------------------------------------


def test_a_run_that_is_told_to_stop_ends_between_two_pages_and_the_next_goes_on(
    inside: Inside,
) -> None:
    keys = make_orders(6)
    asked: list[None] = []

    def halted() -> bool:
        asked.append(None)
        return len(asked) == 2

    report = reconcile(variant(batch_size=2).plan(), halted=halted)
    assert (report.status, report.found) == (RunStatus.INTERRUPTED, 4)
    assert report.cursor == state().cursor == dump_key(keys[3])
    assert queued(inside) == keys[:4]
    report = run(batch_size=2)
    # First the rest; then the beginning, for in between Redis may have been emptied.
    assert (report.status, report.found, report.pushed) == (RunStatus.DONE, 6, 2)
    assert queued(inside) == keys
    assert state().cursor == ""


def test_five_ticks_of_1000_cover_5000_rows_of_which_the_first_are_stuck(
    inside: Inside,
) -> None:
    keys = make_orders(5000)
    stuck = keys[:1000]
    OrderJob.set(on_commit=False).perform_bulk([(key,) for key in stuck])
    reports = [run(max_per_run=1000, batch_size=300) for _ in range(5)]
    assert [report.status for report in reports] == [RunStatus.LIMITED] * 5
    assert [report.found for report in reports] == [1000] * 5
    assert [report.pushed for report in reports] == [0, 1000, 1000, 1000, 1000]
    assert queued(inside) == keys
    # The sixth begins again.
    assert run(max_per_run=1000).duplicates == 1000


def test_a_limit_above_the_number_of_rows_limits_nothing() -> None:
    make_orders(5)
    assert run(max_per_run=6, batch_size=2).status == RunStatus.DONE


def test_redis_away_in_the_middle_fails_the_run_and_keeps_its_cursor(
    inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = make_orders(6)
    calls: list[None] = []
    script: Any = Link.script

    def break_down(self: Link, name: str, *rest: Any) -> Any:
        calls.append(None)
        if len(calls) == 3:
            raise StoreUnavailable("gone")
        return script(self, name, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(Link, "script", break_down)
        with pytest.raises(StoreUnavailable):
            run(batch_size=2)
    now = state()
    assert (now.status, now.cursor, now.pushed) == ("failed", dump_key(keys[3]), 4)
    assert run(batch_size=2).status == RunStatus.DONE
    assert queued(inside) == keys


def test_what_redis_missed_at_a_commit_is_brought_by_the_next_run(
    inside: Inside, jobqueue_settings: JobqueueSettings
) -> None:
    jobqueue_settings(REDIS_URL="redis://127.0.0.1:1/0", SERVER_MIDDLEWARE=[])

    def accept() -> None:
        with committing(), transaction.atomic():
            OrderJob.perform_async(make_orders(1)[0])

    with pytest.raises(StoreUnavailable):
        accept()
    key = Order.objects.get().pk
    jobqueue_settings(SERVER_MIDDLEWARE=[])
    assert run().pushed == 1
    assert queued(inside) == [key]


def test_the_database_away_in_the_middle_fails_the_run_and_keeps_its_cursor(
    inside: Inside, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    keys = make_orders(6)
    away: list[bool] = []
    real = books.advance

    def advance(name: str, cursor: str) -> None:
        if away:
            raise DatabaseError("gone")
        away.append(True)
        real(name, cursor)

    def end(*args: Any, **kwargs: Any) -> None:
        raise DatabaseError("still gone")

    with monkeypatch.context() as patch:
        patch.setattr(books, "advance", advance)
        patch.setattr(books, "end", end)
        with pytest.raises(DatabaseError, match=r"^gone$"):
            run(batch_size=2)
    assert f"{NAME}: the failed run cannot be written down" in caplog.messages
    assert state().cursor == dump_key(keys[1])
    run(batch_size=2)
    assert queued(inside) == keys


@pytest.mark.django_db(transaction=True)
def test_a_run_whose_connection_was_cut_is_written_down_over_another(inside: Inside) -> None:
    def get_queryset(reconciler: Any) -> QuerySet[Order]:
        connection.connection.close()
        return Order.objects.all()

    with pytest.raises(DatabaseFault, match=r"(?i)closed|^\(0, ''\)$"):
        run(get_queryset=get_queryset)
    assert state().status == RunStatus.FAILED


def test_a_run_that_was_killed_is_gone_on_with(inside: Inside) -> None:
    keys = make_orders(4)
    books.begin(NAME, 1_800_000_000.0)
    books.advance(NAME, dump_key(keys[1]))
    assert state().status == "running"
    assert run().status == RunStatus.DONE
    assert queued(inside) == [keys[2], keys[3], keys[0], keys[1]]


# A Redis that loses its data --------------------------------------------------


def test_redis_flushed_at_page_5_of_11_makes_the_run_partial_and_the_next_heals(
    inside: Inside,
) -> None:
    keys = make_orders(110)
    store().epoch.begin("the first")
    pages: list[None] = []

    def halted() -> bool:
        pages.append(None)
        if len(pages) == 5:
            for name in inside.names():
                inside.client.delete(inside.key(name))
        return False

    report = reconcile(variant(batch_size=10).plan(), halted=halted)
    assert report.status == RunStatus.PARTIAL
    assert report.pushed == 110
    assert state().cursor == ""
    assert queued(inside) == keys[50:]
    again = run(batch_size=10)
    assert (again.status, again.pushed) == (RunStatus.DONE, 50)
    assert sorted(queued(inside)) == keys  # and none twice


def test_a_job_that_finds_its_run_partial_asks_for_another_at_once(
    inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_orders(1)
    epochs = iter(["a", "b"])
    monkeypatch.setattr(room.Run, "_epoch", lambda self: next(epochs))
    report = ScheduleOrders().perform()
    assert report.status == RunStatus.PARTIAL
    assert [job["class"] for job in inside.jobs("reconcilers")] == [NAME]


# Jitter, and the dead ---------------------------------------------------------


def test_jitter_spreads_the_jobs_evenly_and_the_second_tick_adds_none(
    inside: Inside, scripts: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    start = freeze(monkeypatch).now
    random.seed(1)  # else one run in a hundred has a minute out of bounds
    make_orders(10_000)
    report = run(jitter=timedelta(minutes=30))
    assert report.pushed == 10_000
    assert scripts == ["enqueue"] * 40  # slices of 250
    entries = inside.entries("schedule")
    per_minute = [0] * 30
    for member, at in entries:
        assert "enqueued_at" not in member
        per_minute[int((at - start) // 60)] += 1
    assert all(267 <= count <= 400 for count in per_minute)  # 333, and 20 % more or less
    again = run(jitter=timedelta(minutes=30))
    assert (again.pushed, again.duplicates) == (0, 10_000)


def test_a_row_whose_job_died_is_left_alone_until_its_cool_down_is_over(
    inside: Inside,
) -> None:
    first, second = make_orders(2)
    run()
    digest = next(job["unique_digest"] for job in inside.jobs("orders") if job["args"] == [first])
    inside.client.delete(inside.key("queue:orders"), store().keys.unique(digest))
    key = store().keys.tombstone(digest)
    now_ms = int(inside.client.time()[0]) * 1000
    inside.client.hset(key, mapping={"deaths": 1, "until": now_ms + 60_000})
    report = run()
    assert (report.cooling, report.pushed, report.duplicates) == (1, 0, 1)
    inside.client.hset(key, "until", now_ms - 1)
    assert run().pushed == 1
    assert queued(inside) == [first]
    assert second != first


def test_a_tick_while_the_job_runs_is_no_reason_to_run_it_again(inside: Inside) -> None:
    class AgainJob(OrderJob):
        """Runs again for who asks while it runs."""

        abstract = True
        on_conflict = "rerun"

    make_orders(1)
    assert run(job=AgainJob).pushed == 1
    assert run(job=AgainJob).duplicates == 1
    assert not [name for name in inside.names() if "rerun" in name]
    AgainJob.set(on_commit=False).perform_async(Order.objects.get().pk)
    assert [name for name in inside.names() if "rerun" in name]


def test_a_young_row_is_not_enqueued(monkeypatch: pytest.MonkeyPatch, inside: Inside) -> None:
    clock = freeze(monkeypatch)
    make_orders(1, placed_at=datetime.fromtimestamp(clock.now, UTC))
    options = {"grace": timedelta(minutes=1), "age_field": "placed_at"}
    assert run(**options).found == 0
    clock.advance(61)
    assert run(**options).pushed == 1


# Without Redis ----------------------------------------------------------------


def test_with_another_outlet_redis_is_not_asked(settings: Any) -> None:
    settings.JOBQUEUE = {"OUTLET": "fake", "SERVER_MIDDLEWARE": []}
    keys = make_orders(3)
    with use_outlet(FakeOutlet()) as box:
        assert isinstance(box, FakeOutlet)
        report = run()
        assert report.status == RunStatus.DONE
        assert box.args_of(OrderJob) == [[key] for key in keys]
        assert run_exactly().status == RunStatus.DONE


def test_one_line_is_logged_when_something_happened(
    caplog: pytest.LogCaptureFixture,
) -> None:
    make_orders(2)
    with caplog.at_level(logging.INFO, "django_jobqueue.reconciler"):
        run()
        run()
    (line,) = caplog.messages
    assert line.startswith(
        f"{NAME}: done; 2 found, 2 pushed, 0 on their way, 0 cooling, 0 with errors, in "
    )


def test_a_queryset_may_name_a_field_of_another_table_as_age() -> None:
    def get_queryset(self: Any) -> QuerySet[Any]:
        from django.db.models import F

        return Order.objects.annotate(since=F("placed_at"))

    make_orders(1, placed_at=datetime(2020, 1, 1, tzinfo=UTC))
    report = run(get_queryset=get_queryset, age_field="since", grace=1)
    assert report.found == 1
    assert report.oldest is not None
    assert report.oldest > 1e8
