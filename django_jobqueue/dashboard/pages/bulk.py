"""Actions on all that match: what was ordered, how far it is, and the ways to stop and to hurry."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpResponse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from django_jobqueue import bulk, clock, redaction
from django_jobqueue.api import Filter, ProcessSet
from django_jobqueue.bulk import Order, Standing, Verb, place_of
from django_jobqueue.bulk.jobs import BulkAction
from django_jobqueue.client.results import Status
from django_jobqueue.conf import get_settings
from django_jobqueue.dashboard.asked import filter_of
from django_jobqueue.dashboard.charts import Meter, meter
from django_jobqueue.dashboard.routes import Act, Done, Page, Route
from django_jobqueue.dashboard.rows import Row, list_of, rows_of
from django_jobqueue.dashboard.verbs import DEEDS, Deed, reason_of
from django_jobqueue.dashboard.visit import Refused, Visit
from django_jobqueue.exceptions import InvalidQuery
from django_jobqueue.payload import printable
from django_jobqueue.permissions import Permission
from django_jobqueue.reports.samples import sample

#: Entries that an estimate reads, and those of them that are shown.
SAMPLE, SHOWN = 500, 10

#: Seconds that a request works where no worker does it.
SLICE = 5.0


@dataclass(frozen=True, slots=True)
class Estimate:
    """How many jobs an order means: counted where ``is_exact``, else from a sample."""

    count: int
    size: int
    looked_at: int
    is_exact: bool
    rows: list[Row]


@dataclass(frozen=True, slots=True)
class Line:
    """An order as a list shows it."""

    id: str
    url: str
    verb: str
    place: str
    filter: str
    actor: str
    asked_at: float
    state: str
    standing: Standing
    bar: Meter


# Before it is ordered ----------------------------------------------------------------


def _new(visit: Visit) -> HttpResponse:
    """Ask whether to do it to all that match, with about how many those are, and some of them."""
    deed = _deed(visit.query.get("verb", ""))
    order = _wanted(visit, deed, visit.query)
    place, wanted = order.place, order.filter
    may = visit.may(deed.needs) and visit.may(order.permission)
    estimate = _estimate(visit, order)
    limit = get_settings().dead_max_entries
    return visit.show(
        "bulk_new.html",
        _("%(verb)s: all that match") % {"verb": deed.label},
        deed=deed,
        place=place,
        place_name=printable(place),
        filter_told=_shown_filter(visit, wanted),
        # As texts: a template would write numbers as the language does.
        given={name: str(value) for name, value in wanted.as_dict().items()},
        estimate=estimate,
        may=may,
        needs=order.permission,
        cancel=list_of(visit, place),
        url=visit.url(f"bulk_{deed.verb.value}_ask"),
        overflows=limit if deed.verb is Verb.KILL and estimate.count > limit else 0,
        is_worked=_is_worked(),
        queue=BulkAction.queue,
    )


def _estimate(visit: Visit, order: Order) -> Estimate:
    jobs = place_of(order.place)
    size = len(jobs)
    seen = sample(jobs, SAMPLE)
    matching = [
        entry
        for entry in seen
        if order.means(entry) and redaction.holds_as_shown(entry, order.filter)
    ]
    rows = rows_of(visit, order.place, matching[:SHOWN])
    if order.filter.is_empty:
        return Estimate(size, size, len(seen), True, rows)
    if len(seen) >= size:
        return Estimate(len(matching), size, len(seen), True, rows)
    share = len(matching) / len(seen) if seen else 0.0
    return Estimate(round(share * size), size, len(seen), False, rows)


def _ask(visit: Visit, *, deed: Deed) -> Done:
    order = _wanted(visit, deed, visit.form)
    if not visit.may(order.permission):
        raise PermissionDenied(_("You need the permission “%s”.") % order.permission.label)
    if deed.typed:
        visit.require_typed(deed.verb.value)
    estimate = _estimate(visit, order)
    made = bulk.ask(order)
    told = ngettext(
        "Ordered: “%(verb)s” for about %(n)d job. %(filter)s",
        "Ordered: “%(verb)s” for about %(n)d jobs. %(filter)s",
        estimate.count,
    )
    return Done(
        told % {"verb": deed.label, "n": estimate.count, "filter": _written(order.filter)},
        f"{order.place}: {_written(order.filter)}",
        estimate.count,
        removes=deed.removes,
        to=visit.url("bulk_order", id=made),
    )


def _wanted(visit: Visit, deed: Deed, given: Mapping[str, str]) -> Order:
    """Return the order that is asked for, as of now. Raises: InvalidQuery, PermissionDenied."""
    wanted = filter_of(visit, given)
    return Order(deed.verb, given.get("place", ""), wanted, visit.actor, clock.now())


# What was ordered ----------------------------------------------------------------------


def _bulk(visit: Visit) -> HttpResponse:
    lines = [_line(visit, each) for each in bulk.recent(50)]
    return visit.show(
        "bulk.html", _("Bulk actions"), lines=lines,
        waits=_waits(lines), queue=BulkAction.queue,
    )  # fmt: skip


def _order(visit: Visit) -> HttpResponse:
    found = bulk.standing(visit.query.get("id", ""))
    if found is None:
        raise Http404
    line, deed = _line(visit, found), DEEDS[found.order.verb]
    verb, stayed = found.order.verb.value, _stayed(found)
    return visit.show(
        "bulk_order.html",
        _("%(verb)s: all that match") % {"verb": deed.label},
        line=line,
        standing=found,
        stayed=stayed,
        told=deed.told(found.done) % {"n": found.done} if found.done else "",
        error=printable(found.error),
        waits=_waits([line]),
        queue=BulkAction.queue,
        may=visit.may(deed.needs),
        needs=deed.needs.value,
        stop=f"bulk_{verb}_stop",
        run=f"bulk_{verb}_run",
    )


def _line(visit: Visit, found: Standing) -> Line:
    order = found.order
    return Line(
        found.id,
        visit.url("bulk_order", id=found.id),
        str(DEEDS[order.verb].label),
        printable(order.place),
        _shown_filter(visit, order.filter),
        printable(order.actor),
        order.asked_at,
        found.state,
        found,
        meter(found.looked_at, found.total, title=_("Looked at")),
    )


def _shown_filter(visit: Visit, wanted: Filter) -> str:
    return printable(str(wanted)) if visit.may(Permission.VIEW_ARGUMENTS) else _written(wanted)


def _written(wanted: Filter) -> str:
    """Return a filter as everybody may read it: a text that is sought may be of arguments."""
    if not wanted.text:
        return printable(str(wanted))
    rest = replace(wanted, text="")
    told = _("with a certain text")
    return told if rest.is_empty else printable(f"{rest}, {told}")


def _stayed(found: Standing) -> list[tuple[str, int]]:
    """Return why jobs that matched stayed where they were, and how many."""
    reasons = (
        (found.gone, reason_of(Status.GONE)),
        (found.disabled, reason_of(Status.DISABLED)),
        (found.refused, reason_of(Status.REFUSED)),
        (found.duplicates, reason_of(Status.DUPLICATE)),
        (found.failed, _("middleware or Redis refused it: see the log")),
    )
    return [(why, count) for count, why in reasons if count]


def _waits(lines: list[Line]) -> bool:
    """Return whether one of these waits and no worker takes it."""
    return any(line.state == "waiting" for line in lines) and not _is_worked()


def _is_worked() -> bool:
    queue = BulkAction.queue
    return any(queue in process.queues and not process.is_quiet for process in ProcessSet())


# Stop and hurry --------------------------------------------------------------------------


def _stop(visit: Visit, *, deed: Deed) -> Done:
    found = _mine(visit, deed)
    if not bulk.stop(found.id):
        raise Refused(_("Nothing was done: this action is over."))
    return Done(
        _("It stops after the jobs that it is at. What it has done until then stays done."),
        f"bulk {found.id}",
    )


def _run(visit: Visit, *, deed: Deed) -> Done:
    found = _mine(visit, deed)
    if found.is_over:
        raise Refused(_("Nothing was done: this action is over."))
    before = found.done
    after = bulk.run_here(found.id, SLICE)
    done = max(0, after.done - before)
    return Done(
        ngettext("%(n)d job more is done.", "%(n)d jobs more are done.", done) % {"n": done},
        f"bulk {found.id}",
        done,
        level=messages.SUCCESS if after.is_over else messages.INFO,
        removes=deed.removes,
    )


def _mine(visit: Visit, deed: Deed) -> Standing:
    """Return the order that the form names, if it is one of this verb. Raises: Refused."""
    found = bulk.standing(visit.form.get("id", ""))
    if found is None or found.order.verb is not deed.verb:
        raise Refused(_("Nothing was done: there is no such action any more."))
    return found


# What was asked for ------------------------------------------------------------------------


def _deed(verb: str) -> Deed:
    found = {deed.verb.value: deed for deed in DEEDS.values()}.get(verb)
    if found is None:
        raise InvalidQuery("verb", verb, f"there are {', '.join(each.value for each in DEEDS)}")
    return found


def _acts(
    what: str, view: Callable[..., Done]
) -> list[Route]:  # one for each verb, for each takes its own permission
    return [
        Act(
            f"bulk/{deed.verb.value}/{what}/",
            f"bulk_{deed.verb.value}_{what}",
            partial(view, deed=deed),
            deed.needs,
        )
        for deed in DEEDS.values()
    ]


routes: list[Route] = [
    Page("bulk/", "bulk", _bulk),
    Page("bulk/new/", "bulk_new", _new),
    Page("bulk/order/", "bulk_order", _order),
    *_acts("ask", _ask),
    *_acts("stop", _stop),
    *_acts("run", _run),
]
