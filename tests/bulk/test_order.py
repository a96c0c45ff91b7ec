"""Orders over many jobs as values, and the places that they name."""

from __future__ import annotations

import json
from typing import Any

import pytest

from django_jobqueue.api import DeadSet, HeldSet, Queue, RetrySet, ScheduledSet
from django_jobqueue.api.filters import Filter
from django_jobqueue.bulk import Order, Verb, place_of, verbs_of
from django_jobqueue.exceptions import InvalidQuery
from django_jobqueue.permissions import Permission

ORDER = Order(Verb.DELETE, "queue:low", Filter(job_class="shop.A"), "ann", 1_800_000_000.25)


def test_a_place_is_named_by_a_text() -> None:
    queue, held = place_of("queue:a:b"), place_of("held:Shop::Job")
    assert isinstance(queue, Queue)
    assert isinstance(held, HeldSet)
    assert (queue.name, held.job_class) == ("a:b", "Shop::Job")
    for text, cls in {"schedule": ScheduledSet, "retry": RetrySet, "dead": DeadSet}.items():
        assert type(place_of(text)) is cls


@pytest.mark.parametrize(
    "text",
    ["", "queue", "queue:", "held", "held:", "dead:x", "low", "Dead", "queues", 7, None, b"dead",
     "queue:\ud800", f"queue:{'x' * 501}"],
)  # fmt: skip
def test_what_names_no_place_is_refused_with_those_that_there_are(text: Any) -> None:
    for ask in (place_of, verbs_of):
        with pytest.raises(InvalidQuery, match="give 'queue:NAME', 'schedule'"):
            ask(text)


def test_each_place_has_its_verbs() -> None:
    assert [[str(verb) for verb in verbs_of(text)] for text in (
        "queue:low", "schedule", "retry", "dead", "held:A",
    )] == [
        ["kill", "delete"], ["enqueue", "kill", "delete"], ["retry", "enqueue", "kill", "delete"],
        ["retry", "delete"], ["release", "kill", "delete"],
    ]  # fmt: skip
    with pytest.raises(InvalidQuery, match="in dead there are retry, delete"):
        Order(Verb.KILL, "dead", Filter(), "ann", 1.0)


def test_an_order_travels_as_json() -> None:
    told = json.loads(json.dumps(ORDER.as_dict()))
    assert Order.of(told) == ORDER
    assert type(Order.of(told).verb) is Verb
    assert str(ORDER) == "delete in queue:low: class shop.A"
    assert "\n" not in str(Order(Verb.DELETE, "queue:a\nb", Filter(text="\x1b[2J"), "ann", 1.0))
    assert len(Order(Verb.DELETE, "dead", Filter(), "x" * 1000, 1.0).actor) == 150


@pytest.mark.parametrize(
    "changes",
    [{"verb": "eat"}, {"verb": None}, {"verb": []}, {"place": "x"}, {"filter": {"x": 1}},
     {"filter": None}, {"actor": 7}, {"asked_at": "now"}, {"asked_at": float("nan")},
     {"asked_at": True}, {"asked_at": -1}],
)  # fmt: skip
def test_an_order_that_cannot_be_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(InvalidQuery):
        Order.of({**ORDER.as_dict(), **changes})


def test_what_is_no_order_is_refused() -> None:
    short = ORDER.as_dict()
    del short["actor"]
    given: Any
    for given in (None, [], "x", {}, short):
        with pytest.raises(InvalidQuery, match="give a dict with verb, place"):
            Order.of(given)
    with pytest.raises(InvalidQuery, match="an empty one for all jobs"):
        Order(Verb.DELETE, "dead", None, "ann", 1.0)  # type: ignore[arg-type]


def test_an_order_says_what_its_giver_must_be_allowed() -> None:
    some = Filter(jid="a" * 24)
    for verb, place, wanted, permission in (
        (Verb.DELETE, "queue:low", Filter(), Permission.CLEAR_QUEUE),
        (Verb.DELETE, "queue:low", Filter(since=0.0), Permission.CLEAR_QUEUE),
        (Verb.DELETE, "queue:low", some, Permission.DELETE_JOB),
        (Verb.KILL, "retry", Filter(), Permission.KILL_JOB),
        (Verb.RETRY, "dead", Filter(), Permission.RETRY_JOB),
        (Verb.ENQUEUE, "schedule", some, Permission.RETRY_JOB),
        (Verb.RELEASE, "held:A", some, Permission.RETRY_JOB),
    ):
        assert Order(verb, place, wanted, "ann", 1.0).permission is permission
