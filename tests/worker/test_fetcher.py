"""The owner of a process's claims, on a real Redis: takes, delivers, gives back, forgets none."""

from __future__ import annotations

import json
import os
import queue
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from django_jobqueue import Payload, clock
from django_jobqueue.connection import store
from django_jobqueue.exceptions import StoreUnavailable
from django_jobqueue.job.declaration import wire_name
from django_jobqueue.service import Outage
from django_jobqueue.store.claims import (
    BACK,
    BURY,
    DISCARDED,
    EXPIRED,
    FORGET,
    RETRY,
    SKIPPED,
    SNOOZE,
    Claims,
    Move,
    Step,
)
from django_jobqueue.worker.fetcher import STALE, Fetcher
from django_jobqueue.worker.held import Held
from django_jobqueue.worker.lane import Lane
from django_jobqueue.worker.lease import Lease
from django_jobqueue.worker.options import QueueOrder, WorkerOptions
from django_jobqueue.worker.outcome import Outcome
from django_jobqueue.worker.pace import FLUSH_AFTER
from django_jobqueue.worker.results import REFUSED_WAIT
from django_jobqueue.worker.routing import Routing
from tests.conftest import JobqueueSettings
from tests.support.clocks import ShiftedClock, shift
from tests.support.inside import Inside
from tests.support.polling import wait_until
from tests.support.server import RedisServer
from tests.worker.test_routing import LoopJob, PlainJob

IDENTITY = "host:7:aaaaaaaaaaaa"
LEASE = 60.0


class Rig:
    """A fetcher with what is around it; the test stands in for the processors."""

    def __init__(
        self,
        *names: str,
        concurrency: int = 2,
        routing: Routing | None = None,
        **options: Any,
    ) -> None:
        queues = QueueOrder(dict.fromkeys(names or ("default",), 1), strict=True)
        self.lease = Lease(LEASE)
        self.outage = Outage()
        self.store = store().dedicated()
        self.store.claims.join(IDENTITY, LEASE)
        self.fetcher = Fetcher(
            self.store,
            IDENTITY,
            WorkerOptions(queues, concurrency=concurrency, lease=LEASE, **options),
            self.lease,
            self.outage,
            routing=routing,
        )

    def take(self, timeout: float = 20.0) -> Held:
        """Take a job as a processor does, and start it."""
        held = self.fetcher.lanes.threads.inbox.get(timeout=timeout)
        assert held is not None
        held.started = clock.monotonic()
        return held

    def finish(self, held: Held, outcome: Outcome | None = None) -> None:
        """End a job."""
        self.fetcher.finish(held, outcome)

    def finish_all(self) -> None:
        """Start and end together what waits in all lanes."""
        jobs = self.fetcher.lanes.empty()
        for held in jobs:
            held.started = clock.monotonic()
        self.fetcher.finish_all([(held, None) for held in jobs])

    def turn(self, times: int = 1) -> None:
        """Do some rounds of the loop in this thread: an idle one waits, so wake it first."""
        for _ in range(times):
            self.fetcher.wake()
            self.fetcher._turn()

    def inbox(self) -> list[Held]:
        """Return what waits for a processor, and leave it there."""
        found: list[Held] = []
        while True:
            try:
                held = self.fetcher.lanes.threads.inbox.get_nowait()
            except queue.Empty:
                break
            assert held is not None
            found.append(held)
        for held in found:
            self.fetcher.lanes.threads.inbox.put(held)
        return found

    def end(self) -> None:
        """Stop the thread, if it runs, and close everything."""
        self.fetcher.close()
        assert self.fetcher.join(20)
        self.fetcher._bell.close()
        self.store.close()
        os.close(self.fetcher._bell._wake_in)
        os.close(self.fetcher._bell._wake_out)


def checked(held: Held | None) -> Held:
    assert held is not None
    return held


MakeRig = Callable[..., Rig]


@pytest.fixture
def make_rig(jobqueue_settings: JobqueueSettings) -> Iterator[MakeRig]:
    """Make a fetcher on the test's Redis, or with ``JOBQUEUE`` as it was set before."""
    jobqueue_settings()
    made: list[Rig] = []

    def make(*names: str, **options: Any) -> Rig:
        made.append(Rig(*names, **options))
        return made[-1]

    yield make
    for rig in made:
        rig.end()


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> ShiftedClock:
    """A clock that the test can move ahead."""
    return shift(monkeypatch)


def job(number: int, **fields: Any) -> bytes:
    return Payload(
        {"class": "HardJob", "args": [number], "jid": f"{number:024x}", **fields}
    ).encode()


def push(*jobs: bytes, to: str = "default") -> None:
    store().queues.push({to: jobs})


def number_of(held: Held) -> int:
    number: int = json.loads(held.claim.raw)["args"][0]
    return number


