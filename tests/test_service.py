"""A loop that no failure ends, and the news of an outage told once."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator

import pytest

from django_jobqueue.exceptions import StoreUnavailable
from django_jobqueue.service import RECONNECT_MAX, RECONNECT_MIN, Backoff, Outage, Service
from tests.support.clocks import freeze
from tests.support.polling import wait_until


class Loop(Service):
    """Does what the test gives it, tick by tick; the last entry is repeated."""

    name = "loop"

    def __init__(self, *ticks: Callable[[], float], outage: Outage | None = None) -> None:
        super().__init__(outage)
        self._script = list(ticks)
        self.ticked = 0

    def tick(self) -> float:
        """Take the next entry."""
        self.ticked += 1
        step = self._script[min(self.ticked, len(self._script)) - 1]
        return step()


def fine() -> float:
    return 60.0


def soon() -> float:
    return 0.0


def away() -> float:
    raise StoreUnavailable("nobody listens")


def broken() -> float:
    raise ValueError("a bug")


@pytest.fixture
def running() -> Iterator[Callable[[Service], None]]:
    """Start services that are stopped after the test."""
    started: list[Service] = []

    def start(each: Service) -> None:
        started.append(each)
        each.start()

    yield start
    for each in started:
        each.stop()
        assert each.join(10)


def await_ticks(loop: Loop, count: int) -> None:
    """Wait until the loop has ticked so often, cutting its pauses short."""

    def ticked() -> bool:
        loop.wake()
        return loop.ticked >= count

    wait_until(ticked, what=f"{count} ticks")


def test_a_loop_ticks_until_it_is_stopped() -> None:
    loop = Loop(soon)
    loop.start()
    wait_until(lambda: loop.ticked > 3, what="some ticks")
    loop.stop()
    assert loop.join(10)
    assert loop.stopping
    ticked = loop.ticked
    assert loop.join(0)
    assert loop.ticked == ticked


def test_a_loop_that_was_never_started_has_ended() -> None:
    assert Loop(fine).join(0)


def test_a_stopped_loop_does_not_tick_once_more() -> None:
    loop = Loop(fine)
    loop.stop()
    loop.start()
    assert loop.join(10)
    assert loop.ticked == 0


def test_a_wake_up_cuts_the_wait_short(running: Callable[[Service], None]) -> None:
    loop = Loop(fine)
    running(loop)
    wait_until(lambda: loop.ticked == 1, what="the first tick")
    loop.wake()
    wait_until(lambda: loop.ticked == 2, what="the second tick")


def test_stopping_does_not_wait_for_the_present_pause() -> None:
    loop = Loop(fine)
    loop.start()
    wait_until(lambda: loop.ticked == 1, what="the first tick")
    loop.stop()
    assert loop.join(10)


def test_joining_tells_of_a_loop_that_still_runs() -> None:
    let_go = threading.Event()

    def stuck() -> float:
        let_go.wait(30)
        return 0.0

    loop = Loop(stuck)
    loop.start()
    loop.stop()
    assert not loop.join(0)
    let_go.set()
    assert loop.join(10)


def test_an_outage_does_not_end_a_loop_and_is_told_once(
    running: Callable[[Service], None], caplog: pytest.LogCaptureFixture
) -> None:
    loop = Loop(away, away, away, fine)
    running(loop)
    await_ticks(loop, 4)
    wait_until(lambda: len(caplog.records) >= 2, what="the news")
    down, up = caplog.messages
    assert down == "Redis is away: nobody listens. Trying until it is back."
    assert up.startswith("Redis back after ")
    assert [record.levelno for record in caplog.records] == [logging.ERROR, logging.WARNING]


def test_a_bug_does_not_end_a_loop_and_is_told_with_its_traceback(
    running: Callable[[Service], None], caplog: pytest.LogCaptureFixture
) -> None:
    loop = Loop(broken, fine)
    running(loop)
    await_ticks(loop, 2)
    (record,) = caplog.records
    assert record.getMessage() == "The loop failed; it goes on"
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], ValueError)


def test_a_base_exception_does_not_end_a_loop(
    running: Callable[[Service], None], caplog: pytest.LogCaptureFixture
) -> None:
    def leave() -> float:
        raise SystemExit(3)

    loop = Loop(leave, fine)
    running(loop)
    await_ticks(loop, 2)
    assert caplog.messages == ["The loop failed; it goes on"]


def test_a_duty_without_a_tick_says_so() -> None:
    with pytest.raises(NotImplementedError):
        Service().tick()


def began_at(outage: Outage) -> float | None:
    """Return ``outage.since``, which mypy takes to stay what it was."""
    return outage.since


def test_loops_share_one_piece_of_news(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    clock = freeze(monkeypatch)
    outage = Outage()
    outage.began(StoreUnavailable("gone"))
    clock.advance(5)
    outage.began(StoreUnavailable("gone still"))
    assert began_at(outage) == clock.monotonic - 5
    clock.advance(7.3)
    outage.ended()
    outage.ended()
    assert began_at(outage) is None
    assert caplog.messages == [
        "Redis is away: gone. Trying until it is back.",
        "Redis back after 12.3 s",
    ]


def test_the_end_of_no_outage_is_no_news(caplog: pytest.LogCaptureFixture) -> None:
    Outage().ended()
    assert caplog.messages == []


def test_waits_grow_with_jitter_between_their_bounds() -> None:
    ceilings = [RECONNECT_MIN * 2**n for n in range(7)]
    for ceiling in ceilings:
        longest = 0.0
        for _ in range(50):
            backoff = Backoff()
            for _ in range(ceilings.index(ceiling)):
                backoff.next()
            wait = backoff.next()
            assert RECONNECT_MIN <= wait <= max(RECONNECT_MIN, ceiling)
            longest = max(longest, wait)
        assert longest <= RECONNECT_MAX


def test_waits_never_exceed_their_bound_and_start_anew_after_success() -> None:
    backoff = Backoff()
    assert all(RECONNECT_MIN <= backoff.next() <= RECONNECT_MAX for _ in range(5_000))
    backoff.reset()
    assert backoff.next() == RECONNECT_MIN
