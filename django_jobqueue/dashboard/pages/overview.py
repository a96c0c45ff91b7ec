"""The overview: what is stuck, since when, and what is stopped, before anything is clicked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from django.db import Error as DatabaseFault
from django.http import HttpResponse
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from django_jobqueue import clock
from django_jobqueue.api import Day, Process, Slice, Stats
from django_jobqueue.dashboard.charts import LineChart, Meter, Series, line_chart, meter
from django_jobqueue.dashboard.routes import Page, Route
from django_jobqueue.dashboard.rows import name_of
from django_jobqueue.dashboard.visit import Visit
from django_jobqueue.doctor.words import names
from django_jobqueue.exceptions import InvalidQuery
from django_jobqueue.payload import printable
from django_jobqueue.reports.moments import moment
from django_jobqueue.reports.queues import by_urgency, of_stats
from django_jobqueue.reports.switches import SwitchFacts, switches
from django_jobqueue.switches import flags

#: Days that the history shows: by what is asked for, and what that is called.
SPANS = {
    7: gettext_lazy("week"),
    30: gettext_lazy("month"),
    182: gettext_lazy("half year"),
}

#: Minutes of the chart of the last hour, and the present one, which is not over.
MINUTES = 61

#: The share of attempts that failed in this hour from which on it is an alarm.
ALARMING = 0.1

#: Rows of queues and processes, and banners, that are shown; the tabs have the others.
MOST_QUEUES = 50
MOST_BANNERS = 20
MOST_WORKERS = 20


@dataclass(frozen=True, slots=True)
class Card:
    """A number at a glance: ``tab`` is the route that it leads to, ``css`` how alarming it is."""

    label: str
    number: int
    tab: str
    css: str = ""
    of: int | None = None


@dataclass(frozen=True, slots=True)
class Worker:
    """A process that is alive, as it is shown."""

    name: str
    busy: Meter
    process: Process


@dataclass(frozen=True, slots=True)
class Banner:
    """A kill switch that is on."""

    facts: SwitchFacts
    jobs: str

    @property
    def is_whole(self) -> bool:
        """Whether it refuses every job of its classes."""
        return self.facts.is_on


def _overview(visit: Visit) -> HttpResponse:
    """
    Show everything in one round trip to Redis.

    Only while a kill switch is on there are more, for what it has stopped.
    """
    days = _days(visit)
    stats = Stats(days=days, minutes=MINUTES)
    queues = sorted(of_stats(stats), key=by_urgency)
    processes = stats.process_list
    try:
        banners, untold = _banners(), ""
    except DatabaseFault as error:
        # Who looks for what is stuck still sees what Redis tells.
        banners, untold = [], printable(str(error))[:300]
    return visit.show(
        "overview.html",
        _("Overview"),
        at=f"{clock.now():.3f}",
        stats=stats,
        cards=_cards(stats),
        rows=[(printable(each.name), each) for each in queues[:MOST_QUEUES]],
        more_queues=max(len(queues) - MOST_QUEUES, 0),
        workers=[_worker(each) for each in processes[:MOST_WORKERS]],
        more_workers=max(len(processes) - MOST_WORKERS, 0),
        is_idle=not stats.processes and stats.enqueued > 0,
        banners=banners[:MOST_BANNERS],
        untold=untold,
        broken=names(stats.broken_keys),
        more_banners=max(len(banners) - MOST_BANNERS, 0),
        days=days,
        spans=SPANS.items(),
        hour=_hour(stats.minutes),
        history=_history(stats.days),
    )


def _days(visit: Visit) -> int:
    """Return the days that the address asks for. Raises: InvalidQuery."""
    given = visit.query.get("days", "7")
    if given not in map(str, SPANS):
        raise InvalidQuery("days", given, f"there are {', '.join(map(str, SPANS))}")
    return int(given)


# What is shown -------------------------------------------------------------------


def _cards(stats: Stats) -> list[Card]:
    return [
        Card(_("Processed"), stats.processed, "metrics", "ok"),
        Card(_("Failed"), stats.failed, "errors", "bad" if _fails(stats.minutes) else ""),
        Card(_("Busy"), stats.busy, "busy", of=stats.concurrency),
        Card(_("Enqueued"), stats.enqueued, "queues", "bad" if stats.unworked else ""),
        Card(_("Scheduled"), stats.scheduled, "scheduled"),
        Card(_("Retries"), stats.retries, "retries"),
        Card(_("Held"), stats.held, "held", "warn" if stats.held else ""),
        Card(_("Dead"), stats.dead, "dead", "warn" if stats.dead else ""),
        Card(_("Processes"), stats.processes, "busy", "ok" if stats.processes else "bad"),
    ]


def _fails(minutes: Sequence[Slice]) -> bool:
    """Return whether much failed lately: the total itself only ever grows."""
    failed = sum(part.failed for part in minutes)
    return failed > 0 and failed >= ALARMING * sum(part.processed for part in minutes)


def _worker(process: Process) -> Worker:
    busy = meter(process.busy, process.concurrency, title=_("Busy"))
    return Worker(printable(name_of(process)), busy, process)


def _banners() -> list[Banner]:
    """Return the switches that are on: the whole ones first, and what was thrown last."""
    if not flags.is_installed() or all(state.is_off for state in flags.read_states().values()):
        return []
    thrown = [facts for facts in switches().switches if not facts.is_off]
    thrown.sort(key=lambda facts: facts.since or moment(0), reverse=True)
    thrown.sort(key=lambda facts: not facts.is_on)
    return [Banner(facts, ", ".join(map(printable, facts.names))) for facts in thrown]


def _hour(minutes: Sequence[Slice]) -> LineChart:
    minutes = minutes[:-1]  # half a minute looks as if half of the work had stopped
    labels = [date_format(timezone.localtime(moment(part.at)), "H:i") for part in minutes]
    series = [
        Series(_("processed"), [part.processed for part in minutes], "ok"),
        Series(_("failed"), [part.failed for part in minutes], "bad"),
    ]
    return line_chart(series, labels, title=_("The last hour, each full minute"))


def _history(days: Sequence[Day]) -> LineChart:
    series = [
        Series(_("processed"), [day.processed for day in days], "ok"),
        Series(_("failed"), [day.failed for day in days], "bad"),
    ]
    labels = [date_format(day.day, "M j") for day in days]
    return line_chart(series, labels, title=_("History, each day (UTC)"))


routes: list[Route] = [
    Page("", "overview", _overview),
]
