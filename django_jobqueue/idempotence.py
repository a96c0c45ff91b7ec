"""
What lets a job run twice and work once: claim a row, or move it from one state to another.

A job may be delivered a second time, also while the first delivery still runs. The row
that it works on knows better: who holds it, and whether the work is done.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from django.db import connections, transaction
from django.db.models import F, Manager, Model, QuerySet

from django_jobqueue.exceptions import Skip

M = TypeVar("M", bound=Model)


@contextmanager
def claim(
    rows: type[M] | Manager[M] | QuerySet[M],
    pk: Any,
    state: Any = "pending",
    *,
    field: str = "state",
    to: Any = None,
    wait: bool = False,
    using: str | None = None,
) -> Iterator[M]:
    """
    Lock a row that is in a state, and hold it while the block works.

    ::

        def perform(self, invoice_id: int) -> None:
            with claim(Invoice, invoice_id, "pending", to="paid") as invoice:
                pay(invoice, key=self.idempotency_key)

    ``rows`` is a model, a manager or a queryset; ``state`` is one value of
    ``field``, or a list of those that will do. ``to`` is the state that the row
    has from here on; others see it with the commit.

    The block is a transaction: what leaves it as an exception, ``Snooze`` and
    ``Skip`` too, undoes what it wrote, and the row can be claimed again. So it is
    as long as the work: for work of more than some seconds use ``transition``.
    Inside another transaction the lock lasts until that one ends. What the block
    does elsewhere is not undone, and happens again after a crash.

    A row that another worker holds is skipped. Should that worker die, only a
    reconciler brings the job back; one that has none says ``wait=True`` and waits
    for the other's end. SQLite has no locks of rows: there every claim waits for
    the writer before it.

    Raises: Skip (no failure of the job) when the row is gone, in another state,
    or held by another worker.
    """
    one = _for_writing(rows, using).filter(pk=pk)
    states = _listed(state)
    with transaction.atomic(using=one.db):
        row = _lock(one, field, states, to, wait=wait)
        if row is None:
            raise Skip(_reason(one, pk, field, states))
        yield row


def transition(
    rows: type[M] | Manager[M] | QuerySet[M],
    pk: Any,
    from_: Any,
    to: Any,
    /,
    *,
    field: str = "state",
    using: str | None = None,
    **also: Any,
) -> bool:
    """
    Move a row from one state to another in one UPDATE; return whether this call did it.

    ::

        if not transition(Backup, pk, "pending", "running", started_at=now()):
            raise Skip("somebody else has it")

    Of all that try at once, one gets True. ``from_`` may be a list of states, and
    ``also`` are other fields to set. As with ``QuerySet.update``, neither signals nor
    ``auto_now`` happen. Nothing is held: when a worker dies, the row stays in its new
    state, and the reconciler has to look for rows that are in it for too long.

    Raises: ValueError where the state is a field of a parent model.
    """
    queryset = _for_writing(rows, using)
    owner = queryset.model._meta.get_field(field).model
    if owner._meta.concrete_model is not queryset.model._meta.concrete_model:
        # Django would look first, and then update by key: no guard at all.
        raise ValueError(
            f"{field!r} is a field of {owner.__name__}, a parent of {queryset.model.__name__}: "
            f"move the row of {owner.__name__}."
        )
    moved = queryset.filter(pk=pk, **{f"{field}__in": _listed(from_)})
    return moved.update(**{**also, field: to}) == 1


def _for_writing(rows: type[M] | Manager[M] | QuerySet[M], using: str | None) -> QuerySet[M]:
    """Return the rows as a queryset on the database that is written to."""
    queryset = rows.all() if isinstance(rows, (Manager, QuerySet)) else rows._default_manager.all()
    if using is None:
        # "For update", so that a router does not name a replica.
        using = queryset.select_for_update().db
    return queryset.using(using)


def _listed(state: Any) -> list[Any]:
    return list(state) if isinstance(state, (list, tuple, set, frozenset)) else [state]


def _lock(one: QuerySet[M], field: str, states: list[Any], to: Any, *, wait: bool) -> M | None:
    """Lock the one row and return it, in its new state; None where it is not to be had."""
    is_open = one.filter(**{f"{field}__in": states})
    features = connections[one.db].features
    if not features.has_select_for_update:
        # There is one lock, for all writers, and who has read before may be refused it: so
        # the first word is a write, also where it says nothing new.
        locked = is_open.update(**{field: F(field) if to is None else to})
        return one.get() if locked else None
    skip_locked = features.has_select_for_update_skip_locked and not wait
    row = is_open.select_for_update(skip_locked=skip_locked).order_by("pk").first()
    if row is not None and to is not None:
        one.update(**{field: to})
        setattr(row, field, to)
    return row


def _reason(one: QuerySet[M], pk: Any, field: str, states: list[Any]) -> str:
    """Return why a row could not be locked, as far as it can be seen now."""
    name = f"{one.model._meta.label} {pk!r}"
    found = list(one.values_list(field, flat=True))
    if not found:
        return f"{name} is gone"
    if found[0] in states:
        return f"{name} is held by another worker"
    return f"{name} is {found[0]!r}, not {' or '.join(map(repr, states))}"
