"""The rows of a reconciler come by pages, each once, by short queries in the order of the key."""

from __future__ import annotations

import uuid
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.db.models import QuerySet
from django.test.utils import CaptureQueriesContext

from django_jobqueue.reconciliation.rows import dump_key, load_key, moment, ordered, pages
from tests.healing.jobs import ScheduleOrders, ScheduleParcels, ScheduleVouchers, variant
from tests.healing.models import Order, Parcel, Voucher
from tests.support.clocks import freeze

pytestmark = pytest.mark.django_db


def make_orders(count: int, **fields: Any) -> list[int]:
    Order.objects.bulk_create([Order(**fields) for _ in range(count)])
    return sorted(Order.objects.values_list("pk", flat=True))


def keys_of(reconciler: Any, cursor: str = "", limit: int | None = None) -> list[list[Any]]:
    found = pages(reconciler.plan(), cursor, limit=limit)
    return [[row.pk for row in page.rows] for page in found]


def test_rows_come_by_pages_in_the_order_of_their_keys() -> None:
    keys = make_orders(5)
    assert keys_of(variant(batch_size=2)) == [keys[:2], keys[2:4], keys[4:]]


def test_a_page_is_one_query_without_offset_and_without_a_held_cursor() -> None:
    make_orders(5)
    with CaptureQueriesContext(connection) as queries:
        keys_of(variant(batch_size=2))
    assert len(queries) == 3
    assert not [q for q in queries.captured_queries if "OFFSET" in q["sql"].upper()]
    assert not [q for q in queries.captured_queries if "DECLARE" in q["sql"].upper()]


def test_a_last_page_that_is_full_is_followed_by_a_look_that_finds_nothing() -> None:
    keys = make_orders(4)
    found = list(pages(variant(batch_size=2).plan()))
    assert [row.pk for page in found for row in page.rows] == keys
    assert [page.is_last for page in found] == [False, False]


def test_a_short_page_is_known_to_be_the_last() -> None:
    make_orders(3)
    assert [page.is_last for page in pages(variant(batch_size=2).plan())] == [False, True]


def test_from_a_cursor_the_rows_behind_it_come_first_and_then_those_before_it() -> None:
    keys = make_orders(5)
    reconciler = variant(batch_size=2)
    assert keys_of(reconciler, dump_key(keys[2])) == [keys[3:], keys[:2], keys[2:3]]


def test_a_cursor_behind_the_end_begins_again() -> None:
    keys = make_orders(3)
    assert keys_of(variant(), dump_key(keys[-1])) == [keys]


def test_no_more_rows_are_read_than_allowed() -> None:
    keys = make_orders(7)
    assert keys_of(variant(batch_size=2), limit=3) == [keys[:2], keys[2:3]]
    assert keys_of(variant(batch_size=2), dump_key(keys[-2]), limit=3) == [keys[-1:], keys[:2]]


def test_the_order_of_the_queryset_does_not_matter() -> None:
    keys = make_orders(4)

    def backwards(self: Any) -> QuerySet[Order]:
        return Order.objects.order_by("-customer").reverse()

    assert keys_of(variant(batch_size=2, get_queryset=backwards)) == [keys[:2], keys[2:]]


def test_rows_that_are_added_and_removed_meanwhile_hide_no_others() -> None:
    keys = make_orders(4)
    found = []
    for page in pages(variant(batch_size=2).plan()):
        found += [row.pk for row in page.rows]
        Order.objects.filter(pk=keys[0]).delete()
    assert found == keys


def test_a_row_has_its_key_and_the_fields_that_were_asked_for_and_is_no_model() -> None:
    make_orders(1, customer=7)
    (page,) = pages(variant(fields=("customer", "pk")).plan())
    (row,) = page.rows
    assert not isinstance(row, Order)
    assert row._fields == ("pk", "customer")
    assert row.customer == 7


def test_only_the_key_is_read_unless_more_is_asked_for() -> None:
    make_orders(1)
    with CaptureQueriesContext(connection) as queries:
        list(pages(variant().plan()))
    assert "customer" not in queries.captured_queries[0]["sql"]


@pytest.mark.parametrize(
    ("base", "model"), [(ScheduleParcels, Parcel), (ScheduleVouchers, Voucher)]
)
def test_keys_may_be_uuids_and_texts(base: Any, model: Any) -> None:
    if model is Parcel:
        Parcel.objects.bulk_create([Parcel() for _ in range(25)])
    else:
        codes = ["a", "b", "ö", "%", "'", '"', "10", "9", "x" * 100, "a b"]
        Voucher.objects.bulk_create([Voucher(code=code) for code in codes])
    wanted = set(model.objects.values_list("pk", flat=True))
    reconciler = variant(base, batch_size=4)
    found = [key for page in keys_of(reconciler) for key in page]
    assert sorted(map(str, found)) == sorted(map(str, wanted))
    behind = [key for page in keys_of(reconciler, dump_key(found[5])) for key in page]
    assert behind == found[6:] + found[:6]


def test_a_key_goes_through_json() -> None:
    assert load_key(dump_key(7)) == 7
    assert load_key(dump_key("ä")) == "ä"
    key = uuid.uuid4()
    assert load_key(dump_key(key)) == str(key)


def test_a_young_row_is_left_out_and_one_without_a_time_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = freeze(monkeypatch)
    now = datetime.fromtimestamp(clock.now, UTC)
    young = Order.objects.create(placed_at=now - timedelta(seconds=59))
    old = Order.objects.create(placed_at=now - timedelta(seconds=61))
    timeless = Order.objects.create(placed_at=None)
    reconciler = variant(grace=60, age_field="placed_at")
    assert keys_of(reconciler) == [[old.pk, timeless.pk]]
    clock.advance(2)
    assert keys_of(reconciler) == [[young.pk, old.pk, timeless.pk]]


def test_the_database_can_be_chosen() -> None:
    assert ordered(variant(using="other").plan()).db == "other"
    assert ordered(variant().plan()).db == "default"


def test_times_and_days_and_nothing_else_are_moments() -> None:
    at = datetime(2027, 1, 15, 12, tzinfo=UTC)
    assert moment(at) == at.timestamp()
    assert moment(at.replace(tzinfo=None)) == at.timestamp()  # the time zone of the tests is UTC
    assert moment(date(2027, 1, 15)) == at.replace(hour=0).timestamp()
    assert moment(None) is None
    assert moment("yesterday") is None


def test_a_reconciler_of_its_own_has_the_documented_defaults() -> None:
    plan = ScheduleOrders().plan()
    assert plan.name == "tests.healing.jobs.ScheduleOrders"
    assert (plan.queue, plan.batch_size, plan.max_per_run) == ("orders", 1000, None)
    assert (plan.jitter, plan.grace, plan.fields) == (0.0, 0.0, ())
    assert plan.late == 60.0  # less than half of unique_for
    assert variant(job_queue="slow").plan().queue == "slow"
