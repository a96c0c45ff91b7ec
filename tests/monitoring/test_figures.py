"""The figures say what stands in Redis and in the database, and what fails costs nothing else."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import DatabaseError
from django.db.models import QuerySet

from django_jobqueue import Job
from django_jobqueue.connection import store
from django_jobqueue.job.declaration import wire_name
from django_jobqueue.models import ReconcilerState, Schedule
from django_jobqueue.monitoring import figures as module
from django_jobqueue.monitoring.exposition import exposition
from django_jobqueue.monitoring.families import DECLARED
from django_jobqueue.monitoring.figures import OUTCOMES, read_figures
from django_jobqueue.reconciliation import Reconciler
from django_jobqueue.store.metrics import BUCKETS, Counts
from django_jobqueue.switches.seldom import Seldom
from django_jobqueue.switches.state import ON, State
from tests.conftest import JobqueueSettings
from tests.support.clocks import freeze
from tests.support.inside import Inside
from tests.support.server import RedisServer

pytestmark = pytest.mark.django_db

#: Another port than any server's.
NOWHERE = "redis://somebody:a-secret@127.0.0.1:1/0"


class CountedJob(Job):
    def perform(self) -> None: ...


class HealCounted(Reconciler):
    job = CountedJob
    heal_within = timedelta(minutes=5)

    def get_queryset(self) -> QuerySet[Any]:
        return Schedule.objects.none()


@pytest.fixture(autouse=True)
def jobqueue(jobqueue_settings: JobqueueSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    listed = {f"{__name__}.HealCounted": {"every": "10m"}}
    jobqueue_settings(RECONCILERS=listed, ON_COMMIT=False)
    # Each test hears of its own troubles.
    for name in ("_redis_trouble", "_database_trouble"):
        monkeypatch.setattr(module, name, Seldom(module.logger))


def told() -> dict[str, Any]:
    """Return what is told now: a number, or numbers by the value of the label."""
    found: dict[str, Any] = {}
    for family in read_figures():
        name = family.declared.name
        if family.declared.labels:
            found[name] = {labels[0]: value for labels, value in family.series.items()}
        else:
            found[name] = family.series[()]
    return found


def process(identity: str, *queues: str, **fields: Any) -> None:
    info = json.dumps({"queues": queues, "concurrency": 4})
    store().processes.record(identity, {"info": info, "concurrency": 4, **fields}, {})


def test_everything_that_is_declared_is_told(inside: Inside) -> None:
    CountedJob.perform_async()
    process("h:1:0123456789ab", busy=1)
    inside.put("jq:held:A", b"{}", 1)
    inside.client.sadd(inside.key("jq:held"), "A")
    ReconcilerState.objects.create(name=wire_name(HealCounted), oldest_pending=1.0)
    found = told()
    # Only where there would be too many, and where classes have run for a minute.
    rare = {"left_out", "recent_attempts", "recent_failures", "recent_seconds"}
    assert {each.name for each in DECLARED} - set(found) - rare == set()


def test_an_empty_redis_is_told_in_zeros() -> None:
    found = told()
    assert (found["up"], found["database_up"], found["enqueued"], found["processes"]) == (
        1,
        1,
        0,
        0,
    )
    assert found["utilisation"] == found["processed_total"] == found["refused_total"] == 0
    assert found["outcomes_total"] == dict.fromkeys(OUTCOMES, 0)
    assert "queue_size" not in found


def test_queues_are_told_by_name(inside: Inside) -> None:
    for name in ("low", "low", "high"):
        CountedJob.set(queue=name).perform_async()
    inside.client.sadd(inside.key("paused"), "low", "unheard-of")
    process("h:1:0123456789ab", "low", "idle")
    inside.client.sadd(inside.key("queues"), "idle")
    found = told()
    assert (found["enqueued"], found["queues"]) == (3, 3)
    assert found["queue_size"] == {"low": 2, "high": 1, "idle": 0}
    assert found["queue_paused"] == {"low": 1, "high": 0, "idle": 0}
    assert found["queue_unworked"] == {"low": 0, "high": 1, "idle": 0}
    assert found["queue_latency_seconds"]["low"] >= 0
    assert found["queue_latency_seconds"]["idle"] == 0


def test_sets_totals_and_held_jobs_are_told(inside: Inside) -> None:
    for name, count in (("schedule", 1), ("retry", 2), ("dead", 3), ("jq:held:A", 4)):
        for number in range(count):
            inside.put(name, b"%d" % number, 1)
    inside.client.sadd(inside.key("jq:held"), "A")
    inside.client.set(inside.key("stat:processed"), 12)
    inside.client.set(inside.key("stat:failed"), 5)
    inside.client.hset(
        inside.key("jq:counters"), mapping={"refused": 7, "recovered": 8, "made_up": 9}
    )
    found = told()
    assert (found["scheduled"], found["retries"], found["dead"]) == (1, 2, 3)
    assert found["held"] == {"A": 4}
    assert [found[f"{name}_total"] for name in ("processed", "failed", "refused")] == [12, 5, 7]
    assert found["outcomes_total"]["recovered"] == 8
    assert "made_up" not in found["outcomes_total"]


def test_processes_are_told_each_and_together() -> None:
    process("h:1:0123456789ab", busy=3, rss=10, quiet="false")
    process("h:2:0123456789ab", busy=1, rss=20, quiet="true")
    found = told()
    assert (found["processes"], found["processes_quiet"]) == (2, 1)
    assert (found["busy"], found["concurrency"], found["utilisation"]) == (4, 8, 0.5)
    assert found["process_busy"] == {"h:1:0123456789ab": 3, "h:2:0123456789ab": 1}
    assert found["process_rss_bytes"]["h:2:0123456789ab"] == 20 * 1024


def test_kill_switches_are_told_with_the_share_that_they_stop() -> None:
    assert told()["kill_switch"]["disable_counted_job"] == 0
    states = {"disable_counted_job": State.partial(30).encode(), "disable_gone": ON.encode()}
    store().switches.replace("", states)
    found = told()
    assert found["kill_switches_on"] == 2
    assert found["kill_switch"]["disable_counted_job"] == 0.3
    assert found["kill_switch"]["disable_gone"] == 1


def test_classes_are_compared_over_the_last_full_minutes(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = freeze(monkeypatch)
    clock.now = 1_700_000_030.0
    for _ in range(2):  # one in each of two minutes
        store().metrics.add({"A": Counts(2, 500, (3, *[0] * (BUCKETS - 1)))})
        clock.now += 60
    store().metrics.add({"A": Counts(100, 0, (0,) * BUCKETS)})  # this minute is not over
    found = told()
    assert [found[f"recent_{what}"] for what in ("attempts", "failures", "seconds")] == [
        {"A": 10}, {"A": 4}, {"A": 1.0},
    ]  # fmt: skip
    clock.now += 300
    assert told()["recent_attempts"] == {"A": 100}


def test_reconcilers_are_told_from_the_database() -> None:
    name = wire_name(HealCounted)
    found = told()
    assert found["reconciler_last_success_timestamp_seconds"] == {name: 0}
    assert found["reconciler_period_seconds"] == {name: 600}
    assert found["reconciler_objective_seconds"] == {name: 300}
    assert "reconciler_oldest_pending_seconds" not in found
    ReconcilerState.objects.create(
        name=name, status="failed", succeeded_at=datetime(2027, 1, 1, tzinfo=UTC), found=5,
        pushed=2, skips=1, oldest_pending=7.5,
    )  # fmt: skip
    Schedule.objects.create(name=f"{__name__}.HealCounted", paused=True)
    found = {key: value[name] for key, value in told().items() if key.startswith("reconciler_")}
    assert found == {
        "reconciler_last_success_timestamp_seconds": 1_798_761_600,
        "reconciler_period_seconds": 600,
        "reconciler_paused": 1,
        "reconciler_failing": 1,
        "reconciler_skips": 1,
        "reconciler_found": 5,
        "reconciler_pushed": 2,
        "reconciler_oldest_pending_seconds": 7.5,
        "reconciler_objective_seconds": 300,
    }


def test_a_redis_that_is_away_is_told_and_the_database_is_read(
    jobqueue_settings: JobqueueSettings, caplog: pytest.LogCaptureFixture
) -> None:
    jobqueue_settings(REDIS_URL=NOWHERE, RECONCILERS={f"{__name__}.HealCounted": {"every": "10m"}})
    with caplog.at_level(logging.WARNING):
        found = told()
    assert (found["up"], found["database_up"]) == (0, 1)
    assert "enqueued" not in found
    assert "reconciler_period_seconds" in found
    assert "127.0.0.1:1" in caplog.text
    assert "a-secret" not in caplog.text


def test_settings_that_are_wrong_are_no_reason_to_raise(
    jobqueue_settings: JobqueueSettings,
) -> None:
    jobqueue_settings(CONCURRENCY="many")
    found = told()
    assert (found["up"], found["database_up"]) == (0, 0)


def test_a_database_that_is_away_is_told_and_redis_is_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*args: object, **kwargs: object) -> None:
        raise DatabaseError("gone")

    monkeypatch.setattr(QuerySet, "in_bulk", fail)
    found = told()
    assert (found["up"], found["database_up"], found["enqueued"]) == (1, 0, 0)


def test_a_key_of_a_wrong_type_costs_its_own_part_only(inside: Inside) -> None:
    CountedJob.perform_async()
    inside.client.set(inside.key("jq:switches"), "no hash")
    found = told()
    assert (found["up"], found["enqueued"]) == (0, 1)
    assert "kill_switch" not in found
    assert "redis_memory_bytes" in found


def test_a_queue_that_is_none_is_told_and_costs_nothing(inside: Inside) -> None:
    CountedJob.perform_async()
    inside.client.sadd(inside.key("queues"), "odd")
    inside.client.set(inside.key("queue:odd"), "no list")
    found = told()
    assert (found["up"], found["broken_keys"], found["enqueued"]) == (1, 1, 1)


def test_the_server_is_told(private_redis: Callable[..., RedisServer], settings: Any) -> None:
    server = private_redis(maxmemory="64mb", maxmemory_policy="allkeys-lru")
    settings.JOBQUEUE = {"REDIS_URL": server.url}
    found = told()
    assert found["redis_memory_limit_bytes"] == 64 * 1024 * 1024
    assert 0 < found["redis_memory_bytes"] <= found["redis_memory_peak_bytes"]
    assert found["redis_evicts"] == 1
    assert found["redis_clients"] >= 1


def test_what_it_costs_does_not_grow_with_what_there_is(
    inside: Inside, count_round_trips: Callable[[], int], django_assert_num_queries: Any
) -> None:
    process("h:0:0123456789ab", busy=1)
    told()
    count_round_trips()
    with django_assert_num_queries(2):
        told()
    few = count_round_trips()
    for number in range(50):
        CountedJob.set(queue=f"q{number}").perform_async()
        process(f"h:{number}:0123456789ab", busy=1)
        inside.client.sadd(inside.key("jq:held"), f"C{number}")
    told()  # meets the new ones
    count_round_trips()
    with django_assert_num_queries(2):
        text = exposition(read_figures())
    assert count_round_trips() == few <= 8
    assert text.count("jobqueue_queue_size{") == 50
