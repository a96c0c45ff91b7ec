"""What the shop did until now: counters, times, deploys, and what its switches refused."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import redis

from django_jobqueue import clock
from django_jobqueue.api import Metrics
from django_jobqueue.connection import store
from django_jobqueue.store.keys import Keys
from django_jobqueue.store.metrics import BUCKETS, LIMITS, Counts
from django_jobqueue.store.tally import DROPPED, REFUSED

#: Of each class its jobs a minute, the bucket of the usual time, and the share that fails.
PACE = {
    "shop.jobs.SendInvoice": (46, 7, 0.004),
    "shop.jobs.ChargeCard": (31, 10, 0.03),
    "shop.jobs.SyncStock": (88, 8, 0.02),
    "shop.jobs.ResizeImages": (12, 15, 0.01),
    "shop.jobs.SendDigest": (24, 5, 0.0),
    "shop.jobs.RebuildIndex": (2, 18, 0.0),
}

#: Minutes that the kill switch has been on, and that the warehouse had been failing before.
STOPPED, FAILING = 23, 9

#: Minutes and days that are filled.
MINUTES, DAYS = 8 * 60, 190

#: What was deployed how many minutes ago.
DEPLOYS = {52: "v4.18.0", 203: "v4.17.3", 391: "v4.17.2"}


def fill(client: redis.Redis, keys: Keys, chance: random.Random) -> None:
    """Write the counters of the last hours and days."""
    for ago in range(MINUTES):
        with _then(60 * ago):
            store().metrics.add(_minute(ago, chance))
            if 0 < ago <= STOPPED:
                store().tally.add(REFUSED, {"shop.jobs.SyncStock": chance.randint(74, 101)})
    with _then(60 * 5):
        store().tally.add(DROPPED, {"shop.jobs.ResizeImages": 3})
    now = datetime.fromtimestamp(clock.now(), UTC)
    for ago, label in DEPLOYS.items():
        Metrics().mark(label, now - timedelta(minutes=ago))
    _fill_days(client, keys, chance, now)


def go_on(since: float, chance: random.Random) -> None:
    """Count what was done in the minutes that have begun since a moment."""
    for ago in range(int(clock.now() // 60 - since // 60)):
        with _then(60 * ago):
            store().metrics.add(_minute(0, chance))


def tick(client: redis.Redis, keys: Keys, done: int, failed: int) -> None:
    """Count some more jobs, as workers do."""
    day = clock.utc_day()
    with client.pipeline() as pipe:
        for key in (keys.processed, keys.processed_on(day)):
            pipe.incrby(key, done)
        for key in (keys.failed, keys.failed_on(day)):
            pipe.incrby(key, failed)
        pipe.execute()


def _minute(ago: int, chance: random.Random) -> dict[str, Counts]:
    counts = {name: _counts(name, ago, chance) for name in PACE}
    return {name: each for name, each in counts.items() if each.processed}


def _counts(name: str, ago: int, chance: random.Random) -> Counts:
    pace, bucket, failing = PACE[name]
    if name == "shop.jobs.SyncStock":
        if ago <= STOPPED:
            return Counts(0, 0, (0,) * BUCKETS)
        if ago <= STOPPED + FAILING:
            failing = 0.72
    wave = 1 + 0.3 * math.sin(ago / 37) + 0.15 * math.sin(ago / 5)
    done = max(round(chance.gauss(pace * wave, pace / 9)), 0)
    failed = sum(chance.random() < failing for _ in range(done))
    histogram = [0] * BUCKETS
    for _ in range(done - failed):
        histogram[min(max(round(chance.gauss(bucket, 1.3)), 0), len(LIMITS) - 1)] += 1
    took = sum(0.8 * LIMITS[at] * count for at, count in enumerate(histogram[:-1]))
    return Counts(failed, round(took), tuple(histogram))


def _fill_days(client: redis.Redis, keys: Keys, chance: random.Random, now: datetime) -> None:
    totals = [0, 0]
    with client.pipeline() as pipe:
        for ago in range(DAYS):
            at = now - timedelta(days=ago)
            weekly = 0.45 if at.weekday() >= 5 else 1.0
            whole = (now.hour + 0.5) / 24 if ago == 0 else 1.0
            done = round(chance.gauss(286_000, 17_000) * weekly * whole)
            counts = (done, round(done * chance.uniform(0.008, 0.02)))
            if ago == 3:  # an evening that people still talk about
                counts = (done, round(done * 0.11))
            named = (keys.processed_on, keys.failed_on)
            for at_total, (count, name) in enumerate(zip(counts, named, strict=True)):
                totals[at_total] += count
                pipe.set(name(at.strftime("%Y-%m-%d")), count)
        pipe.set(keys.processed, totals[0])
        pipe.set(keys.failed, totals[1])
        pipe.execute()


@contextmanager
def _then(ago: float) -> Iterator[None]:
    """Let it be so many seconds earlier for what is counted."""
    real, then = clock.now, clock.now() - ago
    clock.now = lambda: then
    try:
        yield
    finally:
        clock.now = real
