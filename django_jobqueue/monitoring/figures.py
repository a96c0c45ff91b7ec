"""Read what the figures are made of, each part for itself: one that fails costs no other."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError, InterfaceError
from django.utils import timezone

from django_jobqueue import clock, connection
from django_jobqueue.api.metrics import Metrics
from django_jobqueue.api.processes import ProcessSet
from django_jobqueue.api.server import Server
from django_jobqueue.api.stats import Stats
from django_jobqueue.exceptions import JobQueueError, StoreUnavailable
from django_jobqueue.job.declaration import wire_name
from django_jobqueue.job.options import to_seconds
from django_jobqueue.job.registry import registry
from django_jobqueue.models import ReconcilerState
from django_jobqueue.monitoring.families import Figures
from django_jobqueue.reconciliation.pairs import pairs
from django_jobqueue.reconciliation.report import RunStatus
from django_jobqueue.scheduling import slots
from django_jobqueue.switches.naming import flag_names
from django_jobqueue.switches.seldom import Seldom
from django_jobqueue.switches.state import OFF, State

logger = logging.getLogger("django_jobqueue.monitoring")

#: What becomes of jobs besides success and failure: the other totals that workers keep.
OUTCOMES = (
    "back", "discarded", "dropped", "expired", "fenced", "forget", "held", "recovered", "skipped",
    "snooze",
)  # fmt: skip

#: Full minutes over which classes are compared. The present one is not over.
RECENT = 5

_redis_trouble = Seldom(logger)
_database_trouble = Seldom(logger)


def read_figures() -> Figures:
    """
    Return everything, as it stands now.

    Some six round trips to Redis and two queries, however much waits. Raises
    nothing where Redis, the database or the settings are at fault: ``up`` or
    ``database_up`` is 0 then, and there is what could be read. Once Redis is known to be
    away it is not asked again.
    """
    began = clock.monotonic()
    figures = Figures()
    figures.set("up", _read_redis(figures))
    figures.set("database_up", _read_database(figures))
    figures.set("scrape_seconds", clock.monotonic() - began)
    return figures


def _read_redis(figures: Figures) -> bool:
    is_up = True
    for part in _PARTS:
        try:
            part(figures)
        except (JobQueueError, ImproperlyConfigured) as error:
            _redis_trouble.warn("Redis cannot be read for the metrics: %s", error)
            is_up = False
            if not isinstance(error, JobQueueError) or isinstance(error, StoreUnavailable):
                break
    return is_up


def _read_database(figures: Figures) -> bool:
    try:
        _read_reconcilers(figures)
    except (DatabaseError, InterfaceError, ImproperlyConfigured) as error:
        _database_trouble.warn("The reconcilers cannot be read for the metrics: %s", error)
        return False
    return True


# Redis ----------------------------------------------------------------------------


def _read_overview(figures: Figures) -> None:
    stats = Stats()
    counters = stats.counters
    for name in ("processed", "failed", "refused"):
        figures.set(f"{name}_total", counters.get(name, 0))
    for name in OUTCOMES:  # from the first scrape on: a rate wants to see the 0 before the 1
        figures.set("outcomes_total", counters.get(name, 0), name)
    figures.set("enqueued", stats.enqueued)
    figures.set("scheduled", stats.scheduled)
    figures.set("retries", stats.retries)
    figures.set("dead", stats.dead)
    for name, count in stats.held_by_class.items():
        figures.set("held", count, name)
    _read_queues(figures, stats)


def _read_queues(figures: Figures, stats: Stats) -> None:
    sizes, latencies, unworked = stats.queues, stats.latencies, set(stats.unworked)
    figures.set("queues", len(sizes))
    figures.set("broken_keys", len(stats.broken_keys))
    for name, size in sizes.items():  # the fullest first: those are told in any case
        figures.set("queue_size", size, name)
        figures.set("queue_latency_seconds", latencies[name], name)
        figures.set("queue_paused", name in stats.paused, name)
        figures.set("queue_unworked", name in unworked, name)


def _read_processes(figures: Figures) -> None:
    busy = concurrency = quiet = count = 0
    for process in ProcessSet():
        count += 1
        busy += process.busy
        concurrency += process.concurrency
        quiet += process.is_quiet
        figures.set("process_busy", process.busy, process.identity)
        figures.set("process_concurrency", process.concurrency, process.identity)
        figures.set("process_rss_bytes", process.rss, process.identity)
    figures.set("processes", count)
    figures.set("processes_quiet", quiet)
    figures.set("busy", busy)
    figures.set("concurrency", concurrency)
    figures.set("utilisation", min(busy, concurrency) / concurrency if concurrency else 0.0)


def _read_classes(figures: Figures) -> None:
    report = Metrics().top_jobs(minutes=RECENT + 1)
    for name, job in report.jobs.items():
        past = job.series[:-1]
        figures.set("recent_attempts", sum(each.processed for each in past), name)
        figures.set("recent_failures", sum(each.failed for each in past), name)
        figures.set("recent_seconds", sum(each.seconds for each in past), name)


def _read_switches(figures: Figures) -> None:
    states = {flag_names(cls)[0]: OFF for cls in registry().classes()}
    for flag, text in (connection.store().switches.read() or {}).items():
        try:
            states[flag] = State.decode(text)
        except ValueError:
            continue  # no state of ours; those who obey it say so
    figures.set("kill_switches_on", sum(not state.is_off for state in states.values()))
    # Those that are on first: they are told in any case.
    for flag, state in sorted(states.items(), key=lambda each: (each[1].is_off, each[0])):
        figures.set("kill_switch", state.per_mille / 1000, flag)


def _read_server(figures: Figures) -> None:
    facts = Server().facts()
    for name, value in (
        ("redis_memory_bytes", facts.used_memory),
        ("redis_memory_peak_bytes", facts.peak_memory),
        ("redis_memory_limit_bytes", facts.max_memory),
        ("redis_uptime_seconds", facts.uptime),
        ("redis_clients", facts.clients),
    ):
        if value is not None:  # a managed server keeps some to itself
            figures.set(name, value)
    figures.set("redis_evicts", facts.evicts)


_PARTS: tuple[Callable[[Figures], None], ...] = (
    _read_overview, _read_processes, _read_switches, _read_classes, _read_server,
)  # fmt: skip


# The database ---------------------------------------------------------------------


def _read_reconcilers(figures: Figures) -> None:
    listed = pairs()
    if not listed:
        return
    states = ReconcilerState.objects.in_bulk(
        [wire_name(pair.reconciler) for pair in listed], field_name="name"
    )
    rows = slots.rows(pair.timetable.name for pair in listed)
    for pair in listed:
        name = wire_name(pair.reconciler)
        row = rows.get(pair.timetable.name)
        figures.set("reconciler_period_seconds", pair.timetable.period, name)
        figures.set("reconciler_paused", row is not None and row.paused, name)
        objective = pair.reconciler.heal_within
        if objective is not None:
            figures.set("reconciler_objective_seconds", to_seconds(objective), name)
        _tell(figures, name, states.get(name) or ReconcilerState(name=name))


def _tell(figures: Figures, name: str, state: ReconcilerState) -> None:
    success = _epoch(state.succeeded_at)
    figures.set("reconciler_last_success_timestamp_seconds", success, name)
    figures.set("reconciler_failing", state.status == RunStatus.FAILED, name)
    figures.set("reconciler_skips", state.skips, name)
    figures.set("reconciler_found", state.found, name)
    figures.set("reconciler_pushed", state.pushed, name)
    if state.oldest_pending is not None:
        figures.set("reconciler_oldest_pending_seconds", state.oldest_pending, name)


def _epoch(moment: datetime | None) -> float:
    if moment is None:
        return 0.0
    return (moment if settings.USE_TZ else timezone.make_aware(moment)).timestamp()
