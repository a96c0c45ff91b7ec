"""Drift is a row without its job, or with two; what changes during the look is none."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from django_jobqueue.connection import store
from django_jobqueue.reconciliation import drift as room
from django_jobqueue.reconciliation.drift import Drift, drift
from django_jobqueue.reconciliation.exact import Standing, standing
from django_jobqueue.reconciliation.run import reconcile
from tests.healing.jobs import OrderJob, ScheduleParcels, variant
from tests.healing.models import Order, Parcel
from tests.support.clocks import freeze
from tests.support.inside import Inside

pytestmark = pytest.mark.usefixtures("queue")


def make_orders(*keys: int, **fields: Any) -> None:
    Order.objects.bulk_create([Order(pk=key, **fields) for key in keys])


def push(*keys: int) -> None:
    OrderJob.set(on_commit=False).perform_bulk([(key,) for key in keys])


def look(**options: Any) -> Drift:
    return drift(variant(**options).plan())


def counts(found: Drift) -> tuple[int, int, int, int]:
    return (found.missing, found.surplus, found.duplicated, found.cooling)


def test_a_healed_queue_has_no_drift(inside: Inside) -> None:
    make_orders(1, 2, 3)
    assert counts(look()) == (3, 0, 0, 0)
    reconcile(variant().plan())
    found = look(batch_size=2)
    assert counts(found) == (0, 0, 0, 0)
    assert (found.expected, found.standing, found.is_zero) == (3, 3, True)


def test_every_kind_of_drift_is_counted(inside: Inside) -> None:
    make_orders(1, 2, 3, 4)
    push(1, 2, 9)
    raw = inside.raw("orders")[0]
    assert b"[1]" in raw
    inside.client.lpush(inside.key("queue:orders"), raw.replace(b'"jid":"', b'"jid":"2'))
    digest = reconcile_and_lose(inside, 4)
    now = int(inside.client.time()[0])
    inside.client.hset(
        store().keys.tombstone(digest), mapping={"deaths": 1, "until": (now + 60) * 1000}
    )
    found = look()
    assert counts(found) == (1, 1, 1, 1)
    assert (found.expected, found.standing) == (4, 4)
    assert found.sample == ("3",)
    assert not found.is_zero
    assert found.as_dict()["is_zero"] is False


def reconcile_and_lose(inside: Inside, key: int) -> str:
    """Return the digest of a row whose job was pushed and is gone without a trace."""
    push(key)
    raw = inside.raw("orders")[-1]
    assert inside.client.lrem(inside.key("queue:orders"), 1, raw) == 1
    digest: str = next(job for job in [raw] if job).decode().split('unique_digest":"')[1][:32]
    inside.client.delete(store().keys.unique(digest))
    return digest


def test_a_surplus_alone_is_no_drift() -> None:
    push(1)
    found = look()
    assert found.surplus == 1
    assert found.is_zero


def test_what_runs_is_no_surplus(inside: Inside) -> None:
    push(1)
    raw = inside.client.rpop(inside.key("queue:orders"))
    inside.client.hset(store().keys.claims("host:1:aa"), "x:1:orders", raw)
    assert look().surplus == 0


def test_a_young_row_need_not_have_a_job_and_its_job_is_no_surplus(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = freeze(monkeypatch)
    make_orders(1, 2, placed_at=datetime.fromtimestamp(clock.now, UTC))
    push(1)
    options = {"grace": 60, "age_field": "placed_at"}
    found = look(**options)
    assert (found.expected, counts(found)) == (0, (0, 0, 0, 0))
    clock.advance(60)
    found = look(**options)
    assert (found.expected, counts(found)) == (2, (1, 0, 0, 0))


def between(monkeypatch: pytest.MonkeyPatch, change: Callable[[], Any]) -> None:
    """Let something happen right after Redis was read for the first time."""
    looks: list[None] = []

    def read(*args: Any) -> Standing:
        found = standing(*args)
        if not looks:
            change()
        looks.append(None)
        return found

    monkeypatch.setattr(room, "standing", read)


def test_a_job_that_was_pushed_during_the_look_is_not_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def change() -> None:
        make_orders(1)
        push(1)

    between(monkeypatch, change)
    assert counts(look()) == (0, 0, 0, 0)


def test_a_row_that_was_finished_during_the_look_is_not_missing_and_its_job_no_surplus(
    inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_orders(1, 2)
    push(1)

    def finish() -> None:
        inside.client.delete(inside.key("queue:orders"))
        Order.objects.filter(pk=1).update(state="done")

    between(monkeypatch, finish)
    found = look()
    assert counts(found) == (1, 0, 0, 0)
    assert found.sample == ("2",)


def test_a_row_that_was_finished_after_it_was_read_is_not_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    make_orders(1)
    real = room._still_missing

    def finish_first(*args: Any) -> dict[str, Any]:
        Order.objects.update(state="done")
        return real(*args)

    monkeypatch.setattr(room, "_still_missing", finish_first)
    assert counts(look()) == (0, 0, 0, 0)


def test_many_missing_rows_are_asked_for_by_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "ASKED", 2)
    make_orders(*range(1, 16))
    found = look()
    assert found.missing == 15
    assert len(found.sample) == room.SHOWN


def test_keys_that_are_no_json_are_compared_too() -> None:
    Parcel.objects.bulk_create([Parcel(), Parcel()])
    plan = ScheduleParcels().plan()
    assert drift(plan).missing == 2
    reconcile(plan)
    assert drift(plan).is_zero
    assert drift(plan).expected == 2


def test_rows_with_errors_are_counted_and_not_missing() -> None:
    make_orders(1, 2)

    def args_for(self: Any, row: Any) -> Any:
        if row.pk == 1:
            raise ValueError("broken")
        return (row.pk,)

    found = look(args_for=args_for)
    assert (found.errors, found.missing) == (1, 1)


def test_of_the_first_rows_alone_no_surplus_is_known() -> None:
    make_orders(1, 2, 3)
    plan = variant().plan()
    reconcile(plan)
    make_orders(4)
    found = drift(plan, limit=2)
    assert (found.complete, found.expected, found.surplus, found.is_zero) == (False, 2, 0, True)
    found = drift(plan, limit=5)
    assert (found.complete, found.expected, found.missing) == (True, 4, 1)
