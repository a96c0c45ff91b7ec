"""Orders that a worker carries out: their records, and that they end as they shall."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from django_jobqueue import clock
from django_jobqueue.api import DeadSet, Queue
from django_jobqueue.api.filters import Filter
from django_jobqueue.bulk import Order, Standing, Verb, ask, recent, run_here, standing, stop, work
from django_jobqueue.bulk.jobs import BulkAction
from django_jobqueue.bulk.work import Outcome, run
from django_jobqueue.connection import store
from django_jobqueue.exceptions import InvalidQuery, StoreUnavailable
from django_jobqueue.job.declaration import wire_name
from django_jobqueue.payload import new_jid
from django_jobqueue.store.bulk import LISTED
from django_jobqueue.switches.switches import switches
from django_jobqueue.testing.in_process import work_off
from tests.api.samples import enqueue, payload, put, throw
from tests.conftest import JobqueueSettings
from tests.support.clocks import freeze
from tests.support.inside import Inside

NOW = 1_000_000.0

CLEAR = Order(Verb.DELETE, "queue:low", Filter(), "ann", NOW)
SOME = Order(Verb.DELETE, "dead", Filter(tag="a"), "ann", NOW)


@pytest.fixture(autouse=True)
def _eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every page be told, however fast they are."""
    monkeypatch.setattr(work, "EVERY", 0.0)


def after(pages: int) -> Callable[[], bool]:
    """Return what halts work after so many pages."""
    seen = iter(range(10**6))
    return lambda: next(seen) >= pages


def stands(id: str) -> Standing:
    found = standing(id)
    assert found is not None
    return found


def numbers(found: Standing) -> tuple[int, ...]:
    return found.total, found.looked_at, found.matched, found.done


# By a worker ---------------------------------------------------------------------------


def test_a_worker_carries_an_order_out(inside: Inside) -> None:
    enqueue(*(payload(n, once=True) for n in range(250)))
    id = ask(CLEAR)
    found = stands(id)
    assert (found.state, found.order, found.is_over) == ("waiting", CLEAR, False)
    assert recent() == [found]
    ((job),) = inside.jobs("reconcilers")
    # The filter may hold what nobody else shall read.
    assert (job["class"], job["args"]) == (wire_name(BulkAction), [id])
    assert work_off("reconcilers") == 1
    found = stands(id)
    assert (found.state, found.error, found.is_over, found.share) == ("done", "", True, 1.0)
    assert numbers(found) == (250, 250, 250, 250)
    assert len(Queue("low")) == 0
    assert json.loads(json.dumps(found.as_dict()))["order"]["place"] == "queue:low"


def test_it_is_asked_for_at_once_whatever_transaction_is_open(inside: Inside, db: None) -> None:
    ask(CLEAR)
    assert len(inside.jobs("reconcilers")) == 1


def test_a_worker_that_stops_lets_another_go_on_where_it_was(inside: Inside) -> None:
    put(inside, "dead", *(payload(n, tags=["a"] if n % 2 else []) for n in range(350)))
    id = ask(SOME)
    assert run(id, "me", after(2)) is Outcome.PAUSED
    found = stands(id)
    assert (found.state, numbers(found)) == ("waiting", (350, 200, 100, 100))
    assert run(id, "you", after(1)) is Outcome.PAUSED
    assert numbers(stands(id)) == (350, 300, 150, 150)
    assert run(id, "me", after(9)) is Outcome.OVER
    assert numbers(stands(id)) == (350, 350, 175, 175)
    assert run(id, "me", after(9)) is Outcome.OVER
    assert inside.client.hget(inside.key(f"jq:bulk:{id}"), "mark") == b""


@pytest.mark.parametrize("taken", [0, 30, 120])
def test_in_a_queue_it_goes_on_where_it_was_though_others_take_from_it(taken: int) -> None:
    enqueue(*(payload(n, tags=["a"] if n % 2 else []) for n in range(350)))
    id = ask(Order(Verb.DELETE, "queue:low", Filter(tag="a"), "ann", NOW))
    assert run(id, "me", after(2)) is Outcome.PAUSED
    for entry in Queue("low").page(0, max(1, taken))[:taken]:
        entry.delete()
    enqueue(payload(1000))
    assert run(id, "me", after(9)) is Outcome.OVER
    found = stands(id)
    # Two pages have left a hundred jobs; of what is taken beyond them half was meant.
    beyond = max(0, taken - 100) // 2
    assert (found.matched, found.done, found.gone) == (175 - beyond, 175 - beyond, 0)
    left = [entry.args[0] for entry in Queue("low")]
    assert [n for n in left if n % 2] == []
    assert len(left) == 176 - (taken - beyond)
    # Where its place could not be found again, all that is left was looked at once more.
    assert found.looked_at >= found.matched


