"""Signals become bytes on a pipe that a loop can wait for."""

from __future__ import annotations

import os
import select
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from django_jobqueue.worker.os_signals import SignalPipe, stacks

SIGNALS = [signal.SIGUSR1, signal.SIGTSTP, signal.SIGHUP]


@pytest.fixture
def pipe() -> Iterator[SignalPipe]:
    """A pipe for some signals, whose handlers are put back after the test."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    made = SignalPipe(SIGNALS)
    yield made
    made.close()
    for number, handler in before.items():
        signal.signal(number, handler)


def test_nothing_is_read_where_nothing_came(pipe: SignalPipe) -> None:
    assert pipe.read() == []


def test_signals_are_read_in_order_and_once(pipe: SignalPipe) -> None:
    sent = [signal.SIGUSR1, signal.SIGHUP, signal.SIGTSTP, signal.SIGUSR1]
    for number in sent:
        os.kill(os.getpid(), number)
        assert select.select([pipe.descriptor], [], [], 10)[0]
    assert pipe.read() == sent
    assert pipe.read() == []


def test_a_wait_for_the_descriptor_ends_with_a_signal(pipe: SignalPipe) -> None:
    timer = threading.Timer(0, os.kill, (os.getpid(), signal.SIGUSR1))
    timer.start()
    ready, _, _ = select.select([pipe.descriptor], [], [], 30)
    timer.join(10)
    assert ready == [pipe.descriptor]
    assert pipe.read() == [signal.SIGUSR1]


def test_any_thread_may_act_as_if_a_signal_had_come(pipe: SignalPipe) -> None:
    thread = threading.Thread(target=pipe.send, args=(signal.SIGTERM,))
    thread.start()
    thread.join(10)
    assert pipe.read() == [signal.SIGTERM]


def test_a_wait_can_be_ended_without_a_signal(pipe: SignalPipe) -> None:
    pipe.wake()
    os.kill(os.getpid(), signal.SIGUSR1)
    assert select.select([pipe.descriptor], [], [], 10)[0]
    assert pipe.read() == [signal.SIGUSR1]
    for _ in range(100_000):  # more than a pipe holds
        pipe.wake()
    assert pipe.read() == []


def test_more_signals_than_a_pipe_holds_do_no_harm(pipe: SignalPipe) -> None:
    for _ in range(2_000):
        os.kill(os.getpid(), signal.SIGUSR1)
    assert signal.SIGUSR1 in pipe.read()


def test_closing_lets_go_of_the_signals_and_may_be_done_twice() -> None:
    before = signal.getsignal(signal.SIGUSR1)
    made = SignalPipe([signal.SIGUSR1])
    try:
        made.close()
        made.close()
        assert signal.getsignal(signal.SIGUSR1) is signal.SIG_DFL
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(made.descriptor)
    finally:
        signal.signal(signal.SIGUSR1, before)


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_fork_has_none_of_our_handlers(pipe: SignalPipe) -> None:
    ours, theirs = os.pipe()
    pid = os.fork()
    if pid == 0:
        answer = b"n"
        try:
            if all(signal.getsignal(number) is signal.SIG_DFL for number in SIGNALS):
                answer = b"y"
        finally:
            os.write(theirs, answer)
            os._exit(0)
    os.close(theirs)
    assert os.read(ours, 1) == b"y"
    os.close(ours)
    os.waitpid(pid, 0)
    os.kill(os.getpid(), signal.SIGUSR1)
    assert pipe.read() == [signal.SIGUSR1]


def test_stacks_tell_what_every_thread_does() -> None:
    let_go = threading.Event()

    def linger_in_a_place_of_its_own() -> None:
        let_go.wait(30)

    thread = threading.Thread(target=linger_in_a_place_of_its_own, name="the-lingerer")
    thread.start()
    try:
        told = wait_for(stacks, "linger_in_a_place_of_its_own")
    finally:
        let_go.set()
        thread.join(10)
    assert "thread the-lingerer (" in told
    assert "test_stacks_tell_what_every_thread_does" in told


def wait_for(tell: Callable[[], str], word: str) -> Any:
    """Ask until the word is told: a thread needs a moment to come to its place."""
    for _ in range(10_000):
        told = tell()
        if word in told:
            return told
    raise AssertionError(f"{word} is never told")
