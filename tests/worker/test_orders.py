"""Orders come by signals and from the process above, and one to the whole group counts once."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from django_jobqueue.worker.orders import DUMP, HURRY, QUIET, STOP, Orders
from django_jobqueue.worker.os_signals import SignalPipe

SIGNALS = [
    signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGTSTP, signal.SIGUSR1, signal.SIGTTIN,
]  # fmt: skip


@pytest.fixture
def signals() -> Iterator[SignalPipe]:
    """The signals of this process, whose handlers are put back after the test."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    made = SignalPipe(SIGNALS)
    yield made
    made.close()
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize(
    ("numbers", "orders"),
    [
        ([], []),
        ([signal.SIGTERM], [STOP]),
        ([signal.SIGINT, signal.SIGHUP, signal.SIGTERM], [STOP, HURRY, HURRY]),
        ([signal.SIGTSTP, signal.SIGUSR1], [QUIET, QUIET]),
        ([signal.SIGTTIN, signal.SIGTERM], [DUMP, STOP]),
    ],
)
def test_each_signal_is_an_order(
    signals: SignalPipe, numbers: list[int], orders: list[bytes]
) -> None:
    told = Orders(signals, -1, "nobody")
    for number in numbers:
        signals.send(number)
    assert told.take() == orders
    assert told.take() == []
    assert told.descriptors == [signals.descriptor]


def test_those_from_above_are_taken_as_they_are(signals: SignalPipe) -> None:
    out, into = os.pipe()
    told = Orders(signals, out, "supervisor")
    assert told.descriptors == [signals.descriptor, out]
    os.write(into, QUIET + STOP)
    assert told.take() == [QUIET, STOP]
    # The signal beside that order is the first, and the next is in a hurry.
    signals.send(signal.SIGTERM)
    assert told.take() == [STOP]
    signals.send(signal.SIGTERM)
    assert told.take() == [HURRY]
    os.close(into)
    os.close(out)


def test_the_end_of_the_process_above_is_an_order_to_stop(
    signals: SignalPipe, caplog: pytest.LogCaptureFixture
) -> None:
    out, into = os.pipe()
    told = Orders(signals, out, "supervisor")
    os.close(into)
    assert told.take() == [STOP]
    assert told.take() == []
    assert (told.pipe, told.descriptors) == (-1, [signals.descriptor])
    assert caplog.messages == ["the supervisor is gone; stopping"]
