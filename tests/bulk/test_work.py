"""Orders are carried out: on the jobs that were there, each once, in bounded steps."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
import redis

from django_jobqueue.api import DeadSet, Progress, Queue, RetrySet, ScheduledSet
from django_jobqueue.api.filters import Filter
from django_jobqueue.bulk import Order, Verb, carry_out, work
from django_jobqueue.bulk.places import Spot
from django_jobqueue.connection import use_store
from django_jobqueue.payload import Payload
from django_jobqueue.store.store import Store
from tests.api.samples import (
    NAME,
    ODD,
    LookOnceJob,
    enqueue,
    jid_of,
    lock,
    owner_of,
    payload,
    put,
    throw,
)
from tests.support.inside import Inside
from tests.support.server import RedisServer

#: After everything that the samples make, and before what a test pushes later.
NOW = 1_000_000.0
LATER_MS = 2_000_000_000


def order(verb: Verb, place: str, asked_at: float = NOW, **wanted: Any) -> Order:
    return Order(verb, place, Filter(**wanted), "ann", asked_at)


def test_all_jobs_of_a_queue_are_deleted_with_their_locks(inside: Inside) -> None:
    jobs = [payload(n, once=True) for n in range(230)]
    enqueue(*jobs)
    told: list[Progress] = []
    done = carry_out(order(Verb.DELETE, "queue:low"), told.append)
    assert (done.total, done.looked_at, done.matched, done.done) == (230, 230, 230, 230)
    assert [each.done for each in told] == [100, 200, 230]
    assert inside.names() <= {"queues"}


def test_those_that_match_are_moved_and_no_others(inside: Inside) -> None:
    enqueue(*(payload(n, tags=["a" if n % 3 else "b"]) for n in range(250)), *ODD[:3])
    done = carry_out(order(Verb.KILL, "queue:low", tag="a"))
    assert (done.looked_at, done.matched, done.done) == (253, 166, 166)
    left = list(Queue("low"))
    assert [entry.args[0] for entry in left if entry.is_valid] == list(range(0, 250, 3))
    assert {entry.tags[0] for entry in DeadSet()} == {"a"}
    assert len(DeadSet()) == 166
    (dead, _) = inside.entries("dead")[0]
    assert dead["error_message"] == "killed by hand while it waited in queue 'low'"


def way(place: str, verb: Verb, *jobs: Payload) -> Callable[[Inside], Progress]:
    def go(inside: Inside) -> Progress:
        name = f"jq:{place}" if place.startswith("held") else place
        put(inside, name, *jobs)
        return carry_out(order(verb, place))

    return go


PLAIN = [payload(1), payload(2)]
FAILED = [job.replace(retry_count=2, error_class="E", error_message="m") for job in PLAIN]
HELD = [job.replace(held_at=100_000, held_from="queue") for job in PLAIN]


@pytest.mark.parametrize(
    ("go", "gone_to", "counts"),
    [
        (way("schedule", Verb.ENQUEUE, *PLAIN), "low", {None}),
        (way("retry", Verb.ENQUEUE, *FAILED), "low", {2}),
        (way("retry", Verb.RETRY, *FAILED), "low", {1}),
        (way("dead", Verb.RETRY, *FAILED), "low", {1}),
        (way(f"held:{NAME}", Verb.RELEASE, *HELD), "low", {None}),
        (way("schedule", Verb.KILL, *PLAIN), "dead", {None}),
        (way("retry", Verb.KILL, *FAILED), "dead", {2}),
        (way(f"held:{NAME}", Verb.KILL, *HELD), "dead", {None}),
        (way("schedule", Verb.DELETE, *PLAIN), "", set()),
        (way("retry", Verb.DELETE, *PLAIN), "", set()),
        (way("dead", Verb.DELETE, *PLAIN), "", set()),
        (way(f"held:{NAME}", Verb.DELETE, *PLAIN), "", set()),
    ],
)
def test_each_verb_does_in_its_place_what_it_does_to_one(
    inside: Inside, go: Callable[[Inside], Progress], gone_to: str, counts: set[int | None]
) -> None:
    done = go(inside)
    assert (done.matched, done.done, done.total) == (2, 2, 2)
    found = [job for job, _ in inside.entries("dead")] if gone_to == "dead" else inside.jobs("low")
    assert [job["args"] for job in found] == ([[1], [2]] if gone_to else [])
    assert {job.get("retry_count") for job in found} == counts
    assert len(ScheduledSet()) == len(RetrySet()) == 0


def test_what_stays_is_counted_and_why(inside: Inside) -> None:
    twin = payload(7, once=True)
    lock([payload(7, once=True, jid=jid_of(700))])
    put(inside, "dead", *(twin if n == 7 else payload(n) for n in range(20)))
    done = carry_out(order(Verb.RETRY, "dead"))
    assert (done.matched, done.done) == (20, 17)
    assert (done.duplicates, done.refused, done.failed, done.disabled) == (1, 1, 1, 0)
    throw("on")
    again = carry_out(order(Verb.RETRY, "dead"))
    throw(None)
    assert (again.matched, again.disabled, again.done) == (3, 2, 0)


# Nothing that came later ---------------------------------------------------------------


@pytest.mark.parametrize("field", ["created_at", "enqueued_at", "failed_at", "retried_at"])
@pytest.mark.parametrize("place", ["queue:low", "schedule", "retry"])
def test_a_job_to_which_something_happened_later_is_left_alone(
    inside: Inside, place: str, field: str
) -> None:
    jobs = [payload(1), payload(2, **{field: LATER_MS}), payload(3, **{field: LATER_MS / 1000})]
    if place == "queue:low":
        enqueue(*jobs)
    else:
        put(inside, place, *jobs)
    done = carry_out(order(Verb.DELETE, place))
    assert (done.total, done.matched, done.done) == (3, 1, 1)
    assert carry_out(order(Verb.DELETE, place, LATER_MS / 1000)).done == 2


@pytest.mark.parametrize("place", ["dead", f"held:{NAME}"])
def test_a_job_that_came_into_a_set_later_is_left_alone(inside: Inside, place: str) -> None:
    name = f"jq:{place}" if place.startswith("held") else place
    put(inside, name, *map(payload, range(5)), b"no job", first=NOW - 2)
    done = carry_out(order(Verb.DELETE, place))
    assert (done.matched, done.done) == (3, 3)


def test_the_time_until_a_job_shall_run_says_nothing_of_when_it_came(inside: Inside) -> None:
    put(inside, "schedule", payload(1), first=9e9)
    assert carry_out(order(Verb.DELETE, "schedule")).done == 1


def test_a_clear_that_is_late_loses_nothing_that_was_pushed_meanwhile() -> None:
    LookOnceJob.set(queue="low").perform_bulk([(n,) for n in range(100, 150)])
    asked = order(Verb.DELETE, "queue:low", time.time())
    while int(time.time() * 1000) <= int(asked.asked_at * 1000):
        pass  # the next millisecond: no finer time stands in a job
    LookOnceJob.set(queue="low").perform_bulk([(n,) for n in range(150, 160)])
    assert carry_out(asked).done == 50
    assert carry_out(asked).done == 0
    assert sorted(entry.args[0] for entry in Queue("low")) == list(range(150, 160))


def test_jobs_that_are_pushed_while_it_goes_on_stay() -> None:
    enqueue(*map(payload, range(150)))

    def push(progress: Progress) -> None:
        enqueue(payload(1000 + progress.looked_at))

    done = carry_out(order(Verb.DELETE, "queue:low"), push)
    assert done.looked_at == done.done == 150
    assert [entry.args[0] for entry in Queue("low")] == [1100, 1150]


def test_what_somebody_else_takes_meanwhile_is_passed_by() -> None:
    raws = enqueue(*map(payload, range(250)))

    def take(progress: Progress) -> None:
        if progress.looked_at == 100:
            for entry in Queue("low").page(0, 60):
                assert entry.delete()

    # Every second stays, so that what is ahead moves when others take from there.
    done = carry_out(order(Verb.DELETE, "queue:low", text='"args":[1'), take)
    assert len(raws) == 250
    assert not [e for e in Queue("low") if str(e.args[0]).startswith("1")]
    assert done.looked_at <= 250


def test_two_that_do_the_same_do_it_once(inside: Inside) -> None:
    put(inside, "dead", *(payload(n) for n in range(300) if n % 5 != 3 and n % 7 != 0))
    count = len(DeadSet())
    first = order(Verb.RETRY, "dead")
    sums: list[Progress] = []

    def other(progress: Progress) -> None:
        if not sums:
            sums.append(carry_out(first))

    mine = carry_out(first, other)
    assert mine.done + sums[0].done + mine.failed + sums[0].failed >= count
    jids = [job["jid"] for job in inside.jobs("low")]
    assert len(jids) == len(set(jids))
    assert len(jids) == mine.done + sums[0].done


# Many ------------------------------------------------------------------------------------


def test_a_long_queue_of_unique_jobs_is_cleared_and_redis_never_searches_it(
    private_redis: Callable[..., RedisServer],
) -> None:
    server = private_redis(appendonly="no")
    jobs = [payload(n, once=True) for n in range(20_000)]
    cellar = Store(server.url, prefix="t:", timeout=10.0)
    with use_store(cellar), server.client() as client:
        enqueue(*jobs)
        assert owner_of(jobs[0]) is not None
        done = carry_out(order(Verb.DELETE, "queue:low"))
        assert (done.total, done.done) == (20_000, 20_000)
        assert client.keys() == [b"t:queues"]
        assert not calls_of(client, "lpos")
    cellar.close()


def calls_of(client: redis.Redis, command: str) -> int:
    """Return how often a server has run a command: its own time says more of the machine."""
    return int(client.info("commandstats").get(f"cmdstat_{command}", {}).get("calls", 0))


@pytest.mark.parametrize("share", [2, 3, 50])
@pytest.mark.parametrize("is_worked", [False, True])
def test_far_back_in_a_queue_jobs_that_stand_apart_are_removed_many_at_a_time(
    inside: Inside, monkeypatch: pytest.MonkeyPatch, share: int, is_worked: bool
) -> None:
    monkeypatch.setattr(work, "DEEP", 300)
    acts = count_acts(monkeypatch)
    enqueue(*(payload(n, tags=["a" if n % share else "b"], once=True) for n in range(2_500)))
    taken: list[bytes] = []

    def push_and_take(progress: Progress) -> None:
        # So that a page is not where it was, and the length tells nothing.
        if is_worked:
            enqueue(*(payload(20_000 + progress.looked_at + n) for n in range(30)))
            taken.extend(inside.client.rpop(inside.key("queue:low"), 30))

    done = carry_out(order(Verb.DELETE, "queue:low", tag="b"), push_and_take)
    assert done.looked_at == 2_500
    assert done.matched == done.done + done.gone == -(-2_500 // share)
    assert done.gone <= sum(b'"tags":["b"]' in raw for raw in taken)
    left = [entry for entry in Queue("low") if entry.tags]
    assert {entry.tags[0] for entry in left} == {"a"}
    assert len(left) + done.matched + sum(b'"tags":["a"]' in raw for raw in taken) == 2_500
    # Redis goes by all that is ahead once for many, and not once for each page.
    assert len(acts) <= 6 + done.matched / 50


def count_acts(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list that grows with each page that is acted on: of how many jobs."""
    found: list[int] = []
    act = Spot.act

    def noted(self: Spot, store: Store, verb: Verb, page: Any, done: Progress) -> None:
        found.append(len(page))
        act(self, store, verb, page, done)

    monkeypatch.setattr(Spot, "act", noted)
    return found


def test_whole_pages_that_go_are_no_reason_to_pass_over_any() -> None:
    # Those that stay stand ahead, are taken, and as many come at the other end.
    enqueue(*(payload(n, tags=["a"] if n < 150 else ["b"]) for n in range(1_000)))

    def push_and_take(progress: Progress) -> None:
        with_tag = [payload(5_000 + progress.looked_at + n, tags=["c"]) for n in range(20)]
        enqueue(*with_tag)
        assert all(entry.delete() for entry in Queue("low").page(0, 20) if entry.tags == ["a"])

    carry_out(order(Verb.DELETE, "queue:low", tag="b"), push_and_take)
    assert {entry.tags[0] for entry in Queue("low")} <= {"a", "c"}
