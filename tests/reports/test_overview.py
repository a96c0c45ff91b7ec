"""Everything at a glance, and the queues."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from django_jobqueue.api import Queue
from django_jobqueue.connection import store
from django_jobqueue.reports.overview import overview
from django_jobqueue.reports.queues import queues
from tests.api.samples import enqueue, payload, put, throw
from tests.conftest import JobqueueSettings
from tests.support.inside import Inside, count_round_trips, inside

__all__ = ["count_round_trips", "inside"]


@pytest.fixture(autouse=True)
def _configured(jobqueue_settings: JobqueueSettings) -> None:
    jobqueue_settings()


def work_queue(name: str) -> None:
    """Write the record of a process that works a queue."""
    info = {"hostname": "host", "queues": [name], "concurrency": 10}
    facts: dict[str, str | int | float] = {"info": json.dumps(info), "concurrency": 10, "busy": 3}
    store().processes.record("host:1:0123456789ab", facts, {})


def test_an_empty_redis_is_an_overview_of_zeros() -> None:
    found = overview().as_dict()
    assert found["processed"] == found["enqueued"] == found["dead"] == found["processes"] == 0
    assert (found["queues"], found["broken"], found["unworked"]) == ([], [], [])
    assert found["switches"] is None
    assert (len(found["days"]), len(found["minutes"])) == (7, 60)
    json.dumps(found, allow_nan=False)


def test_the_overview_counts_what_waits_runs_and_is_stopped(inside: Inside) -> None:
    enqueue(payload(1), payload(2))
    put(inside, "schedule", payload(3))
    put(inside, "retry", payload(4), payload(5))
    put(inside, "dead", payload(6))
    work_queue("high")
    throw("on")
    found = overview()
    assert (found.enqueued, found.scheduled, found.retries, found.dead) == (2, 1, 2, 1)
    assert (found.processes, found.busy, found.concurrency) == (1, 3, 10)
    assert found.switches == {"disable_look_job": "on"}
    assert found.unworked == ("low",)


def test_queues_tell_whether_they_move(inside: Inside) -> None:
    enqueue(payload(1), payload(2), queue="low")
    enqueue(payload(3), queue="high")
    Queue("low").pause()
    work_queue("high")
    inside.client.sadd(inside.key("queues"), "odd")
    inside.client.set(inside.key("queue:odd"), "no list")
    low, high, odd = queues().queues
    assert (low.name, low.size, low.paused, low.unworked) == ("low", 2, True, True)
    assert (high.name, high.size, high.paused, high.unworked) == ("high", 1, False, False)
    assert (odd.name, odd.size, odd.broken) == ("odd", 0, True)
    assert overview().broken == ("queue:odd",)


def test_the_overview_takes_two_round_trips_however_much_there_is(
    inside: Inside, count_round_trips: Callable[[], int]
) -> None:
    enqueue(*(payload(n) for n in range(200)))
    overview()
    count_round_trips()
    overview()
    assert count_round_trips() == 2
    queues()
    assert count_round_trips() == 1