def is_open(rig: Rig) -> bool:
    """Return whether jobs may be started."""
    return rig.lease.is_safe


def numbers_of(jobs: list[Held]) -> list[int]:
    return [number_of(held) for held in jobs]


def counters() -> dict[str, int]:
    return store().stats.counters()


# Taking -----------------------------------------------------------------------


def test_jobs_are_taken_in_the_order_of_the_queue_for_the_threads_that_are_free(
    make_rig: MakeRig, inside: Inside
) -> None:
    rig = make_rig(concurrency=2)
    push(*(job(n) for n in range(5)))
    rig.turn(3)
    assert numbers_of(rig.inbox()) == [0, 1]
    assert inside.args() == [[2], [3], [4]]
    assert store().claims.count(IDENTITY) == 2


def test_queues_are_asked_in_their_order(make_rig: MakeRig, inside: Inside) -> None:
    rig = make_rig("high", "low", concurrency=3)
    push(job(1), job(2), to="low")
    push(job(3), job(4), to="high")
    rig.turn()
    assert numbers_of(rig.inbox()) == [3, 4, 1]
    assert [held.claim.queue for held in rig.inbox()] == ["high", "high", "low"]


def test_a_push_wakes_an_idle_fetcher(make_rig: MakeRig) -> None:
    rig = make_rig("a", "b")
    rig.fetcher.start()
    assert rig.fetcher.idle.wait(20)
    push(job(1), to="b")
    held = rig.take()
    assert number_of(held) == 1
    assert not rig.fetcher.idle.is_set()
    rig.finish(held)
    assert rig.fetcher.idle.wait(20)
    assert rig.fetcher.holding() == 0


def test_jobs_that_are_short_are_taken_ahead_and_started_without_a_round_trip(
    make_rig: MakeRig, inside: Inside, count_round_trips: Callable[[], int]
) -> None:
    rig = make_rig(concurrency=2)
    push(*(job(n) for n in range(500)))
    rig.turn()
    trips = jobs = 0
    while jobs < 400:
        for held in rig.inbox():
            assert rig.take() is held
            held.started = clock.monotonic()
            rig.finish(held)
            jobs += 1
        count_round_trips()
        rig.turn()
        trips += count_round_trips()
    assert rig.fetcher.lanes.threads.pace.ahead > 2
    assert trips < 200


def test_more_than_a_page_is_taken_by_many_threads(make_rig: MakeRig) -> None:
    rig = make_rig(concurrency=150)
    push(*(job(n) for n in range(200)))
    rig.turn(2)
    assert numbers_of(rig.inbox()) == list(range(150))


# Delivering -------------------------------------------------------------------


def test_a_success_is_acknowledged_and_counted(make_rig: MakeRig, inside: Inside) -> None:
    rig = make_rig(concurrency=1)
    push(job(1), job(2))
    rig.fetcher.start()
    rig.finish(rig.take())
    assert number_of(rig.take()) == 2
    wait_until(lambda: counters()["processed"] == 1, 20, "the result")
    assert store().claims.count(IDENTITY) == 1
    assert counters()["failed"] == 0


@pytest.mark.parametrize(
    ("outcome", "place", "processed", "failed", "counted"),
    [
        (Outcome(RETRY, job(9), 60.0), "retry", 1, 1, {}),
        (Outcome(SNOOZE, job(9), 60.0), "schedule", 0, 0, {"snooze": 1}),
        (Outcome(BURY, job(9)), "dead", 1, 1, {}),
        (Outcome(FORGET, job(9)), "", 1, 1, {"forget": 1}),
        (Outcome(SKIPPED), "", 1, 0, {"skipped": 1}),
        (Outcome(EXPIRED), "", 1, 0, {"expired": 1}),
        (Outcome(DISCARDED), "", 1, 0, {"discarded": 1}),
    ],
    ids=lambda value: value.verb if isinstance(value, Outcome) else "",
)
def test_every_outcome_moves_its_job_to_its_place_and_is_counted(
    make_rig: MakeRig,
    inside: Inside,
    outcome: Outcome,
    place: str,
    processed: int,
    failed: int,
    counted: dict[str, int],
) -> None:
    rig = make_rig()
    push(job(1))
    rig.turn()
    rig.finish(rig.take(), outcome)
    seconds, _ = inside.client.time()
    rig.fetcher.quiet()  # so that nothing waits for company
    rig.turn()
    sets = {name: [entry for entry, _ in inside.entries(name)] for name in ("retry", "schedule")}
    sets["dead"] = [entry for entry, _ in inside.entries("dead")]
    expected = [json.loads(job(9))]
    assert sets == {name: expected if name == place else [] for name in sets}
    if place in ("retry", "schedule"):
        assert seconds + 59 <= inside.entry(place)[1] <= seconds + 120
    found = counters()
    assert (found.pop("processed"), found.pop("failed")) == (processed, failed)
    assert found == counted
    assert rig.fetcher.holding() == store().claims.count(IDENTITY) == 0