def test_after_a_crash_the_same_worker_goes_on_and_another_waits(
    inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(inside, "dead", *(payload(n, tags=["a"]) for n in range(350)))
    id = ask(SOME)

    class Killed(BaseException):
        """As if the process had gone."""

    def die() -> bool:
        if len(DeadSet()) == 150:
            raise Killed
        return False

    with pytest.raises(Killed):
        run(id, "me", die)
    assert stands(id).state == "running"
    assert run(id, "you", after(9)) is Outcome.BUSY
    monkeypatch.setattr("django_jobqueue.store.bulk.PATIENCE", 0.0)
    assert run(id, "you", after(1)) is Outcome.PAUSED
    monkeypatch.setattr("django_jobqueue.store.bulk.PATIENCE", 30.0)
    assert run(id, "me", after(9)) is Outcome.OVER
    assert (stands(id).done, len(DeadSet())) == (350, 0)


def test_a_job_that_finds_its_order_worked_at_comes_again(inside: Inside) -> None:
    put(inside, "dead", payload(1))
    id = ask(SOME)
    assert store().bulk.begin(id, "other") == "ok"
    assert work_off("reconcilers") == 1
    assert len(inside.entries("schedule")) == 1
    assert stands(id).state == "running"


def test_while_its_kill_switch_is_on_an_order_rests_whatever_becomes_of_its_job(
    inside: Inside, jobqueue_settings: JobqueueSettings
) -> None:
    jobqueue_settings(KILL_SWITCH={"QUEUED_JOBS": "run"})
    put(inside, "dead", payload(1, tags=["a"]))
    id = ask(SOME)
    throw("on", "disable_jobqueue_bulk_action")
    switches().refresh(force=True)
    before = clock.now()
    assert work_off("reconcilers") == 1
    throw(None)
    switches().refresh(force=True)
    assert (stands(id).state, len(DeadSet())) == ("waiting", 1)
    (_, at) = inside.entry("schedule")
    # Not at once, and then at once again for as long as the switch is on.
    assert at > before + 1


def test_a_worker_that_was_taken_for_dead_writes_over_nothing(
    inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(inside, "dead", *(payload(n) for n in range(350)))
    id = ask(SOME)
    monkeypatch.setattr("django_jobqueue.store.bulk.PATIENCE", 0.0)
    seen = iter(range(10))

    def overtaken() -> bool:
        if next(seen) == 1:
            assert run(id, "you", after(9)) is Outcome.OVER
        return False

    assert run(id, "me", overtaken) is Outcome.BUSY
    assert stands(id).state == "done"
    assert numbers(stands(id)) == (350, 350, 0, 0)


# What goes wrong --------------------------------------------------------------------------


def test_an_order_whose_worker_fails_waits_and_says_why(
    inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(inside, "dead", *(payload(n, tags=["a"]) for n in range(10)))
    id = ask(SOME)
    monkeypatch.setattr(
        "django_jobqueue.store.removal.Removal.delete", lambda *args: 1 // 0, raising=True
    )
    assert work_off("reconcilers") == 1
    found = stands(id)
    assert (found.state, found.error) == (
        "waiting", "ZeroDivisionError: integer division or modulo by zero",
    )  # fmt: skip
    job, _ = inside.entry("retry")
    inside.client.delete(inside.key("retry"))
    last = json.dumps({**job, "retry_count": 4})
    inside.client.lpush(inside.key("queue:reconcilers"), last)
    work_off("reconcilers")
    assert (stands(id).state, stands(id).is_over) == ("failed", True)
    assert inside.entries("retry") == []
    assert len(inside.entries("dead")) == 10


def test_a_job_whose_order_is_gone_or_cannot_be_read_ends(inside: Inside) -> None:
    gone, odd = ask(SOME), ask(SOME)
    inside.client.delete(inside.key(f"jq:bulk:{gone}"))
    inside.client.hset(inside.key(f"jq:bulk:{odd}"), "order", b"\xff")
    assert work_off("reconcilers") == 2
    assert inside.entries("retry") == []
    assert inside.client.hget(inside.key(f"jq:bulk:{odd}"), "state") == b"failed"
    assert standing(gone) is standing(odd) is None
    assert recent() == []
    with pytest.raises(InvalidQuery, match="this order is gone"):
        run_here(gone, 1.0)


def test_a_record_in_which_somebody_wrote_is_read_all_the_same(inside: Inside) -> None:
    id = ask(CLEAR)
    for name in ("total", "done", "updated_at", "mark_at", "seen", "error", "worker"):
        inside.client.hset(inside.key(f"jq:bulk:{id}"), name, b"\xffx")
    found = stands(id)
    assert (found.total, found.done, found.updated_at) == (0, 0, 0.0)
    assert run(id, "me", after(9)) is Outcome.OVER
    assert stands(id).state == "done"


@pytest.mark.parametrize("id", ["", "x" * 24, "A" * 24, "a" * 23, None, 7, "a" * 24 + "\n"])
def test_what_is_no_id_is_refused(id: Any) -> None:
    for verb in (standing, stop, lambda given: run_here(given, 1.0)):
        with pytest.raises(InvalidQuery, match="24 hex digits"):
            verb(id)
    for seconds in (-1, float("nan"), "1", True):
        with pytest.raises(InvalidQuery):
            run_here(new_jid(), seconds)  # type: ignore[arg-type]
    for count in (0, LISTED + 1, True, "1"):
        with pytest.raises(InvalidQuery):
            recent(count)  # type: ignore[arg-type]


# Stopped -----------------------------------------------------------------------------------


def test_an_order_that_waits_is_stopped_at_once(inside: Inside) -> None:
    enqueue(payload(1))
    id = ask(CLEAR)
    assert stop(id)
    assert stands(id).state == "stopped"
    assert not stop(id)
    assert work_off("reconcilers") == 1
    assert len(Queue("low")) == 1
    assert not stop(new_jid())


@pytest.mark.parametrize("pauses", [False, True])
def test_an_order_that_is_worked_at_is_stopped_between_two_pages(
    inside: Inside, pauses: bool
) -> None:
    put(inside, "dead", *(payload(n, tags=["a"]) for n in range(350)))
    id = ask(SOME)
    asked = iter(range(10))

    def meanwhile() -> bool:
        if next(asked) == 1:
            assert stop(id)
            assert (stands(id).state, stands(id).is_stopping) == ("running", True)
            return pauses
        return False

    assert run(id, "me", meanwhile) is Outcome.OVER
    found = stands(id)
    assert (found.state, found.is_stopping) == ("stopped", False)
    assert found.done == 350 - len(DeadSet()) == (100 if pauses else 200)


# Here -----------------------------------------------------------------------------------------


def test_where_no_worker_does_it_is_done_here_a_slice_at_a_time(
    inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(inside, "dead", *(payload(n, tags=["a"]) for n in range(250)))
    id = ask(SOME)
    assert numbers(run_here(id, 0.0)) == (250, 100, 100, 100)
    assert stands(id).state == "waiting"
    assert run_here(id, 60.0).state == "done"
    assert run_here(id, 60.0).done == 250


def test_nothing_is_done_here_while_a_worker_does(inside: Inside) -> None:
    enqueue(payload(1))
    id = ask(CLEAR)
    store().bulk.begin(id, "other")
    assert run_here(id, 60.0).state == "running"
    assert len(Queue("low")) == 1


def test_an_order_whose_job_is_refused_waits_to_be_done_here(
    inside: Inside, jobqueue_settings: JobqueueSettings
) -> None:
    enqueue(payload(1))
    throw("on", "disable_jobqueue_bulk_action")
    id = ask(CLEAR)
    throw(None)
    found = stands(id)
    assert found.state == "waiting"
    assert found.error.startswith("No worker will do it: a client middleware or the kill switch")
    assert run_here(id, 60.0).done == 1
    assert stands(id).error == ""


def test_without_redis_nothing_is_asked_for(jobqueue_settings: JobqueueSettings) -> None:
    jobqueue_settings(REDIS_URL="redis://127.0.0.1:1/0")
    with pytest.raises(StoreUnavailable):
        ask(CLEAR)


# Bounds ---------------------------------------------------------------------------------------


def test_records_are_listed_newest_first_and_go_by_themselves(
    inside: Inside, count_round_trips: Callable[[], int]
) -> None:
    ids = [new_jid() for _ in range(LISTED + 5)]
    for number, id in enumerate(ids):
        store().bulk.open(id, {"order": json.dumps(CLEAR.as_dict())})
        inside.client.zadd(inside.key("jq:bulks"), {id: number})
    count_round_trips()
    assert [each.id for each in recent(7)] == ids[:-8:-1]
    assert count_round_trips() == 2
    assert inside.client.zcard(inside.key("jq:bulks")) == LISTED
    week = 7 * 86_400
    for name in ("jq:bulks", f"jq:bulk:{ids[-1]}"):
        assert week - 100 < inside.client.ttl(inside.key(name)) <= week


def test_progress_is_told_twice_a_second_at_most(
    inside: Inside, monkeypatch: pytest.MonkeyPatch, count_round_trips: Callable[[], int]
) -> None:
    clock = freeze(monkeypatch)
    monkeypatch.setattr(work, "EVERY", 0.5)
    put(inside, "dead", *(payload(n) for n in range(1000)))
    id = ask(SOME)
    told: list[str] = []
    tell = store().bulk.tell

    def spy(*args: Any) -> str:
        told.append(args[0])
        clock.advance(0.0)
        return tell(*args)

    monkeypatch.setattr(store().bulk, "tell", spy)

    def later() -> bool:
        clock.advance(0.2)
        return False

    assert run(id, "me", later) is Outcome.OVER
    # Ten pages in two seconds, and the end.
    assert len(told) == 5


def test_a_count_that_somebody_else_wrote_breaks_no_list(inside: Inside) -> None:
    id = ask(SOME)
    inside.client.hset(inside.key(f"jq:bulk:{id}"), "matched", b"9" * 5000)
    assert [found.matched for found in recent()] == [0]
