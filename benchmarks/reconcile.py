"""Reconcile: how fast a reconciler finds what is missing, and brings it back."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator
from typing import Any

import redis
from django.db import connection

from benchmarks import machine
from benchmarks.database import real_database
from benchmarks.enqueue import PAGE, QUEUE, pushed
from benchmarks.jobs import ScheduleUnique, Unique
from benchmarks.models import Order
from benchmarks.race import Figures, Race
from benchmarks.server import Server
from django_jobqueue.connection import store
from django_jobqueue.payload import Payload
from django_jobqueue.reconciliation.run import reconcile
from django_jobqueue.store.locks import lock_of
from django_jobqueue.store.queues import Push

#: One row in so many is pending.
SHARE = 10

#: Idle ticks of one run.
IDLE_TICKS = 20


def measure(server: Server, rows: int, rounds: int) -> list[Race]:
    """Race a tick against its queries and pushes alone, and time one that finds nothing."""
    with server.client() as client, real_database() as database:
        title = f"{database}, {rows:,} rows with a partial index"
        _fill(rows)
        client.flushall()
        return [_busy(client, rows // SHARE, rounds, title), _idle(client, rounds, title)]


def _busy(client: redis.Redis, pending: int, rounds: int, title: str) -> Race:
    # The first one of this process: nothing else has made room in its memory yet.
    grown = _tick(pending)
    made = pushed(client, pending)
    ready = [Push(Unique.queue, raw, lock=lock_of(Payload.decode(raw))) for raw in made]
    gc.freeze()  # no process has those, and the collector would look through them again and again

    def tick() -> Figures:
        client.flushall()
        return _tick(pending)

    def alone(push: Callable[[slice, list[int]], object]) -> Figures:
        client.flushall()
        figures = _timed(
            lambda: [push(slice(n * PAGE, (n + 1) * PAGE), keys) for n, keys in enumerate(_keys())]
        )
        pushed(client, pending)
        return figures

    ours, bulk = "tick", "queries and perform_bulk"
    bare, locked = "queries and LPUSH of ready-made bytes", "queries and unique push of the same"
    race = Race.run(
        "reconcile",
        f"{title}, {pending:,} are pending",
        {
            ours: tick,
            bare: lambda: alone(lambda at, _: client.lpush(QUEUE, *made[at])),
            locked: lambda: alone(lambda at, _: store().queues.push_unique(ready[at])),
            bulk: lambda: alone(lambda _, keys: Unique.perform_bulk([(key,) for key in keys])),
        },
        rounds,
    )
    race.compare(ours, bare, "s", goal=2.0, bound="most")
    race.compare(ours, locked, "s", goal=2.0, bound="most")
    race.compare(ours, bulk, "s")
    race.compare(ours, bulk, "CPU s")
    race.hold_to(ours, "RSS +MB", goal=50.0, bound="most")
    race.notes.append(
        f"the first tick of the process: RSS +{grown['RSS +MB']:.1f} MB, "
        f"{grown['late RSS +MB']:.1f} of it behind the first tenth of its pages"
    )
    return race


def _idle(client: redis.Redis, rounds: int, title: str) -> Race:
    Order.objects.filter(state="pending").update(state="done")
    _settle()
    client.flushall()

    def ticks() -> Figures:
        queries = Queries()
        with connection.execute_wrapper(queries):
            figures = _timed(lambda: [_tick(0) for _ in range(IDLE_TICKS)])
        return {
            "database ms": queries.seconds / IDLE_TICKS * 1000,
            "queries": queries.count / IDLE_TICKS,
            "ms": figures["s"] / IDLE_TICKS * 1000,
            "CPU ms": figures["CPU s"] / IDLE_TICKS * 1000,
        }

    race = Race.run("reconcile-idle", f"{title}, none is pending", {"tick": ticks}, rounds)
    race.hold_to("tick", "database ms", goal=10.0, bound="most")
    return race


class Queries:
    """Counts the queries of a connection, and their seconds."""

    def __init__(self) -> None:
        self.count = 0
        self.seconds = 0.0

    def __call__(self, execute: Callable[..., Any], *arguments: Any) -> Any:
        """Run one."""
        began = time.perf_counter()
        try:
            return execute(*arguments)
        finally:
            self.count += 1
            self.seconds += time.perf_counter() - began


def _tick(pending: int) -> Figures:
    """Run a tick that finds so many rows, and look at our memory between its pages."""
    sizes = [machine.resident()]

    def look() -> bool:
        sizes.append(machine.resident())
        return False

    plan = ScheduleUnique().plan()
    began, used = time.perf_counter(), time.process_time()
    report = reconcile(plan, halted=look)
    took, used = time.perf_counter() - began, time.process_time() - used
    if report.pushed != pending:
        raise RuntimeError(f"{pending} rows are pending, and the tick says {report}")
    sizes.append(machine.resident())
    return {
        "s": took,
        "CPU s": used,
        "RSS +MB": max(sizes) - sizes[0],
        "late RSS +MB": max(sizes) - sizes[1 + len(sizes) // 10],
    }


def _keys() -> Iterator[list[int]]:
    """Yield the keys of the pending rows by pages, as barely as Django can."""
    rows = Order.objects.filter(state="pending").order_by("pk").values_list("pk", flat=True)
    page = list(rows[:PAGE])
    while page:
        yield page
        page = list(rows.filter(pk__gt=page[-1])[:PAGE])


def _timed(call: Callable[[], object]) -> Figures:
    began, used = time.perf_counter(), time.process_time()
    call()
    return {"s": time.perf_counter() - began, "CPU s": time.process_time() - used}


def _fill(rows: int) -> None:
    """Make the rows where they are to be: none of them passes through this process."""
    with connection.cursor() as cursor:
        cursor.execute(
            "WITH RECURSIVE number(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number"  # noqa: S608
            f" WHERE n < %s) INSERT INTO {Order._meta.db_table} (state) SELECT"
            " CASE WHEN n %% %s = 0 THEN 'pending' ELSE 'done' END FROM number",
            [rows, SHARE],
        )
    _settle()


def _settle() -> None:
    """Let the database know its table, as it does after a while."""
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE" if connection.vendor == "sqlite" else "VACUUM ANALYZE")