def test_a_result_waits_for_company_and_not_longer_than_its_time(
    make_rig: MakeRig, time: ShiftedClock
) -> None:
    rig = make_rig(concurrency=2)
    push(job(1), job(2))
    rig.turn()
    first = rig.take()
    rig.take()  # it runs on
    time.advance(0.0)
    rig.finish(first)
    rig.fetcher._collect()
    assert not rig.fetcher._delivery_due(first.ended or 0.0)
    time.advance(FLUSH_AFTER)
    rig.turn()
    assert counters()["processed"] == 1


def test_a_result_is_delivered_although_nothing_else_ever_happens(make_rig: MakeRig) -> None:
    rig = make_rig(concurrency=2)
    push(job(1), job(2))
    rig.fetcher.start()
    first = rig.take()
    rig.take()  # it runs on
    rig.finish(first)
    wait_until(lambda: counters()["processed"] == 1, 20, "the result")


def test_a_result_of_a_short_job_is_delivered_although_nothing_else_ever_happens(
    make_rig: MakeRig,
) -> None:
    rig = make_rig(concurrency=2)
    rig.fetcher.lanes.threads.pace.took([0.0] * 300)
    push(job(1), job(2))
    rig.fetcher.start()
    first = rig.take()
    rig.take()  # it runs on
    rig.finish(first)
    wait_until(lambda: counters()["processed"] == 1, 20, "the result")


