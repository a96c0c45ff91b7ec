"""The wait of the fetcher: a push ends it, and so does whoever has something to hand over."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from django_jobqueue.connection import store
from django_jobqueue.exceptions import StoreError, StoreFull, StoreRefused
from django_jobqueue.store.waiter import Waiter
from django_jobqueue.worker.bell import Bell
from tests.conftest import JobqueueSettings
from tests.support.clocks import ShiftedClock, shift

#: Seconds of a wait that something else ends.
LONG = 20.0


def nothing() -> bool:
    return False


@pytest.fixture
def bell(jobqueue_settings: JobqueueSettings) -> Iterator[Bell]:
    """A bell on the test's Redis."""
    jobqueue_settings()
    made = Bell(store())
    yield made
    made.close()
    os.close(made._wake_in)
    os.close(made._wake_out)


def test_a_push_ends_the_wait_and_tells_its_queue(bell: Bell) -> None:
    store().queues.push({"b": [b"job"]})
    assert list(bell.wait(["a", "b"], LONG, nothing)) == ["b"]


def test_a_ring_ends_both_kinds_of_wait_also_when_it_came_before(bell: Bell) -> None:
    bell.ring()
    assert list(bell.wait(["a"], LONG, nothing)) == []
    bell.ring()
    bell.sleep(LONG, nothing)
    assert not bell.is_awaited


def test_news_that_came_just_before_the_wait_are_not_waited_for(bell: Bell) -> None:
    seen = []

    def news() -> bool:
        seen.append(bell.is_awaited)
        return True

    bell.sleep(LONG, news)
    assert list(bell.wait(["a"], LONG, news)) == []
    assert seen == [True, True]  # who comes later will see that we wait


def test_a_queue_that_is_paused_is_looked_at_again_after_a_while(
    bell: Bell, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock: ShiftedClock = shift(monkeypatch)
    store().queues.push({"paused": [b"job"]})
    bell.poll(["a", "paused"], ["paused"])
    bell.ring()
    assert list(bell.wait(["a", "paused"], LONG, nothing)) == ["paused"]
    clock.advance(1.1)
    assert list(bell.wait(["a", "paused"], LONG, nothing)) == ["paused"]
    bell.poll(["paused"], [])
    assert list(bell.wait(["paused"], LONG, nothing)) == ["paused"]


@pytest.mark.parametrize("error", [StoreRefused("WRONGTYPE"), StoreFull("OOM")], ids=repr)
def test_queues_that_redis_lets_nobody_wait_on_are_polled(
    bell: Bell, monkeypatch: pytest.MonkeyPatch, error: StoreError
) -> None:
    def refuse(*_: object) -> list[str]:
        raise error

    monkeypatch.setattr(Waiter, "wait", refuse)
    bell.ring()
    assert bell.wait(["a", "b"], LONG, nothing) == ["a", "b"]
