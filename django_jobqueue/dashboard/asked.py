"""What stands behind the ``?`` of a list of jobs: a filter, and which page of it is wanted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from django.core.exceptions import PermissionDenied
from django.utils import timezone
from django.utils.translation import gettext as _

from django_jobqueue.api import Filter
from django_jobqueue.api.records import moment
from django_jobqueue.dashboard.visit import Visit
from django_jobqueue.exceptions import InvalidQuery
from django_jobqueue.permissions import Permission

#: The names of a filter's conditions.
CONDITIONS = tuple(field.name for field in fields(Filter))

#: Digits of the longest number that a page is asked for by: a cursor of a walk through time.
_DIGITS = 32


@dataclass(frozen=True, slots=True)
class Asked:
    """
    Which jobs are asked for, and which page of them.

    ``given`` is the filter as it was written, to stand in the form again. Without a filter
    ``start`` is a rank and ``newest_first`` from which end; with one a search goes on
    at ``cursor``, behind the ``skip`` that it found there before.
    """

    filter: Filter
    given: Mapping[str, str]
    start: int = 0
    cursor: int = 0
    skip: int = 0
    newest_first: bool = False

    @property
    def order(self) -> str:
        """The order as it is asked for."""
        return "newest" if self.newest_first else "oldest"

    @property
    def since(self) -> str:
        """The first moment that is meant, as a field of a form takes it; empty without one."""
        return _local(self.filter.since)

    @property
    def until(self) -> str:
        """The last moment."""
        return _local(self.filter.until)


def asked(visit: Visit, *, newest_first: bool = False) -> Asked:
    """
    Read the query string of a visit; ``newest_first`` is the order where it names none.

    Raises: InvalidQuery, and PermissionDenied (see ``filter_of``).
    """
    query = visit.query
    order = query.get("order") or ("newest" if newest_first else "oldest")
    if order not in ("newest", "oldest"):
        raise InvalidQuery("order", order, "there are newest and oldest")
    given = {name: query[name] for name in CONDITIONS if query.get(name)}
    return Asked(
        filter_of(visit, given),
        given,
        start=number(query, "start"),
        cursor=number(query, "cursor"),
        skip=min(number(query, "skip"), 10_000),
        newest_first=order == "newest",
    )


def filter_of(visit: Visit, given: Mapping[str, Any]) -> Filter:
    """
    Return the filter that was written.

    Raises: InvalidQuery, and PermissionDenied where a text is sought by somebody who may not
    see the arguments: whoever may ask whether a text stands in them can guess them.
    """
    found = Filter.of({name: given[name] for name in CONDITIONS if name in given})
    if found.text and not visit.may(Permission.VIEW_ARGUMENTS):
        raise PermissionDenied(
            _("You need the permission “%s” to search for a text.")
            % Permission.VIEW_ARGUMENTS.label
        )
    return found


def number(query: Mapping[str, str], name: str) -> int:
    """Return a whole number from 0 on out of a query; 0 without one. Raises: InvalidQuery."""
    text = query.get(name, "")
    if not text:
        return 0
    if text.isascii() and text.isdecimal() and len(text) <= _DIGITS:
        return int(text)
    raise InvalidQuery(name, text, "give a whole number from 0 on")


def _local(at: float | None) -> str:
    found = moment(at)
    if found is None:
        return ""
    try:
        # Read again it is in the current time zone, or in that of the settings.
        return f"{timezone.localtime(found):%Y-%m-%dT%H:%M:%S}"
    except OverflowError:  # the first or the last day of the calendar, and past it here
        return ""
