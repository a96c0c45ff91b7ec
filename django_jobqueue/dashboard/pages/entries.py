"""The jobs that wait: to be retried, for their time, dead, or held by a kill switch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from django.http import HttpResponse
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from django_jobqueue import redaction
from django_jobqueue.api import Entry, Found
from django_jobqueue.api.jobs import Jobs
from django_jobqueue.bulk import place_of
from django_jobqueue.connection import store
from django_jobqueue.dashboard.asked import Asked, asked
from django_jobqueue.dashboard.lookup import BUDGET, PAGE
from django_jobqueue.dashboard.pages import picked
from django_jobqueue.dashboard.routes import Page, Route
from django_jobqueue.dashboard.rows import rows_of
from django_jobqueue.dashboard.verbs import Offer, offers
from django_jobqueue.dashboard.visit import Visit
from django_jobqueue.payload import printable

#: Classes with held jobs that are listed, those with the most.
CLASSES = 500

#: Ranks that a page can begin at: further than any list of ours can be long.
_LAST = 1 << 53


@dataclass(frozen=True, slots=True)
class Spot:
    """
    A list of jobs under a tab.

    ``when`` heads the column of the score, ``empty`` stands in place of a table without rows.
    """

    route: str
    place: str
    title: Promise
    when: Promise
    empty: Promise
    newest_first: bool = False


RETRIES = Spot(
    "retries", "retry", gettext_lazy("Retries"), gettext_lazy("Next attempt"),
    gettext_lazy("No job waits to be retried."),
)  # fmt: skip
SCHEDULED = Spot(
    "scheduled", "schedule", gettext_lazy("Scheduled"), gettext_lazy("Runs"),
    gettext_lazy("No job is scheduled."),
)  # fmt: skip
DEAD = Spot(
    "dead", "dead", gettext_lazy("Dead"), gettext_lazy("Died"),
    gettext_lazy("No job is dead."), newest_first=True,
)  # fmt: skip
HELD = Spot(
    "held", "held", gettext_lazy("Held"), gettext_lazy("Held since"),
    gettext_lazy("No job of this class is held."),
)  # fmt: skip


def _held(visit: Visit) -> HttpResponse:
    """Show the classes of which jobs are held, or the jobs of the one that is asked for."""
    job_class = visit.query.get("class", "")
    if job_class:
        title = _("Held: %(job)s") % {"job": printable(job_class)}
        return show_list(visit, HELD, f"held:{job_class}", title, {"class": job_class})
    found = store().held.classes()
    most = sorted(((name, count) for name, count in found.items() if name), key=lambda e: -e[1])
    return visit.show(
        "held.html",
        str(HELD.title),
        classes=[
            (printable(name), count, visit.url("held", **{"class": name}))
            for name, count in most[:CLASSES]
        ],
        count=len(most),
    )


def _set(visit: Visit, *, spot: Spot) -> HttpResponse:
    return show_list(visit, spot, spot.place, str(spot.title), {})


def show_list(
    visit: Visit,
    spot: Spot,
    place: str,
    title: str,
    fixed: dict[str, str],
    *,
    template: str = "entries.html",
    **context: Any,
) -> HttpResponse:
    """
    Show a page of a place; ``fixed`` stays in the query of every link.

    ``template`` is another one that extends ours, and ``context`` is for it.
    """
    want, jobs = asked(visit, newest_first=spot.newest_first), place_of(place)
    size = len(jobs)
    if want.filter.is_empty:
        entries: Sequence[Entry] = jobs.page(
            min(want.start, _LAST), PAGE, newest_first=want.newest_first
        )
        links = _pages(visit, spot, want, size, fixed)
        looked_at = None
    else:
        entries, links, looked_at = _search(visit, spot, want, jobs, fixed)
    where = {"start": want.start, "order": want.order} if want.filter.is_empty else {}
    rows, may = rows_of(visit, place, entries, **where), offers(visit, place)
    return visit.show(
        template,
        title,
        spot=spot,
        place=place,
        fixed=fixed,
        size=size,
        rows=rows,
        asked=want,
        first=want.start + 1,
        last=want.start + len(rows),
        looked_at=looked_at,
        has_errors=spot.place in ("retry", "dead"),
        offers=may,
        everything=_everything(visit, place, want, may) if size else [],
        cleared=visit.url(spot.route, **fixed),
        other_order=visit.url(
            spot.route, **fixed, order="oldest" if want.newest_first else "newest"
        ),
        **links,
        **context,
    )


def _pages(
    visit: Visit, spot: Spot, want: Asked, size: int, fixed: dict[str, str]
) -> dict[str, Any]:
    """Return the links to the pages around this one, by rank; empty where there is none."""

    def link(start: int) -> str:
        return visit.url(spot.route, **fixed, order=want.order, start=start or None)

    last = max(0, (size - 1) // PAGE * PAGE)
    before, after = want.start > 0, want.start + PAGE < size
    return {
        "first_page": link(0) if before else "",
        "page_before": link(min(max(0, want.start - PAGE), last)) if before else "",
        "page_after": link(want.start + PAGE) if after else "",
        "last_page": link(last) if after else "",
    }


def _search(
    visit: Visit, spot: Spot, want: Asked, jobs: Jobs[Any], fixed: dict[str, str]
) -> tuple[list[Entry], dict[str, Any], int]:
    """Return what a search found, the link that goes on with it, and how many it looked at."""
    found: Found[Any] = jobs.search(
        want.filter, budget=BUDGET, cursor=want.cursor, limit=want.skip + PAGE
    )
    behind = want.skip + PAGE
    # One step of it finds as many as it reads: what is too much for a page is left for the
    # next, which reads that step once more.
    ahead = (want.cursor, behind) if len(found.entries) > behind else (found.cursor, 0)
    more = ""
    if ahead[0] is not None:
        more = visit.url(
            spot.route, **fixed, **want.given, cursor=ahead[0] or None, skip=ahead[1] or None
        )
    shown = [
        entry
        for entry in found.entries[want.skip : behind]
        if redaction.holds_as_shown(entry, want.filter)
    ]
    return shown, {"more": more}, found.looked_at


def _everything(
    visit: Visit, place: str, want: Asked, may: Sequence[Offer]
) -> list[tuple[Offer, str]]:
    """Return the links to the pages that ask whether to do it to all that match."""
    return [
        (offer, visit.url("bulk_new", place=place, verb=offer.deed.verb.value, **want.given))
        for offer in may
    ]


routes: list[Route] = [
    Page("retries/", "retries", partial(_set, spot=RETRIES)),
    Page("scheduled/", "scheduled", partial(_set, spot=SCHEDULED)),
    Page("dead/", "dead", partial(_set, spot=DEAD)),
    Page("held/", "held", _held),
    *picked.routes,
]
