"""All of Redis is lost on purpose, and real workers bring it back by themselves."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest

from django_jobqueue.connection import store
from django_jobqueue.exceptions import DrillRefused
from django_jobqueue.reconciliation.drift import Drift
from django_jobqueue.reconciliation.drill import drill, free_stale_locks, inspect
from django_jobqueue.store.store import Store
from tests.conftest import JobqueueSettings, StartRunJobs
from tests.healing.jobs import OrderJob, ScheduleOrders
from tests.healing.models import Order
from tests.support.databases import database_of_workers
from tests.support.inside import Inside
from tests.support.polling import wait_until
from tests.support.server import RedisServer

__all__ = ["database_of_workers"]

ORDERS = "tests.healing.jobs.ScheduleOrders"


def test_workers_bring_every_row_back_once_and_nobody_did_anything(
    jobqueue_settings: JobqueueSettings,
    run_jobs: StartRunJobs,
    database_of_workers: dict[str, str],
    inside: Inside,
) -> None:
    jobqueue_settings()
    # One tick in an hour: what heals here is that the loss is noticed.
    workers = run_jobs(
        "--queue", "reconcilers",
        settings="tests.healing.settings",
        env=database_of_workers,
        RECONCILERS={ORDERS: {"every": "1h"}},
    )  # fmt: skip
    wait_until(lambda: inside.client.exists(inside.key("jq:epoch")), 30, "the first epoch")
    Order.objects.bulk_create([Order() for _ in range(1500)])
    # Triggered at the start, within ten seconds, because Redis was empty.
    wait_until(lambda: len(inside.raw("orders")) == 1500, 30, workers.output)
    seen: list[Drift] = []
    report = drill(store(), [ScheduleOrders().plan()], timeout=60, watch=seen.extend)
    assert report.seconds is not None
    assert report.erased >= 1500
    assert seen[0].missing == 1500
    (last,) = report.drifts
    # What came while the drill looked for the last time is not missing, and not counted either.
    assert (last.expected, last.missing) == (1500, 0)
    assert last.standing <= 1500
    assert (last.duplicated, last.surplus) == (0, 0)
    keys = [args[0] for args in inside.args("orders")]
    assert sorted(keys) == sorted(Order.objects.values_list("pk", flat=True))


def test_a_database_that_others_use_without_a_prefix_is_left_alone(
    private_redis: Callable[..., RedisServer],
) -> None:
    server = private_redis()
    with closing(Store(server.url)) as bare, server.client() as client:
        bare.claims.join("host:1:0123456789ab", 60.0)
        client.set("queue:default", "ours")
        assert inspect(bare) == 2
        client.set("session:7", "theirs")
        with pytest.raises(DrillRefused, match=r"others use this database too.*session:7"):
            inspect(bare)
        assert client.dbsize() == 3


def test_a_lock_whose_job_was_erased_is_ended_and_one_with_a_job_is_not(
    queue: None, inside: Inside
) -> None:
    kept, lost = (OrderJob.set(on_commit=False).perform_async(number) for number in (1, 2))
    raw: Any = inside.raw("orders")[1]
    inside.client.lrem(inside.key("queue:orders"), 1, raw)
    assert free_stale_locks(store()) == 1
    assert set(store().eraser.locks().values()) == {kept}
    assert lost != kept
    assert free_stale_locks(store()) == 0
