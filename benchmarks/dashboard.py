"""Dashboard: how long each page takes, and keeps Redis, over a million jobs in each place."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import redis
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from benchmarks.jobs import Unique
from benchmarks.race import Figures, Race
from benchmarks.server import Server
from django_jobqueue.connection import store

#: Jobs written in one command while Redis is filled.
CHUNK = 5_000

#: Kept by Redis as slow: microseconds. All that is slower than this is looked at.
SLOW = 100

#: What every page is held to: its own time, and that of the slowest command that it sends.
PAGE_MS, COMMAND_MS = 100.0, 5.0

#: The same of the commands of a clear.
CLEAR_MS = 50.0

QUEUE = "default"


def measure(server: Server, jobs: int, rounds: int) -> list[Race]:
    """Look at every page as a superuser: what the server takes, without the network."""
    browser = Client()
    browser.force_login(User.objects.create_superuser("benchmark"))
    with server.client() as client:
        client.config_set("slowlog-log-slower-than", SLOW)
        client.config_set("slowlog-max-len", 1000)
        client.flushall()
        few = _race("dashboard-few", 100, client, browser, rounds)
        client.flushall()
        many = _race("dashboard", jobs, client, browser, rounds)
        client.flushall()
        cleared = _clear_race(client, browser, max(jobs // 10, 1), rounds)
    for name in many.runs:
        many.hold_to(name, "ms", goal=None if "search" in name else PAGE_MS, bound="most")
        many.hold_to(name, "slowest command ms", goal=COMMAND_MS, bound="most")
    return [few, many, cleared]


def _race(name: str, jobs: int, client: redis.Redis, browser: Client, rounds: int) -> Race:
    _fill(client, jobs)
    pages = {label: partial(_look, client, browser, path) for label, path in _pages()}
    title = f"{jobs:,} jobs in a queue, as many in the schedule, the retries and the dead set"
    return Race.run(name, title, pages, rounds)


def _clear_race(client: redis.Redis, browser: Client, jobs: int, rounds: int) -> Race:
    """Clear a queue of unique jobs from its page, and work at the order from the page of that."""
    clear = "clear from the page"
    title = f"{jobs:,} unique jobs in a queue"
    race = Race.run(
        "dashboard-clear", title, {clear: lambda: _clear(client, browser, jobs)}, rounds
    )
    race.hold_to(clear, "slowest command ms", goal=CLEAR_MS, bound="most")
    race.hold_to(clear, "locks left", goal=0, bound="most")
    return race


def _clear(client: redis.Redis, browser: Client, jobs: int) -> Figures:
    client.flushall()
    for first in range(0, jobs, CHUNK):
        last = min(first + CHUNK, jobs)
        Unique.perform_bulk([(number,) for number in range(first, last)])
    locks = store().keys.all_locks
    if sum(1 for _ in client.scan_iter(locks, count=10_000)) != jobs:
        raise RuntimeError("not every job has its lock")
    client.slowlog_reset()
    began = time.perf_counter()
    form = {"of": QUEUE, "confirm": QUEUE}
    order = browser.post(reverse("admin:jobqueue_queues_clear"), form)["Location"]
    run = reverse("admin:jobqueue_bulk_delete_run")
    while client.llen(store().keys.queue(QUEUE)):
        browser.post(run, {"id": order.partition("id=")[2], "next": order})
    took = time.perf_counter() - began
    slow: list[dict[str, Any]] = client.slowlog_get(1000)
    return {
        "jobs/s": jobs / took,
        "slowest command ms": max((entry["duration"] for entry in slow), default=0) / 1000,
        "locks left": float(sum(1 for _ in client.scan_iter(locks, count=10_000))),
    }


def _pages() -> Iterator[tuple[str, str]]:
    for name in (
        "overview", "switches", "retries", "scheduled", "dead", "held", "queues", "reconcilers",
        "busy", "metrics", "errors", "locks", "server", "bulk",
    ):  # fmt: skip
        yield name, reverse(f"admin:jobqueue_{name}")
    queue = reverse("admin:jobqueue_queues_queue")
    yield "one queue", f"{queue}?of={QUEUE}"
    yield "one queue, its middle", f"{queue}?of={QUEUE}&start=500000"
    dead = reverse("admin:jobqueue_dead")
    yield "dead, deep inside", f"{dead}?start=500000"
    yield "dead, a search", f"{dead}?text=in-no-job-at-all"
    yield "what to order", reverse("admin:jobqueue_bulk_new") + "?verb=retry&place=dead"
    yield "one switch", reverse("admin:jobqueue_switches_one") + "?flag=disable_no_op"


def _look(client: redis.Redis, browser: Client, path: str) -> Figures:
    client.slowlog_reset()
    began = time.perf_counter()
    answer = browser.get(path)
    took = time.perf_counter() - began
    if answer.status_code != 200:
        raise RuntimeError(f"{path} answers {answer.status_code}")
    slow: list[dict[str, Any]] = client.slowlog_get(1000)
    return {
        "ms": took * 1000,
        "slowest command ms": max((entry["duration"] for entry in slow), default=0) / 1000,
    }


def _fill(client: redis.Redis, jobs: int) -> None:
    keys, now = store().keys, time.time()
    client.sadd(keys.queues, QUEUE)
    for first in range(0, jobs, CHUNK):
        raws = [_job(number, now) for number in range(first, min(first + CHUNK, jobs))]
        pipe = client.pipeline(transaction=False)
        pipe.lpush(keys.queue(QUEUE), *raws)
        for offset, name in ((3600, "schedule"), (600, "retry"), (-9e6, "dead")):
            scores = {raw: now + offset + first + at for at, raw in enumerate(raws)}
            pipe.zadd(keys.sorted_set(name), scores)
        pipe.execute()


def _job(number: int, now: float) -> bytes:
    failed = {
        "error_class": f"Error{number % 7}", "error_message": f"order {number} is not there",
        "failed_at": int(now * 1000), "retry_count": number % 25,
    }  # fmt: skip
    return json.dumps(
        {
            "class": "benchmarks.jobs.NoOp", "args": [number], "jid": f"{number:024x}",
            "queue": QUEUE, "retry": 25, "created_at": int(now * 1000),
            "enqueued_at": int(now * 1000), **failed,
        }
    ).encode()  # fmt: skip
