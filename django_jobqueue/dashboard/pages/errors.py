"""Why jobs fail, grouped: one row for each error of each class, however many have it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.http import HttpResponse
from django.utils.translation import gettext as _

from django_jobqueue import redaction
from django_jobqueue.api import Filter
from django_jobqueue.bulk import Verb
from django_jobqueue.dashboard.charts import Meter, meter
from django_jobqueue.dashboard.routes import Page, Route
from django_jobqueue.dashboard.rows import MESSAGE, short
from django_jobqueue.dashboard.verbs import DEEDS
from django_jobqueue.dashboard.visit import Visit
from django_jobqueue.exceptions import InvalidQuery
from django_jobqueue.payload import printable
from django_jobqueue.reports.errors import PLACES, ErrorGroup, errors

#: Groups that the page shows, the most frequent.
GROUPS = 100

#: Where the jobs of a place are listed.
_LISTS = {"retry": "retries", "dead": "dead"}


@dataclass(frozen=True, slots=True)
class Row:
    """One group; ``retry`` leads to the page that asks whether to retry all, if the user may."""

    place: str
    job_class: str
    error_class: str
    frame: str
    message: str
    count: int
    share: Meter
    first: datetime | None
    last: datetime | None
    url: str
    retry: str


def _errors(visit: Visit) -> HttpResponse:
    place = visit.query.get("place", "")
    if place and place not in PLACES:
        raise InvalidQuery("place", place, f"there are {' and '.join(PLACES)}")
    found = errors(*([place] if place else PLACES))
    may_retry = visit.may(DEEDS[Verb.RETRY].needs)
    return visit.show(
        "errors.html",
        _("Errors"),
        rows=[_row(visit, each, found.size, may_retry=may_retry) for each in found.groups[:GROUPS]],
        groups=len(found.groups),
        found=found,
        place=place,
        is_sample=found.looked_at < found.size,
        tabs_of_places=[
            ("", _("Both"), visit.url("errors")),
            ("retry", _("To be retried"), visit.url("errors", place="retry")),
            ("dead", _("Dead"), visit.url("errors", place="dead")),
        ],
    )


def _row(visit: Visit, group: ErrorGroup, size: int, *, may_retry: bool) -> Row:
    conditions = filter_of(group).as_dict()
    retry = ""
    if may_retry:
        retry = visit.url("bulk_new", place=group.place, verb=Verb.RETRY.value, **conditions)
    return Row(
        group.place,
        printable(group.job_class),
        printable(group.error_class),
        printable(group.frame),
        short(group.message, MESSAGE),
        group.count,
        meter(group.count, size, title=_("Share of all")),
        group.first,
        group.last,
        visit.url(_LISTS[group.place], **conditions),
        retry,
    )


def filter_of(group: ErrorGroup) -> Filter:
    """
    Return the filter that finds the jobs of a group.

    Of a group whose message hides a value it is the message up to there, for nobody may be
    told more of it; so it may find jobs of another group too.
    """
    message, hidden, _rest = group.message.partition(redaction.REDACTED)
    # The message of such an example has its numbers, those of a group have none.
    if hidden or any(c.isdigit() for c in message):
        return Filter(
            job_class=group.job_class,
            error_class=group.error_class,
            frame=group.frame,
            message=message,
        )
    return Filter.of_error((group.job_class, group.error_class, group.frame, group.message))


routes: list[Route] = [Page("errors/", "errors", _errors)]
