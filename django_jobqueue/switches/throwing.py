"""Throw kill switches for an operator: the same story by the page and by the command."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from django_jobqueue.switches import events, flags
from django_jobqueue.switches.state import OFF, State


@dataclass(frozen=True, slots=True)
class Change:
    """One flag that was set, with its state before and after; they may be the same."""

    flag: str
    old: State
    new: State


def throw(names: Iterable[str], state: State, *, actor: str, source: str) -> list[Change]:
    """
    Set flags to a state, as this actor's doing; return what was changed, in that order.

    Each in a transaction of its own; a row that is missing is made. ``source`` is
    one of ``events.Source``. Raises: ``django.db.Error``.
    """
    before = flags.read_states()
    changes = []
    with events.acting(actor, source):
        for name in names:
            flags.set_state(name, state)
            changes.append(Change(name, before.get(name, OFF), state))
    return changes


def standing_in_the_way(names: Sequence[str]) -> list[str]:
    """
    Return which flags of a job have to be turned off so that it goes again.

    ``names`` are all of its flags, its own first: that one is returned in any case, a
    former one where it is thrown, for it stops the job as well.
    """
    own, *former = names
    now = flags.read_states()
    return [own, *(name for name in former if not now.get(name, OFF).is_off)]
