"""Unique jobs: a second one with the same arguments is refused while the first is on its way."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, transaction

from django_jobqueue import ArgumentNotSerializable, Job, Status
from django_jobqueue.client.outlet import use_outlet
from django_jobqueue.connection import store
from django_jobqueue.exceptions import InvalidOption, StoreUnavailable
from django_jobqueue.switches.switches import switches
from django_jobqueue.testing import FakeOutlet
from tests.conftest import JobqueueSettings
from tests.support.inside import Inside
from tests.support.proxy import TcpProxy
from tests.support.server import RedisServer


class UniqueJob(Job):
    """One for each pair of arguments."""

    queue = "low"
    unique_for = timedelta(minutes=10)

    def perform(self, number: int, note: str = "") -> None:
        """Do nothing."""


class KeyedJob(UniqueJob):
    """One for each number, whatever the note."""

    unique_key = ("number",)


class ComputedJob(UniqueJob):
    """One for each parity."""

    @staticmethod
    def unique_key(number: int, note: str = "") -> int:
        """Return what makes two the same."""
        return number % 2


@pytest.fixture(autouse=True)
def _configured(jobqueue_settings: JobqueueSettings) -> None:
    jobqueue_settings()


def locks(inside: Inside) -> dict[str, str]:
    """Return the owner of each lock."""
    prefix = inside.key("jq:unique:")
    return {
        name.decode()[len(prefix) :]: inside.client.get(name).decode()
        for name in inside.client.scan_iter(match=f"{prefix}*")
    }


def test_a_second_one_is_refused_and_told_who_is_on_its_way(inside: Inside) -> None:
    first = UniqueJob.perform_async(1)
    assert first is not None
    assert UniqueJob.perform_async(1) is None
    answer = UniqueJob.enqueue(1)
    assert not answer
    assert (answer.status, answer.jid, answer.existing_jid) == (Status.DUPLICATE, None, first)
    assert UniqueJob.perform_async(1, "other arguments") is not None
    assert len(inside.args("low")) == 2


def test_the_lock_lasts_as_long_as_the_class_says_and_longer_by_the_delay(inside: Inside) -> None:
    jid = UniqueJob.perform_async(1)
    ((digest, owner),) = locks(inside).items()
    assert owner == jid
    assert 598 <= inside.client.ttl(inside.key(f"jq:unique:{digest}")) <= 600
    UniqueJob.perform_in(3600, 2)
    (other,) = locks(inside).keys() - {digest}
    assert 4198 <= inside.client.ttl(inside.key(f"jq:unique:{other}")) <= 4200


def test_the_queue_is_no_part_of_the_lock() -> None:
    assert UniqueJob.perform_async(1) is not None
    assert UniqueJob.set(queue="slow").perform_async(1) is None


def test_one_call_may_be_unique_for_another_time_or_not_at_all(inside: Inside) -> None:
    assert UniqueJob.set(unique_for=None).perform_async(1) is not None
    assert UniqueJob.set(unique_for=None).perform_async(1) is not None
    assert locks(inside) == {}
    UniqueJob.set(unique_for=5).perform_async(1)
    (digest,) = locks(inside)
    assert inside.client.ttl(inside.key(f"jq:unique:{digest}")) <= 5
    with pytest.raises(InvalidOption):
        UniqueJob.set(unique_for=0)


def test_named_arguments_or_a_function_make_two_jobs_the_same() -> None:
    assert KeyedJob.perform_async(1, "a") is not None
    assert KeyedJob.perform_async(1, "b") is None
    assert KeyedJob.perform_async(2, "a") is not None
    assert ComputedJob.perform_async(1) is not None
    assert ComputedJob.perform_async(3) is None
    assert ComputedJob.perform_async(2) is not None


@pytest.mark.parametrize(("one", "other"), [(1, True), (1, 1.0), ([1], 1), ({"a": 1}, [["a", 1]])])
def test_arguments_that_only_look_alike_are_two_jobs(one: Any, other: Any) -> None:
    assert UniqueJob.perform_async(one) is not None
    assert UniqueJob.perform_async(other) is not None


def test_the_order_of_keys_makes_no_other_job() -> None:
    assert UniqueJob.perform_async({"a": 1, "b": [2]}) is not None
    assert UniqueJob.perform_async({"b": [2], "a": 1}) is None


def test_a_key_that_cannot_be_is_told_at_the_call() -> None:
    class NoSuchArgumentJob(UniqueJob):
        unique_key = ("nobody",)

    class NoJsonJob(UniqueJob):
        unique_key = staticmethod(lambda number, note="": {number})

    with pytest.raises(InvalidOption, match="'nobody'"):
        NoSuchArgumentJob.perform_async(1)
    with pytest.raises(ArgumentNotSerializable):
        NoJsonJob.perform_async(1)


def test_a_bulk_of_a_thousand_is_one_round_trip_and_aligned(
    inside: Inside, count_round_trips: Callable[[], int]
) -> None:
    UniqueJob.perform_bulk([(n,) for n in range(400)])
    rows = [(n,) for n in range(950)] + [(n,) for n in range(900, 950)]
    switches().refresh(force=True)
    store().locks.owners(["0" * 32])
    count_round_trips()
    with_script = UniqueJob.perform_bulk(rows)
    assert count_round_trips() == 1
    assert (with_script.pushed, with_script.duplicates) == (550, 450)
    assert [jid is None for jid in with_script] == [True] * 400 + [False] * 550 + [True] * 50
    assert [args for (args,) in inside.args("low")] == list(range(950))


def test_a_push_whose_reply_was_lost_can_be_made_again(
    redis_server: RedisServer, jobqueue_settings: JobqueueSettings, inside: Inside
) -> None:
    with TcpProxy(redis_server.node_url) as proxy:
        jobqueue_settings(REDIS_URL=proxy.url, SOCKET_TIMEOUT=0.5)
        UniqueJob.perform_async(0)  # the server knows the script by now
        proxy.swallow_replies(to=b"queue:low", times=1)
        with pytest.raises(StoreUnavailable):
            UniqueJob.perform_async(1)
        result = UniqueJob.enqueue(1)
    (_, job) = inside.jobs("low")
    assert (result.status, result.existing_jid) == (Status.DUPLICATE, job["jid"])
    assert locks(inside)[job["unique_digest"]] == job["jid"]


def test_fifty_threads_that_push_the_same_push_it_once(inside: Inside) -> None:
    answers = []
    barrier = threading.Barrier(50)

    def push() -> None:
        barrier.wait()
        answers.append(UniqueJob.set(on_commit=False).enqueue(1))

    threads = [threading.Thread(target=push) for _ in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (pushed,) = (answer for answer in answers if answer)
    assert {a.existing_jid for a in answers if not a} == {pushed.jid}
    assert len(answers) == 50
    assert inside.args("low") == [[1]]


@pytest.mark.django_db(transaction=True)
def test_a_rolled_back_transaction_pushes_nothing_and_takes_no_lock(inside: Inside) -> None:
    with transaction.atomic():
        assert UniqueJob.perform_async(1) is not None
        transaction.set_rollback(True)
    with transaction.atomic():
        with transaction.atomic():
            UniqueJob.perform_async(2)
            transaction.set_rollback(True)
        UniqueJob.perform_async(3)
        assert locks(inside) == {}
    assert inside.args("low") == [[3]]
    assert len(locks(inside)) == 1
    assert not connection.in_atomic_block


@pytest.mark.django_db(transaction=True)
def test_in_a_transaction_a_duplicate_turns_out_at_the_commit(inside: Inside) -> None:
    UniqueJob.perform_async(1)
    with transaction.atomic():
        assert UniqueJob.perform_async(1) is not None
        assert UniqueJob.perform_async(2) is not None
    assert inside.args("low") == [[1], [2]]


def test_a_box_keeps_a_unique_job_once_and_again_when_it_has_run() -> None:
    with use_outlet(FakeOutlet()) as box:
        assert isinstance(box, FakeOutlet)
        first = UniqueJob.perform_async(1)
        assert UniqueJob.enqueue(1).existing_jid == first
        assert box.drain() == 1
        assert UniqueJob.perform_async(1) is not None
        box.clear()
        assert UniqueJob.perform_async(1) is not None