def count_rings(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> list[None]:
    """Return a list that grows with each ring of the fetcher's bell."""
    rings: list[None] = []
    ring = rig.fetcher._bell.ring

    def heard() -> None:
        rings.append(None)
        ring()

    monkeypatch.setattr(rig.fetcher._bell, "ring", heard)
    return rings


def test_the_end_of_a_short_job_is_not_rung_for(
    make_rig: MakeRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = make_rig(concurrency=2)
    pace = rig.fetcher.lanes.threads.pace
    pace.took([0.0] * 300)
    pace.flush_after = 60.0  # the wait does not end before we look
    rings = count_rings(rig, monkeypatch)
    push(job(1))
    rig.fetcher.start()
    held = rig.take()
    wait_until(lambda: rig.fetcher._bell.is_awaited, 20, "the wait")
    rig.finish(held)
    assert rings == []


def test_a_long_job_among_short_ones_is_looked_for_once_and_then_rung_for(
    make_rig: MakeRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = make_rig(concurrency=2)
    rig.fetcher.lanes.threads.pace.took([0.0] * 300)
    rings = count_rings(rig, monkeypatch)
    push(job(1))
    rig.fetcher.start()
    held = rig.take()

    def waits_for_a_ring() -> bool:
        return rig.fetcher._bell.is_awaited and rig.fetcher._wake_at == 1

    wait_until(waits_for_a_ring, 20, "the second wait")
    rig.finish(held)
    assert rings == [None]
    wait_until(lambda: counters()["processed"] == 1, 20, "the result")


def test_each_result_goes_with_the_next_turn_where_that_is_asked(make_rig: MakeRig) -> None:
    rig = make_rig(concurrency=2, ack_each=True)
    push(job(1), job(2))
    rig.turn()
    rig.finish(rig.take())
    rig.turn()
    assert counters()["processed"] == 1


def test_results_are_delivered_a_hundred_at_a_time(
    make_rig: MakeRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = make_rig(concurrency=150)
    push(*(job(n) for n in range(150)))
    rig.turn(2)
    sizes: list[int] = []
    step = Claims.step

    def spy(self: Claims, identity: str, **options: Any) -> Step:
        sizes.append(len(options["done"]) + len(options["moves"]))
        return step(self, identity, **options)

    monkeypatch.setattr(Claims, "step", spy)
    for held in rig.inbox():
        rig.take()
        rig.finish(held, Outcome(SKIPPED) if number_of(held) % 2 else None)
    rig.fetcher.quiet()
    rig.turn(3)
    assert [size for size in sizes if size] == [100, 50]
    assert counters()["processed"] == 150


def test_two_equal_payloads_are_two_jobs(make_rig: MakeRig) -> None:
    rig = make_rig(concurrency=2)
    push(job(1), job(1))
    rig.turn()
    first, second = rig.take(), rig.take()
    rig.finish(first)
    rig.fetcher.quiet()
    rig.turn()
    assert counters()["processed"] == 1
    assert store().claims.count(IDENTITY) == 1
    rig.finish(second)
    rig.turn()
    assert counters()["processed"] == 2


# What Redis refuses -----------------------------------------------------------


def test_a_result_that_redis_refuses_is_kept_and_sent_again(
    make_rig: MakeRig, inside: Inside, time: ShiftedClock, caplog: pytest.LogCaptureFixture
) -> None:
    rig = make_rig(concurrency=2, ack_each=True)
    inside.client.set(inside.key("retry"), "somebody's own")
    push(job(1), job(2), job(3))
    rig.turn()
    rig.finish(rig.take(), Outcome(RETRY, job(1), 60.0))
    rig.finish(rig.take())
    rig.turn(2)
    assert counters()["processed"] == 1
    assert [claim.raw for claim in store().claims.held(IDENTITY)[0]] == [job(1), job(3)]
    assert "Redis refused the result of 1 job(s), kept to try again: WRONGTYPE" in caplog.text
    assert numbers_of(rig.inbox()) == [3]  # the thread is free for others
    inside.client.delete(inside.key("retry"))
    rig.turn()
    assert inside.entries("retry") == []  # not at once
    time.advance(REFUSED_WAIT)
    rig.turn()
    assert inside.entry("retry")[0]["args"] == [1]
    assert counters()["processed"] == 2


def test_a_queue_that_cannot_be_read_is_told_once_and_the_others_go_on(
    make_rig: MakeRig, inside: Inside, time: ShiftedClock, caplog: pytest.LogCaptureFixture
) -> None:
    rig = make_rig("bad", "good")
    inside.client.set(inside.key("queue:bad"), "somebody's own")
    rig.fetcher.start()
    for number in range(3):
        push(job(number), to="good")
        held = rig.take()
        assert number_of(held) == number
        rig.finish(held)
    told = [line for line in caplog.messages if "queue bad cannot be read" in line]
    assert len(told) == 1
    inside.client.delete(inside.key("queue:bad"))
    push(job(9), to="bad")
    time.advance(2)
    rig.fetcher.wake()
    assert number_of(rig.take()) == 9


def test_a_paused_queue_is_left_alone_until_it_is_resumed(
    make_rig: MakeRig, inside: Inside, time: ShiftedClock
) -> None:
    rig = make_rig("paused", "good", concurrency=3)
    store().queues.pause("paused")
    push(job(1), to="paused")
    push(job(2), to="good")
    rig.fetcher.start()
    assert number_of(rig.take()) == 2
    assert inside.args("paused") == [[1]]
    store().queues.resume("paused")
    time.advance(2)
    rig.fetcher.wake()
    assert number_of(rig.take()) == 1


# Giving back ------------------------------------------------------------------


def test_a_job_that_no_thread_comes_to_start_goes_back_to_its_queue(
    make_rig: MakeRig, inside: Inside, time: ShiftedClock
) -> None:
    rig = make_rig("low", concurrency=2)
    push(job(1), job(2), to="low")
    rig.turn()
    running = rig.take()
    rig.fetcher.quiet()  # so that it is not taken again
    time.advance(STALE + 0.1)
    rig.turn(2)
    assert inside.raw("low") == [job(2)]
    assert counters()["back"] == 1
    assert rig.fetcher.running() == [running]


def test_a_job_is_given_back_by_its_age_alone(
    make_rig: MakeRig, inside: Inside, time: ShiftedClock
) -> None:
    rig = make_rig(concurrency=2, ack_each=True)
    push(job(1), job(2))
    rig.turn()
    rig.take()
    rig.turn()
    assert numbers_of(rig.inbox()) == [2]  # young
    store().queues.pause("default")
    time.advance(STALE + 0.1)
    rig.turn(2)
    assert rig.inbox() == []
    assert inside.raw() == [job(2)]


def test_quiet_gives_back_what_is_not_started_and_takes_no_more(
    make_rig: MakeRig, inside: Inside
) -> None:
    rig = make_rig(concurrency=3)
    push(*(job(n) for n in range(4)))
    rig.fetcher.start()
    running = rig.take()
    wait_until(lambda: len(inside.raw()) == 1, 20, "the claims")
    rig.fetcher.quiet()
    assert rig.fetcher.is_quiet
    wait_until(lambda: len(inside.raw()) == 3, 20, "the jobs given back")
    assert inside.args() == [[1], [2], [3]]
    rig.finish(running)
    wait_until(lambda: counters()["processed"] == 1, 20, "the result")
    push(job(9))
    rig.fetcher.wake()
    wait_until(lambda: rig.fetcher.holding() == 0, 20, "the word of it")
    assert len(inside.raw()) == 4


def test_jobs_given_back_keep_their_order_however_many_they_are(
    make_rig: MakeRig, inside: Inside
) -> None:
    rig = make_rig(concurrency=250)
    push(*(job(n) for n in range(251)))
    rig.turn(4)
    assert inside.args() == [[250]]
    rig.fetcher.quiet()
    rig.turn(4)
    assert inside.args() == [[n] for n in range(251)]


def test_suspects_given_back_stand_behind_sound_jobs(make_rig: MakeRig, inside: Inside) -> None:
    rig = make_rig(concurrency=4)
    push(suspect(1), suspect(2), job(3), job(4))
    rig.turn(2)
    rig.fetcher.quiet()
    rig.turn(2)
    assert inside.args()[-1] == [2]
    assert sorted(inside.args()) == [[1], [2], [3], [4]]


# Suspects ---------------------------------------------------------------------


def suspect(number: int) -> bytes:
    return job(number, crashes=1, crashed_at=1)


def marked(inside: Inside) -> bytes | None:
    field: bytes | None = inside.client.hget(inside.key(f"jq:claims:{IDENTITY}"), "suspect")
    return field


def test_suspects_run_one_at_a_time_and_the_one_that_runs_is_marked(
    make_rig: MakeRig, inside: Inside
) -> None:
    rig = make_rig(concurrency=5, ack_each=True)
    push(suspect(1), suspect(2), job(3), suspect(4))
    rig.turn(3)
    assert numbers_of(rig.inbox()) == [3, 1]
    rig.take()
    first = rig.take()
    assert marked(inside) == first.claim.field.encode()
    rig.turn(2)
    assert rig.inbox() == []
    rig.finish(first, Outcome(RETRY, suspect(1), 60.0))
    rig.turn(3)
    (second,) = rig.inbox()
    assert number_of(second) == 2
    assert marked(inside) == second.claim.field.encode()


def test_the_mark_stands_before_the_suspect_can_start(
    make_rig: MakeRig, inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = make_rig()
    push(suspect(1))
    seen: list[tuple[bool, bool]] = []
    step = Claims.step

    def spy(self: Claims, identity: str, **options: Any) -> Step:
        found = step(self, identity, **options)
        seen.append((marked(inside) is not None, bool(rig.inbox())))
        return found

    monkeypatch.setattr(Claims, "step", spy)
    rig.turn(2)
    assert seen == [(False, False), (True, False)]
    assert numbers_of(rig.inbox()) == [1]


def test_the_mark_goes_when_no_suspect_runs(make_rig: MakeRig, inside: Inside) -> None:
    rig = make_rig(ack_each=True)
    push(suspect(1), job(2))
    rig.turn(2)
    jobs = {number_of(held): held for held in (rig.take(), rig.take())}
    rig.finish(jobs[1])
    rig.turn()
    assert marked(inside) is None


def test_a_waiting_suspect_does_not_take_the_place_of_a_sound_job(make_rig: MakeRig) -> None:
    rig = make_rig(concurrency=2)
    push(*(suspect(n) for n in range(6)), job(10), job(11))
    rig.turn(8)
    found = numbers_of(rig.inbox())
    assert 10 in found
    assert len([number for number in found if number < 10]) == 1


def test_the_word_crashes_elsewhere_makes_no_suspect(make_rig: MakeRig, inside: Inside) -> None:
    rig = make_rig(concurrency=3)
    push(job(1, note='"crashes":'), job(2, x={"crashes": 5}), job(3, crashes=0))
    rig.turn()
    assert numbers_of(rig.inbox()) == [1, 2, 3]
    assert marked(inside) is None


def test_suspects_that_cannot_have_their_turn_go_back_in_time(
    make_rig: MakeRig, inside: Inside, time: ShiftedClock
) -> None:
    rig = make_rig(concurrency=3, ack_each=True)
    push(suspect(1), suspect(2))
    rig.turn(2)
    rig.take()
    store().queues.pause("default")
    time.advance(STALE + 0.1)
    rig.turn(2)
    assert inside.raw() == [suspect(2)]
    assert numbers_of(rig.fetcher.running()) == [1]


# Two lanes --------------------------------------------------------------------


def async_job(number: int, **fields: Any) -> bytes:
    """A job for the event loop."""
    return job(number, **{"class": wire_name(LoopJob), **fields})


def two_lanes(make_rig: MakeRig, *names: str, slots: int = 3) -> Rig:
    return make_rig(
        *names, concurrency=1, async_concurrency=slots, routing=Routing([LoopJob, PlainJob])
    )


def waiting(lane: Lane | None) -> list[int]:
    """Return what waits in a lane, and leave it there."""
    assert lane is not None
    found = list(lane.empty())
    for held in found:
        lane.inbox.put(held)
    return numbers_of(found)


def test_a_lane_that_is_full_keeps_nothing_from_the_other_and_claims_nothing_in_vain(
    make_rig: MakeRig, inside: Inside
) -> None:
    rig = two_lanes(make_rig, "default", "aio")
    push(*(job(n) for n in range(5)))
    rig.turn(3)
    assert waiting(rig.fetcher.lanes.threads) == [0]
    push(*(async_job(n) for n in range(10, 15)), to="aio")
    rig.turn(4)
    assert waiting(rig.fetcher.lanes.threads) == [0]
    assert waiting(rig.fetcher.lanes.loop) == [10, 11, 12]
    assert inside.args("default") == [[1], [2], [3], [4]]
    assert inside.args("aio") == [[13], [14]]


def test_jobs_of_both_kinds_in_one_queue_go_each_to_its_lane(make_rig: MakeRig) -> None:
    rig = two_lanes(make_rig, "mixed")
    push(async_job(1), job(2), async_job(3), to="mixed")
    rig.turn(3)
    threads, loop = rig.fetcher.lanes.threads, rig.fetcher.lanes.loop
    # As far as both had room, whatever comes: one by one.
    assert waiting(loop) == [1]
    assert waiting(threads) == [2]
    rig.finish_all()
    rig.turn(3)
    assert waiting(loop) == [3]


def test_a_push_for_the_event_loop_wakes_a_fetcher_whose_threads_are_busy(
    make_rig: MakeRig,
) -> None:
    rig = two_lanes(make_rig, "default", "aio")
    push(job(1))
    rig.fetcher.start()
    rig.take()  # and it runs on
    push(async_job(2), to="aio")
    assert rig.fetcher.lanes.loop is not None
    assert number_of(checked(rig.fetcher.lanes.loop.inbox.get(timeout=20))) == 2


def test_suspects_of_both_lanes_run_one_at_a_time(make_rig: MakeRig, inside: Inside) -> None:
    rig = two_lanes(make_rig, "default", "aio")
    push(suspect(1))
    push(async_job(2, crashes=1), to="aio")
    rig.turn(4)
    threads, loop = rig.fetcher.lanes.threads, rig.fetcher.lanes.loop
    assert (waiting(threads), waiting(loop)) == ([1], [])
    rig.finish(rig.take())
    rig.turn(3)
    assert (waiting(threads), waiting(loop)) == ([], [2])


def test_a_quiet_fetcher_gives_back_what_waits_in_either_lane(
    make_rig: MakeRig, inside: Inside
) -> None:
    rig = two_lanes(make_rig, "default", "aio")
    push(job(1))
    push(async_job(2), async_job(3), to="aio")
    rig.turn(4)
    rig.fetcher.quiet()
    rig.turn(2)
    assert inside.raw("default") == [job(1)]
    assert inside.raw("aio") == [async_job(2), async_job(3)]
    assert rig.fetcher.holding() == 0


# Lost replies -----------------------------------------------------------------


def lose_one_reply(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the next step be done by Redis, and its reply be lost."""
    step = Claims.step

    def done_and_lost(self: Claims, identity: str, **options: Any) -> Step:
        monkeypatch.setattr(Claims, "step", step)
        step(self, identity, **options)
        raise StoreUnavailable("the reply was lost")

    monkeypatch.setattr(Claims, "step", done_and_lost)


def test_jobs_whose_claim_was_not_answered_are_taken_up_and_run_once(
    make_rig: MakeRig, inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = make_rig(concurrency=3)
    push(job(1), job(2))
    lose_one_reply(monkeypatch)
    rig.fetcher.start()
    first, second = rig.take(), rig.take()
    assert sorted([number_of(first), number_of(second)]) == [1, 2]
    rig.finish(first)
    rig.finish(second)
    wait_until(lambda: counters()["processed"] == 2, 20, "the results")
    assert rig.inbox() == []
    assert inside.raw() == []


def test_a_suspect_whose_claim_was_not_answered_is_still_a_suspect(
    make_rig: MakeRig, inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = make_rig(concurrency=3)
    push(suspect(1), suspect(2))
    lose_one_reply(monkeypatch)
    rig.fetcher.start()
    held = rig.take()
    wait_until(lambda: marked(inside) == held.claim.field.encode(), 20, "the mark")
    assert rig.inbox() == []


def test_a_result_whose_delivery_was_not_answered_counts_once_and_is_not_called_late(
    make_rig: MakeRig, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    rig = make_rig(concurrency=1)
    push(job(1))
    rig.fetcher.start()
    held = rig.take()
    lose_one_reply(monkeypatch)
    rig.finish(held, Outcome(RETRY, job(1), 60.0))
    wait_until(lambda: rig.fetcher.holding() == 0, 20, "the result to be settled")
    found = counters()
    assert (found["processed"], found["failed"]) == (1, 1)
    assert "fenced" not in found
    assert "came too late" not in caplog.text
    assert rig.lease.is_safe


def test_a_lost_reply_is_an_outage_that_is_told(
    make_rig: MakeRig, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    rig = make_rig()
    push(job(1))
    lose_one_reply(monkeypatch)
    rig.fetcher.start()
    rig.take()
    wait_until(lambda: "Redis back" in caplog.text, 20, "the news")
    assert "Redis is away: the reply was lost" in caplog.text
    assert rig.outage.since is None


# Lost claims ------------------------------------------------------------------


def take_away(*numbers: int) -> None:
    """Have somebody take back our claims of these jobs, for our lease had ended."""
    claims = store().claims
    claims.declare_dead(IDENTITY)
    held, _ = claims.held(IDENTITY)
    moves = [
        Move(BACK, claim.field, claim.raw, queue="elsewhere")
        for claim in held
        if json.loads(claim.raw)["args"][0] in numbers
    ]
    assert claims.recover(IDENTITY, moves).moved == len(numbers)


def test_a_job_that_was_taken_back_before_it_started_is_never_started(
    make_rig: MakeRig, caplog: pytest.LogCaptureFixture
) -> None:
    rig = make_rig(concurrency=3)
    push(job(1), job(2))
    rig.turn()
    first, second = rig.inbox()
    take_away(1)
    rig.fetcher.doubt()
    rig.turn()
    assert (first.lost, second.lost) == (True, False)
    assert rig.fetcher.holding() == 1
    assert rig.inbox() in ([second], [first, second])  # a processor drops it by its mark
    assert rig.lease.is_safe
    assert not rig.lease.audit_due


def test_the_result_of_a_job_that_was_taken_back_while_it_ran_is_refused_and_counted(
    make_rig: MakeRig, inside: Inside, caplog: pytest.LogCaptureFixture
) -> None:
    rig = make_rig(concurrency=1)
    push(job(1))
    rig.turn()
    held = rig.take()
    take_away(1)
    rig.fetcher.doubt()
    rig.turn()
    assert held.lost
    assert "The lease of a running job was lost" in caplog.text
    rig.finish(held, Outcome(BURY, job(1)))
    rig.fetcher.quiet()
    rig.turn(2)
    assert inside.entries("dead") == []
    assert inside.args("elsewhere") == [[1]]
    assert counters() == {"processed": 0, "failed": 0, "fenced": 1, "recovered": 1}
    assert "1 result(s) came too late" in caplog.text
    assert rig.fetcher.holding() == 0


def test_a_suspect_that_was_taken_back_leaves_room_for_the_next(
    make_rig: MakeRig, inside: Inside
) -> None:
    rig = make_rig(concurrency=3)
    push(suspect(1), suspect(2))
    rig.turn(2)
    assert numbers_of(rig.inbox()) == [1]
    rig.inbox()[0].started = None
    take_away(1)
    rig.fetcher.doubt()

    def waiting() -> list[int]:
        rig.turn()
        return numbers_of([held for held in rig.inbox() if not held.lost])

    # Several rounds where one takes so long that the next suspect is given back meanwhile.
    wait_until(lambda: waiting() == [2], 20, "the next suspect")


def test_after_a_lapse_the_claims_are_compared_before_anything_is_taken(
    make_rig: MakeRig, inside: Inside
) -> None:
    rig = make_rig(concurrency=2)
    push(job(1))
    rig.turn()
    inside.client.delete(inside.key("jq:leases"))
    rig.lease.renewed(clock.monotonic(), lapsed=True)
    assert is_open(rig) is False
    rig.turn()
    assert is_open(rig) is True
    assert IDENTITY in store().claims.leases()


def test_a_redis_that_lost_everything_is_survived(make_rig: MakeRig, inside: Inside) -> None:
    rig = make_rig(concurrency=1)
    push(job(1))
    rig.fetcher.start()
    held = rig.take()
    for name in inside.names():
        inside.client.delete(inside.key(name))
    rig.finish(held)
    wait_until(lambda: rig.fetcher.holding() == 0, 20, "the result to be settled")
    push(job(2))
    assert number_of(rig.take()) == 2


# Outages ----------------------------------------------------------------------


def test_an_outage_is_outlived_and_results_of_its_time_are_delivered(
    settings: Any,
    make_rig: MakeRig,
    private_redis: Callable[..., RedisServer],
    caplog: pytest.LogCaptureFixture,
) -> None:
    server = private_redis(appendfsync="always")
    settings.JOBQUEUE = {"REDIS_URL": server.url}
    rig = make_rig(concurrency=2)
    push(job(1), job(2))
    rig.fetcher.start()
    first, second = rig.take(), rig.take()
    server.kill9()
    rig.finish(first)
    wait_until(lambda: rig.outage.since is not None, 20, "the outage")
    rig.finish(second, Outcome(RETRY, job(2), 60.0))
    server.start()
    wait_until(lambda: rig.outage.since is None, 30, "the end of the outage")
    wait_until(lambda: rig.fetcher.holding() == 0, 30, "the results")
    assert counters()["processed"] == 2
    assert store().sets.sizes()["retry"] == 1
    assert sum("Redis is away" in line for line in caplog.messages) == 1
    push(job(3))
    assert number_of(rig.take()) == 3


# The end ----------------------------------------------------------------------


def test_the_last_act_delivers_results_and_gives_back_what_still_runs(
    make_rig: MakeRig, inside: Inside, caplog: pytest.LogCaptureFixture
) -> None:
    rig = make_rig("low", concurrency=3)
    push(job(1), job(2), job(3), job(4), to="low")
    rig.fetcher.start()
    finished = rig.take()
    rig.take()  # it runs on
    wait_until(lambda: rig.fetcher.holding() == 3, 20, "the claims")
    rig.fetcher.close()
    assert rig.fetcher.join(20)
    rig.finish(finished)
    assert rig.fetcher.deliver_last(clock.monotonic() + 10) == 0
    assert inside.args("low") == [[2], [3], [4]]
    assert counters()["processed"] == 1
    left = {name for name in inside.names() if not name.startswith("stat:")}
    assert left == {"queue:low", "queues", "jq:counters"}
    assert f"requeued 1 running job ({2:024x})" in caplog.text


def test_a_running_job_is_given_back_with_its_own_bytes(make_rig: MakeRig, inside: Inside) -> None:
    rig = make_rig()
    push(suspect(1))
    rig.turn(2)
    rig.take()
    rig.fetcher.close()
    assert rig.fetcher.deliver_last(clock.monotonic() + 10) == 0
    assert inside.raw() == [suspect(1)]  # neither an attempt nor a crash


def test_jids_of_jobs_given_back_make_no_second_log_line(
    make_rig: MakeRig, caplog: pytest.LogCaptureFixture
) -> None:
    rig = make_rig(concurrency=2)
    push(job(1, jid="a\nb"), b"junk")
    rig.turn()
    rig.take(), rig.take()
    rig.fetcher.close()
    rig.fetcher.deliver_last(clock.monotonic() + 10)
    (line,) = [line for line in caplog.messages if "requeued" in line]
    assert line == r"requeued 2 running jobs (a\nb, ?)"


def test_jobs_whose_claim_was_not_answered_are_given_back_and_not_run_at_the_end(
    make_rig: MakeRig, inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = make_rig(concurrency=3)
    push(job(1), job(2))
    lose_one_reply(monkeypatch)
    with pytest.raises(StoreUnavailable):
        rig.turn()
    rig.fetcher._doubtful = True  # as the loop notes it
    shown = Shown()
    rig.fetcher.lanes.threads.inbox = shown
    rig.fetcher.close()
    assert rig.fetcher.deliver_last(clock.monotonic() + 10) == 0
    assert inside.args() == [[1], [2]]
    assert shown.seen == []  # a processor would have taken it before it was given back


class Shown(queue.SimpleQueue[Held | None]):
    """An inbox that remembers what was put into it."""

    def __init__(self) -> None:
        self.seen: list[Held | None] = []

    def put(self, item: Held | None, block: bool = True, timeout: float | None = None) -> None:
        self.seen.append(item)
        super().put(item)


def test_a_last_act_whose_reply_is_lost_is_done_again(
    make_rig: MakeRig, inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = make_rig()
    push(job(1))
    rig.turn()
    rig.finish(rig.take())
    rig.fetcher.close()
    lose_one_reply(monkeypatch)
    assert rig.fetcher.deliver_last(clock.monotonic() + 10) == 0
    assert counters()["processed"] == 1
    assert IDENTITY not in store().claims.leases()


def test_a_last_act_without_redis_ends_in_time_and_tells_how_many_are_left(
    settings: Any,
    make_rig: MakeRig,
    private_redis: Callable[..., RedisServer],
    time: ShiftedClock,
) -> None:
    server = private_redis(appendfsync="always")
    settings.JOBQUEUE = {"REDIS_URL": server.url}
    rig = make_rig(concurrency=2)
    push(job(1), job(2))
    rig.turn()
    rig.finish(rig.take())
    rig.take()
    server.kill9()
    rig.fetcher.close()
    assert rig.fetcher.deliver_last(clock.monotonic() + 0.2) == 2
    server.start()
    assert store().claims.count(IDENTITY) == 2


def test_a_result_that_redis_refuses_to_the_end_is_left_to_recovery(
    make_rig: MakeRig, inside: Inside
) -> None:
    rig = make_rig()
    inside.client.set(inside.key("dead"), "somebody's own")
    push(job(1))
    rig.turn()
    rig.finish(rig.take(), Outcome(BURY, job(1)))
    rig.fetcher.close()
    assert rig.fetcher.deliver_last(clock.monotonic() + 10) == 1
    assert store().claims.expired() == ([IDENTITY], [])


def test_a_fetcher_that_was_never_started_has_ended(make_rig: MakeRig) -> None:
    assert make_rig().fetcher.join(0)
