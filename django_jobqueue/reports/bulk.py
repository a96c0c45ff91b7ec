"""The orders over many jobs that workers carry out: who asked for what, and how far it is."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django_jobqueue import bulk
from django_jobqueue.reports.moments import moment, now
from django_jobqueue.reports.plain import Plain

#: Orders that are shown where nothing is said.
COUNT = 20


@dataclass(frozen=True, slots=True)
class OrderFacts(Plain):
    """
    One order, and how it stands: see ``bulk.Standing``.

    ``told`` says in a line which jobs are meant; ``share`` is how much of the place was looked
    at, from 0.0 to 1.0.
    """

    id: str
    verb: str
    place: str
    filter: dict[str, Any]
    told: str
    actor: str
    asked_at: datetime
    updated_at: datetime
    state: str
    is_over: bool
    is_stopping: bool
    share: float
    total: int
    looked_at: int
    matched: int
    done: int
    gone: int
    disabled: int
    refused: int
    duplicates: int
    failed: int
    error: str


@dataclass(frozen=True, slots=True)
class Orders(Plain):
    """The latest orders, the newest first."""

    at: datetime
    orders: tuple[OrderFacts, ...]


def orders(count: int = COUNT) -> Orders:
    """Return the latest orders, 100 at most. Raises: InvalidQuery, StoreError."""
    return Orders(now(), tuple(map(facts_of, bulk.recent(count))))


def order(id: str) -> OrderFacts | None:
    """Return how one order stands, None where it is gone. Raises: InvalidQuery, StoreError."""
    found = bulk.standing(id)
    return None if found is None else facts_of(found)


def facts_of(found: bulk.Standing) -> OrderFacts:
    """Return what is reported of an order."""
    asked = found.order
    return OrderFacts(
        id=found.id,
        verb=asked.verb.value,
        place=asked.place,
        filter=asked.filter.as_dict(),
        told=str(asked.filter),
        actor=asked.actor,
        asked_at=moment(asked.asked_at),
        updated_at=moment(found.updated_at),
        state=found.state,
        is_over=found.is_over,
        is_stopping=found.is_stopping,
        share=found.share,
        total=found.total,
        looked_at=found.looked_at,
        matched=found.matched,
        done=found.done,
        gone=found.gone,
        disabled=found.disabled,
        refused=found.refused,
        duplicates=found.duplicates,
        failed=found.failed,
        error=found.error,
    )
