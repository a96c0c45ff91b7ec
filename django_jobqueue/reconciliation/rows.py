"""The rows of a reconciler, a page at a time: short queries, no cursor held open, no OFFSET."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from typing import Any

from django.conf import settings
from django.db.models import Q, QuerySet
from django.utils import timezone

from django_jobqueue import clock
from django_jobqueue.reconciliation.plan import Plan


@dataclass(frozen=True, slots=True)
class Page:
    """
    Some rows in the order of their keys. ``cursor`` stands behind the last, as JSON.

    ``is_last`` where it is known that none follow.
    """

    rows: list[Any]
    cursor: str
    is_last: bool = False


def pages(plan: Plan, cursor: str = "", *, limit: int | None = None) -> Iterator[Page]:
    """
    Yield the rows by pages, each of one query, at most ``limit`` rows.

    With a cursor they begin behind it and go on, at the end of the table, with
    those before it: every row comes once.
    """
    legs = _legs(ordered(plan), cursor)
    left = limit
    for leg in legs:
        after: Any = None
        while left is None or left > 0:
            size = plan.batch_size if left is None else min(plan.batch_size, left)
            page = leg if after is None else leg.filter(pk__gt=after)
            rows = list(page[:size])
            if rows:
                after = rows[-1].pk
                left = None if left is None else left - len(rows)
                is_last = leg is legs[-1] and len(rows) < size
                yield Page(rows, dump_key(after), is_last)
            if len(rows) < size:
                break


def ordered(plan: Plan) -> QuerySet[Any, Any]:
    """Return the query for named rows by their keys, without those that are too young."""
    queryset = chosen(plan)
    if plan.grace and plan.age_field:
        queryset = queryset.filter(_is_old(plan.age_field, plan.grace))
    names = dict.fromkeys(("pk", *plan.fields, *((plan.age_field,) if plan.age_field else ())))
    rows: QuerySet[Any, Any] = queryset.order_by("pk").values_list(*names, named=True)
    # A queryset that was reversed would turn our order round, and the pages back.
    rows.query.standard_ordering = True
    return rows


def chosen(plan: Plan) -> QuerySet[Any]:
    """Return the reconciler's queryset, on the database that it names."""
    queryset = plan.queryset()
    return queryset if plan.using is None else queryset.using(plan.using)


def moment(value: Any) -> float | None:
    """Return the epoch seconds of what an age field holds; None where it is no time."""
    if isinstance(value, datetime):
        return (timezone.make_aware(value) if timezone.is_naive(value) else value).timestamp()
    if isinstance(value, date):
        return timezone.make_aware(datetime.combine(value, time.min)).timestamp()
    return None


def dump_key(key: Any) -> str:
    """Return a primary key as JSON: what is no JSON, such as a UUID, as text."""
    return json.dumps(key, default=str, ensure_ascii=False)


def load_key(cursor: str) -> Any:
    """Return the key of a cursor, in a form that a filter on ``pk`` takes."""
    return json.loads(cursor)


def _legs(queryset: QuerySet[Any, Any], cursor: str) -> list[QuerySet[Any, Any]]:
    if not cursor:
        return [queryset]
    key = load_key(cursor)
    return [queryset.filter(pk__gt=key), queryset.filter(pk__lte=key)]


def _is_old(field: str, grace: float) -> Q:
    at = datetime.fromtimestamp(clock.now() - grace, UTC)
    limit = at if settings.USE_TZ else timezone.make_naive(at)
    # A row that has no time is not young: nobody else will see to it.
    return Q(**{f"{field}__lte": limit}) | Q(**{f"{field}__isnull": True})
