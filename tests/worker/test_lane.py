"""Lanes share the queues: no kind of job waits for the other, and nothing is claimed in vain."""

from __future__ import annotations

import pytest

from django_jobqueue import Payload
from django_jobqueue.job.declaration import wire_name
from django_jobqueue.store.claims import Claim
from django_jobqueue.worker.held import Held
from django_jobqueue.worker.lane import Demand, Lane, Lanes
from django_jobqueue.worker.options import QueueOrder, WorkerOptions
from django_jobqueue.worker.routing import Routing
from tests.worker.test_routing import ROUTING, LoopJob, PlainJob

QUEUES = QueueOrder({"default": 1, "aio": 1, "again": 1}, strict=True)


def lanes(threads: int = 10, slots: int = 100, queues: QueueOrder = QUEUES) -> Lanes:
    options = WorkerOptions(queues, concurrency=threads, async_concurrency=slots)
    return Lanes(options, Routing(ROUTING))


def loop_of(made: Lanes) -> Lane:
    assert made.loop is not None
    return made.loop


def fill(lane: Lane, jobs: int) -> list[Held]:
    """Have jobs run in a lane."""
    found = [Held(Claim(f"1:{n}:q", "q", b""), 0.0) for n in range(jobs)]
    lane.jobs.update(found)
    return found


def demanded(made: Lanes) -> tuple[Demand, list[str]]:
    demand = made.demand(0)
    assert demand is not None
    return demand, made.queues(demand)


def job(cls: type, queue: str) -> Held:
    raw = Payload({"class": wire_name(cls), "args": [], "jid": "b" * 24}).encode()
    return Held(Claim(f"1:1:{queue}", queue, raw), 0.0)


def test_without_async_jobs_all_queues_are_for_the_threads() -> None:
    made = Lanes(WorkerOptions(QUEUES, concurrency=10))
    demand, names = demanded(made)
    assert (demand.lane, demand.wanted, demand.is_urgent) == (made.threads, 10, True)
    assert names == made.unattended(0) + names == ["default", "aio", "again"]
    made.claimed(demand, may_have_more=False)
    assert made.unattended(0) == ["default", "aio", "again"]
    plain = job(PlainJob, "aio")
    made.give([plain])
    assert made.threads.jobs == {plain}


def test_each_job_goes_to_its_lane_and_a_lane_is_called_once_for_many() -> None:
    made, calls = lanes(), []
    made.threads.call = lambda: calls.append("threads")
    loop_of(made).call = lambda: calls.append("loop")
    plain, first, second = job(PlainJob, "x"), job(LoopJob, "x"), job(LoopJob, "x")
    made.give([first, plain, second])
    assert made.threads.jobs == {plain}
    assert loop_of(made).jobs == {first, second}
    assert calls == ["loop", "threads"]
    assert made.empty() == [plain, first, second]
    assert not made.have_unstarted


def test_the_lanes_take_turns() -> None:
    made = lanes()
    seen = []
    for _ in range(4):
        demand, _ = demanded(made)
        seen.append(demand.lane)
        made.claimed(demand, may_have_more=True)
    assert seen == [made.threads, made.loop] * 2


def test_a_queue_with_both_kinds_is_claimed_from_as_far_as_both_have_room() -> None:
    made = lanes(threads=10, slots=4)
    demand, names = demanded(made)
    assert (demand.lane, demand.wanted, names) == (made.threads, 4, ["default", "again"])
    made.claimed(demand, may_have_more=True)
    demand, names = demanded(made)
    assert (demand.lane, demand.wanted, names) == (made.loop, 4, ["aio", "again"])


def test_a_lane_is_not_filled_a_few_jobs_at_a_time_for_the_sake_of_the_other() -> None:
    made = lanes(threads=1, slots=100)
    made.threads.more = False
    seen = []
    for _ in range(4):
        demand, names = demanded(made)
        assert demand.lane is made.loop
        seen.append((demand.wanted, names))
        made.claimed(demand, may_have_more=True)
    assert seen == [(1, ["aio", "again"]), (100, ["aio"])] * 2


def test_a_look_at_some_queues_that_finds_nothing_says_nothing_of_the_others() -> None:
    made = lanes(threads=1, slots=100)
    made.threads.more = False
    made.claimed(demanded(made)[0], may_have_more=True)
    partial, names = demanded(made)
    assert (partial.is_partial, names) == (True, ["aio"])
    made.claimed(partial, may_have_more=False)
    assert loop_of(made).more
    whole, names = demanded(made)
    assert (whole.is_partial, names) == (False, ["aio", "again"])
    made.claimed(whole, may_have_more=False)
    assert not loop_of(made).more


@pytest.mark.parametrize("full_kind", ["threads", "loop"])
def test_a_full_lane_leaves_the_other_the_queues_that_are_its_own(full_kind: str) -> None:
    made = lanes()
    full, other = made.threads, loop_of(made)
    if full_kind == "loop":
        full, other = other, full
    ran = fill(full, full.capacity)
    demand, names = demanded(made)
    own = ["aio"] if other is made.loop else ["default"]
    assert (demand.lane, demand.wanted, names) == (other, other.capacity, own)
    made.claimed(demand, may_have_more=False)
    assert made.unattended(0) == own  # the wait is for what could be taken, and not longer
    for held in ran:
        made.drop(held)
    full.more = False
    assert made.unattended(0) == ["default", "aio", "again"]


def test_where_both_are_full_nothing_is_demanded_nor_waited_for() -> None:
    made = lanes()
    for lane in made.all:
        fill(lane, lane.capacity)
    assert made.demand(0) is None
    assert made.unattended(0) == []


def test_a_lane_with_nothing_but_shared_queues_waits_for_the_other_to_have_room() -> None:
    made = lanes(queues=QueueOrder({"again": 1}))
    fill(made.threads, 10)
    assert made.demand(0) is None
    assert made.unattended(0) == []


def test_a_push_wakes_the_lane_that_its_queue_is_for() -> None:
    made = lanes()
    for lane in made.all:
        lane.more = False
    made.may_have(["aio"])
    assert [lane.more for lane in made.all] == [False, True]
    made.may_have(["again"])  # one look is enough
    assert [lane.more for lane in made.all] == [True, True]
    loop_of(made).more = False
    made.may_have(["default"])
    assert [lane.more for lane in made.all] == [True, False]


def test_each_lane_learns_from_its_own_jobs() -> None:
    made = lanes()
    (slow,) = fill(made.threads, 1)
    quick = fill(loop_of(made), 200)
    slow.started, slow.ended = 0.0, 100.0
    for held in quick:
        held.started, held.ended = 0.0, 0.001
    made.ended([slow, *quick])
    assert made.threads.pace.ahead == 0
    assert loop_of(made).pace.ahead > 0
    assert not made.threads.jobs
    assert not loop_of(made).jobs
