"""A push: through the client middleware, checked, encoded, in one round trip."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from django_jobqueue.client.client import client_chain, push
from django_jobqueue.client.middleware import Push
from django_jobqueue.client.outlet import use_outlet
from django_jobqueue.client.results import Status
from django_jobqueue.exceptions import (
    ArgumentNotSerializable,
    InvalidQueueName,
    PayloadTooLarge,
    StoreUnavailable,
)
from django_jobqueue.payload import Payload
from django_jobqueue.signals import job_enqueued, job_refused
from django_jobqueue.switches.switches import switches
from django_jobqueue.testing import FakeOutlet
from tests.client import recorders
from tests.client.recorders import SEEN, path_of
from tests.conftest import JobqueueSettings
from tests.support.inside import Inside


@pytest.fixture(autouse=True)
def seen() -> Iterator[list[tuple[str, str]]]:
    """What the recording middleware saw."""
    SEEN.clear()
    yield SEEN
    SEEN.clear()


def made(*args: Any, **fields: Any) -> Payload:
    return Payload({"class": "HardJob", "args": list(args), "jid": "b" * 24, **fields})


def jobs(*payloads: Payload) -> list[tuple[Payload, float | None]]:
    return [(payload, None) for payload in payloads]


def boxed(settings: Any, *layers: type, **options: Any) -> FakeOutlet:
    """Configure middleware, and return a box that ``use_outlet`` may send pushes to."""
    settings.JOBQUEUE = {"OUTLET": "fake", "CLIENT_MIDDLEWARE": path_of(*layers), **options}
    return FakeOutlet()


# Middleware -------------------------------------------------------------------


def test_middleware_is_passed_in_the_order_of_the_settings(
    settings: Any, seen: list[tuple[str, str]]
) -> None:
    with use_outlet(boxed(settings, recorders.First, recorders.Second)):
        push(jobs(made()))
    assert seen == [("first", "in"), ("second", "in"), ("second", "out"), ("first", "out")]


def test_what_a_middleware_passes_on_is_what_is_pushed_and_returned(settings: Any) -> None:
    with use_outlet(boxed(settings, recorders.Tenant)) as box:
        (answer,) = push(jobs(made(1)))
    accepted = answer.payload
    assert answer.status is Status.PUSHED
    assert accepted.context == {"tenant": 7}
    assert isinstance(box, FakeOutlet)
    assert [entry.payload for entry in box.entries] == [accepted]
    assert [Payload.decode(entry.raw) for entry in box.entries] == [accepted]


def test_a_middleware_that_does_not_call_on_refuses_and_the_others_are_pushed(
    settings: Any, seen: list[tuple[str, str]]
) -> None:
    box = boxed(settings, recorders.First, recorders.RefuseOdd, recorders.Second)
    with use_outlet(box):
        answers = push(jobs(made(0), made(1), made(2)))
    assert [answer.jid and answer.payload.args for answer in answers] == [[0], None, [2]]
    assert answers[1].status is Status.REFUSED
    assert [entry.payload.args for entry in box.entries] == [[0], [2]]
    assert ("first", "refused") in seen
    assert seen.count(("second", "in")) == 2


def test_a_middleware_that_raises_reaches_the_caller_and_nothing_is_pushed(settings: Any) -> None:
    box = boxed(settings, recorders.Raise)
    with use_outlet(box), pytest.raises(RuntimeError, match="the middleware is broken"):
        push(jobs(made(1), made(13), made(2)))
    assert box.entries == []


def test_a_middleware_may_make_plain_json_of_richer_arguments(settings: Any) -> None:
    moment = datetime(2030, 1, 1, tzinfo=UTC)
    box = boxed(settings, recorders.Serialise)
    with use_outlet(box):
        push(jobs(made(moment)))
    assert box.entries[0].payload.args == ["2030-01-01T00:00:00+00:00"]
    plain = boxed(settings)
    with use_outlet(plain), pytest.raises(ArgumentNotSerializable, match=r"args\[0\] is a datetim"):
        push(jobs(made(moment)))


def test_what_a_middleware_puts_beside_the_arguments_must_be_json_too(settings: Any) -> None:
    box = boxed(settings, recorders.Unwritable)
    with use_outlet(box), pytest.raises(ArgumentNotSerializable) as caught:
        push(jobs(made()))
    assert str(caught.value) == (
        "the payload cannot be written as JSON (Object of type object is not JSON serializable): "
        "see what a middleware put there."
    )
    assert box.entries == []


def test_a_queue_that_none_can_be_called_is_refused_and_not_replaced(settings: Any) -> None:
    box = boxed(settings, recorders.Reroute)
    with use_outlet(box), pytest.raises(InvalidQueueName, match="'not a queue'"):
        push(jobs(made()))
    plain = boxed(settings)
    with use_outlet(plain), pytest.raises(InvalidQueueName, match="'a:b'"):
        push(jobs(made(queue="low"), made(queue="a:b")))
    assert box.entries == plain.entries == []


def test_the_chain_is_made_once_and_anew_after_a_change_of_settings(settings: Any) -> None:
    settings.JOBQUEUE = {"OUTLET": "fake", "CLIENT_MIDDLEWARE": path_of(recorders.First)}
    chain: Push = client_chain()
    assert client_chain() is chain
    settings.JOBQUEUE = {"OUTLET": "fake"}
    assert client_chain() is not chain
    payload = made()
    assert client_chain()(payload) is payload


# Checks -----------------------------------------------------------------------


def test_a_payload_over_the_limit_is_refused_with_its_size(settings: Any) -> None:
    box = boxed(settings, MAX_PAYLOAD=200)
    small = made("x" * 100)
    with use_outlet(box):
        push(jobs(small))
        with pytest.raises(PayloadTooLarge) as caught:
            push(jobs(small, made("x" * 200)))
    assert len(box.entries) == 1
    assert (caught.value.job, caught.value.limit) == ("HardJob", 200)
    assert caught.value.size == len(made("x" * 200).encode())


def test_the_limit_counts_bytes_and_not_characters(settings: Any) -> None:
    size = len(made("ä" * 10).encode())
    box = boxed(settings, MAX_PAYLOAD=size)
    with use_outlet(box):
        push(jobs(made("ä" * 10)))
        with pytest.raises(PayloadTooLarge):
            push(jobs(made("ä" * 11)))


def test_ten_megabytes_are_refused_by_default(settings: Any) -> None:
    box = boxed(settings)
    with use_outlet(box), pytest.raises(PayloadTooLarge, match="over the limit of 1,000,000"):
        push(jobs(made("x" * 10_000_000)))


def test_an_integer_of_more_digits_than_python_reads_is_refused(settings: Any) -> None:
    box = boxed(settings)
    with use_outlet(box), pytest.raises(ArgumentNotSerializable, match="cannot be written as JSON"):
        push(jobs(made(10**5_000)))
    assert box.entries == []


# Redis ------------------------------------------------------------------------


def test_a_push_is_one_round_trip_however_many_jobs(
    jobqueue_settings: JobqueueSettings, inside: Inside, count_round_trips: Callable[[], int]
) -> None:
    jobqueue_settings()
    push(jobs(made(0, queue="warm")))
    count_round_trips()
    push(jobs(made(1, queue="a"), made(2, queue="b"), *(made(n, queue="c") for n in range(1200))))
    assert count_round_trips() == 1
    push([(made(3, queue="a"), None), (made(4), 4e9)])
    assert count_round_trips() == 1
    push(jobs(made(5, queue="a")))
    assert count_round_trips() == 1
    assert inside.args("a") == [[1], [3], [5]]
    assert inside.args("c") == [[n] for n in range(1200)]
    assert inside.entry("schedule")[0]["args"] == [4]
    assert set(inside.client.smembers(inside.key("queues"))) == {b"warm", b"a", b"b", b"c"}


def test_a_refused_push_sends_nothing(
    jobqueue_settings: JobqueueSettings, inside: Inside, count_round_trips: Callable[[], int]
) -> None:
    jobqueue_settings(CLIENT_MIDDLEWARE=path_of(recorders.RefuseOdd))
    switches().refresh(force=True)  # looked at once a second, whoever asks
    count_round_trips()
    assert [answer.status for answer in push(jobs(made(1), made(3)))] == [Status.REFUSED] * 2
    assert push([]) == []
    assert count_round_trips() == 0
    assert inside.names() == set()


def test_what_stands_in_redis_are_the_bytes_of_the_payload(
    jobqueue_settings: JobqueueSettings, inside: Inside
) -> None:
    jobqueue_settings()
    payload = made("naïve ☃", 12345678901234567890, queue="low", x={"y": []})
    push([(payload, None), (payload.replace(jid="c" * 24), 4e9)])
    assert inside.raw("low") == [payload.encode()]
    members = inside.client.zrange(inside.key("schedule"), 0, -1)
    assert members == [payload.replace(jid="c" * 24).encode()]


def test_redis_that_cannot_be_reached_is_told(settings: Any) -> None:
    settings.JOBQUEUE = {"REDIS_URL": "redis://127.0.0.1:1/0"}
    with pytest.raises(StoreUnavailable, match=r"127\.0\.0\.1:1"):
        push(jobs(made()))


# Signals ----------------------------------------------------------------------


def test_who_listens_hears_of_every_job_that_was_pushed_or_refused(settings: Any) -> None:
    heard: list[tuple[str, list[Any], float | None]] = []

    def pushed(payload: Payload, at: float | None, **facts: Any) -> None:
        heard.append(("pushed", payload.args, at))

    def refused(payload: Payload, **facts: Any) -> None:
        heard.append(("refused", payload.args, None))

    job_enqueued.connect(pushed)
    job_refused.connect(refused)
    try:
        with use_outlet(boxed(settings, recorders.RefuseOdd)):
            push([(made(1), None), (made(2), None), (made(4), 4e9)])
    finally:
        job_enqueued.disconnect(pushed)
        job_refused.disconnect(refused)
    assert heard == [("refused", [1], None), ("pushed", [2], None), ("pushed", [4], 4e9)]


def test_nobody_hears_of_a_push_that_failed(settings: Any) -> None:
    heard: list[Any] = []

    def pushed(**facts: Any) -> None:
        heard.append(facts)

    settings.JOBQUEUE = {"REDIS_URL": "redis://127.0.0.1:1/0"}
    job_enqueued.connect(pushed)
    try:
        with pytest.raises(StoreUnavailable):
            push(jobs(made()))
    finally:
        job_enqueued.disconnect(pushed)
    assert heard == []
