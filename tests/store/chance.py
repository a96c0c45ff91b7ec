"""What may happen to the state machine: how often, and with what arguments."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from hypothesis import strategies as st

from django_jobqueue.store.claims import (
    BACK,
    BURY,
    DISCARDED,
    DROPPED,
    EXPIRED,
    FORGET,
    HELD,
    RETRY,
    SKIPPED,
    SNOOZE,
)
from django_jobqueue.store.sets import DROP, HOLD, LATER, PUSH
from tests.store.actors import AGAIN, ONCE, START
from tests.store.model import ACK, HELD_SET

F = TypeVar("F", bound=Callable[..., None])

HIGH, LOW = "high", "low"
QUEUES = (HIGH, LOW)
WORKERS = 3

#: Readings that wait for their second half, at most; the oldest is forgotten.
READINGS = 4

RESULTS = (ACK, RETRY, SNOOZE, BURY, FORGET, BACK, SKIPPED, EXPIRED, DISCARDED, HELD, DROPPED)

#: Where jobs wait and may be removed from, by the model's names.
PLACES = (*QUEUES, "schedule", "retry", HELD_SET, "dead")

#: Keys that a rule may find of a wrong type, by the model's names.
BREAKABLE = (
    "leases", "claims", "paused", "counters", "processed", "failed",
    "retry", "schedule", "dead", HELD_SET, *QUEUES,
)  # fmt: skip

workers = st.integers(0, WORKERS - 1)
queues = st.sampled_from(QUEUES)
flags = st.booleans()
# Most of the time nothing is broken.
broken = st.sampled_from(("",) * 2 * len(BREAKABLE) + BREAKABLE)
broken_for_recovery = st.sampled_from(
    ("",) * 5 + ("claims", "counters", "schedule", "dead", *QUEUES)
)
broken_for_promotion = st.sampled_from(("",) * 3 + ("schedule", "retry", HELD_SET, *QUEUES))
broken_for_pushes = st.sampled_from(("",) * 6 + ("schedule", *QUEUES))
broken_for_revival = st.sampled_from(("",) * 6 + ("dead", *QUEUES))
broken_for_removal = st.sampled_from(("",) * 3 * len(PLACES) + PLACES)
breakable = st.sampled_from(BREAKABLE)
some = st.integers(1, 4)
orders = st.sampled_from(((HIGH, LOW), (LOW, HIGH), (HIGH,), (LOW,)))
verbs = st.lists(st.sampled_from((ACK, None, *RESULTS)), max_size=4)
recoveries = st.lists(st.sampled_from((BACK, BACK, SNOOZE, BURY)), min_size=1, max_size=4)
promotions = st.lists(st.sampled_from((PUSH, PUSH, LATER, DROP, HOLD)), min_size=1, max_size=4)
# The digests of a page; '' for a job that is not unique.
kinds = st.lists(st.sampled_from((ONCE, ONCE, AGAIN, AGAIN, START, "")), min_size=1, max_size=5)
few_kinds = st.lists(st.sampled_from((ONCE, AGAIN, START, "")), max_size=2)
places = st.sampled_from(PLACES)


#: What may happen: how often, relative to each other, and with what arguments.
EVENTS: dict[str, tuple[int, dict[str, st.SearchStrategy[Any]]]] = {}


def event(weight: int, **arguments: st.SearchStrategy[Any]) -> Callable[[F], F]:
    """
    Have the machine do this, as often as its weight says.

    Rules of their own would do, but Hypothesis turns most of them off in most
    examples, and then no job gets far enough for anything to go wrong.
    """

    def register(method: F) -> F:
        EVENTS[method.__name__] = (weight, arguments)
        return method

    return register


def happenings() -> st.SearchStrategy[tuple[str, dict[str, Any]]]:
    """Draw the name of an event and its arguments."""
    names = [name for name, (weight, _) in EVENTS.items() for _ in range(weight)]
    return st.sampled_from(names).flatmap(
        lambda name: st.tuples(st.just(name), st.fixed_dictionaries(EVENTS[name][1]))
    )
