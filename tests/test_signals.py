"""Signals of a job's life: told to who listens, and no listener disturbs a job."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.dispatch import Signal

from django_jobqueue.signals import (
    job_died,
    job_enqueued,
    job_refused,
    job_retried,
    job_started,
    job_succeeded,
    redis_data_lost,
    tell,
)

Connect = Callable[[Signal, Callable[..., Any]], None]


@pytest.fixture
def connect() -> Iterator[Connect]:
    """Connect receivers that are disconnected after the test."""
    connected: list[tuple[Signal, Callable[..., Any]]] = []

    def connect_one(signal: Signal, receiver: Callable[..., Any]) -> None:
        signal.connect(receiver, weak=False)
        connected.append((signal, receiver))

    yield connect_one
    for signal, receiver in connected:
        signal.disconnect(receiver)


def test_a_receiver_gets_the_sender_and_the_facts(connect: Connect) -> None:
    heard: list[dict[str, Any]] = []
    connect(job_retried, lambda **facts: heard.append(facts))
    tell(job_retried, int, payload="p", delay=1.5)
    assert heard == [{"signal": job_retried, "sender": int, "payload": "p", "delay": 1.5}]


def test_a_receiver_that_raises_disturbs_neither_the_teller_nor_the_others(
    connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(**facts: Any) -> None:
        raise ValueError("a bug")

    heard: list[str] = []
    connect(job_died, lambda **facts: heard.append("first"))
    connect(job_died, broken)
    connect(job_died, lambda **facts: heard.append("last"))
    tell(job_died, None)
    assert heard == ["first", "last"]
    assert ["a bug" in record.getMessage() for record in caplog.records] == [True]


@pytest.mark.parametrize(
    "signal",
    [
        *(job_enqueued, job_refused, job_started, job_succeeded, job_retried, job_died),
        redis_data_lost,
    ],
)
def test_nobody_needs_to_listen(signal: Signal) -> None:
    tell(signal, None, payload=None)
