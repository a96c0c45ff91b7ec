"""A box in place of Redis: jobs are kept to be looked at, and run when the test says so."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from asgiref.sync import sync_to_async

from django_jobqueue import Job, Snooze, Status
from django_jobqueue.client.outlet import outlet
from django_jobqueue.testing import FakeOutlet, InlineOutlet, disable_job, use_outlet
from tests.support.clocks import freeze

#: What jobs did.
DONE: list[Any] = []


class BoxJob(Job):
    """Notes its argument; a list makes it enqueue what is in it, and ``fail`` makes it fail."""

    def perform(self, what: Any) -> None:
        """Note it."""
        DONE.append(what)
        if what == "fail":
            raise ValueError("no luck")
        for each in what if isinstance(what, list) else []:
            BoxJob.perform_async(each)


class OtherJob(BoxJob):
    """Another class."""

    wire_name = "Other"


@pytest.fixture
def box(settings: Any) -> Iterator[FakeOutlet]:
    """A box that all pushes go to."""
    settings.JOBQUEUE = {"OUTLET": "fake", "SERVER_MIDDLEWARE": []}
    DONE.clear()
    with use_outlet(FakeOutlet()) as made:
        yield made
    DONE.clear()


def test_jobs_are_kept_and_not_run(box: FakeOutlet) -> None:
    BoxJob.perform_async(1)
    OtherJob.perform_in(60, 2)
    BoxJob.perform_bulk([(3,), (4,)])
    assert len(box) == 4
    assert DONE == []
    assert [entry.at is None for entry in box.entries] == [True, False, True, True]


def test_jobs_of_a_class_are_found_by_its_wire_name(box: FakeOutlet) -> None:
    BoxJob.perform_async(1)
    OtherJob.perform_async(2)
    BoxJob.perform_async(3)
    assert box.args_of(BoxJob) == [[1], [3]]
    assert box.args_of(OtherJob) == [[2]]
    assert [entry.payload.job_class for entry in box.jobs_of(OtherJob)] == ["Other"]


def test_what_is_kept_are_the_bytes_that_redis_would_hold(box: FakeOutlet) -> None:
    args = [1, {"a": "ä"}]
    BoxJob.perform_async(args)
    args.append("changed afterwards")
    assert '"args":[[1,{"a":"ä"}]]'.encode() in box.entries[0].raw


def test_draining_runs_all_jobs_in_order_also_those_that_they_enqueue(box: FakeOutlet) -> None:
    BoxJob.perform_async(["c", ["d"]])
    BoxJob.perform_in(3600, "b")
    assert box.drain() == 5
    assert DONE == [["c", ["d"]], "b", "c", ["d"], "d"]
    assert len(box) == 0
    assert box.drain() == 0


def test_a_job_that_fails_ends_the_draining_and_is_out_of_the_box(box: FakeOutlet) -> None:
    BoxJob.perform_bulk([("a",), ("fail",), ("b",)])
    with pytest.raises(ValueError, match="no luck") as caught:
        box.drain()
    (note,) = caught.value.__notes__
    assert note.startswith("It was raised by tests.testing.test_fake.BoxJob('fail') in the queue")
    assert DONE == ["a", "fail"]
    assert box.args_of(BoxJob) == [["b"]]
    assert box.drain() == 1


def test_draining_keeps_what_jobs_enqueue_in_its_own_box(settings: Any) -> None:
    settings.JOBQUEUE = {"OUTLET": "fake", "SERVER_MIDDLEWARE": []}
    DONE.clear()
    box = FakeOutlet()
    with use_outlet(box):
        BoxJob.perform_async(["inner"])
    assert box.drain() == 2
    assert DONE == [["inner"], "inner"]
    chosen = outlet()
    assert isinstance(chosen, FakeOutlet)
    assert len(chosen) == 0


def test_the_box_can_be_cleared(box: FakeOutlet) -> None:
    BoxJob.perform_async(1)
    box.clear()
    assert len(box) == 0
    assert box.drain() == 0


def test_pushes_of_other_threads_come_into_the_box_too(box: FakeOutlet) -> None:
    threads = [threading.Thread(target=BoxJob.perform_async, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert sorted(str(args) for args in box.args_of(BoxJob)) == ["[0]", "[1]", "[2]", "[3]"]


def test_the_inline_outlet_can_take_over_for_a_while(box: FakeOutlet) -> None:
    with use_outlet(InlineOutlet()):
        BoxJob.perform_async(1)
        assert DONE == [1]
    BoxJob.perform_async(2)
    assert box.args_of(BoxJob) == [[2]]


# What runs, and how -----------------------------------------------------------


def test_draining_may_be_of_one_class_or_queue_or_of_what_is_due(
    box: FakeOutlet, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = freeze(monkeypatch)
    BoxJob.perform_in(60, "later")
    BoxJob.set(queue="low").perform_async("low")
    OtherJob.perform_async("other")
    assert box.drain(OtherJob) == 1
    assert box.drain(queue="low") == 1
    assert box.drain(due_only=True) == 0
    clock.advance(60)
    assert box.drain(due_only=True) == 1
    assert DONE == ["other", "low", "later"]


def test_one_job_is_performed_and_its_result_returned(box: FakeOutlet) -> None:
    BoxJob.perform_bulk([("a",), ("b",)])
    SumJob.perform_async(3, 4)
    assert box.perform_one(SumJob) == 7
    assert box.perform_one() is None
    assert DONE == ["a"]
    assert box.size() == box.size(BoxJob) == box.size(queue="default") == len(box) == 1
    assert box.size(SumJob) == box.size(queue="low") == 0
    with pytest.raises(AssertionError, match=r"no such job to perform\.\nIn the box \(1\):"):
        box.perform_one(SumJob)


def test_as_by_a_worker_a_failing_job_waits_for_its_retry_and_dies_at_last(
    box: FakeOutlet,
) -> None:
    BoxJob.set(retry=1).perform_async("fail")
    assert box.drain(as_worker=True) == 1
    (entry,) = box.retries
    assert entry.payload.retry_count == 0
    assert entry.at is not None
    assert box.drain(due_only=True, as_worker=True) == 0
    box.drain(as_worker=True)
    assert box.retries == box.entries == []
    assert [payload.fields["error_message"] for payload in box.dead] == ["no luck"]
    assert DONE == ["fail", "fail"]


def test_a_job_that_snoozes_waits_again_and_runs_once_a_drain(box: FakeOutlet) -> None:
    SnoozeJob.perform_async()
    assert [box.drain(), box.drain()] == [1, 1]
    assert box.size(SnoozeJob) == 1
    assert box.entries[0].at is not None


def test_jobs_without_an_end_do_not_hang_a_test(
    box: FakeOutlet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("django_jobqueue.testing.fake.LIMIT", 5)
    EndlessJob.perform_async()
    with pytest.raises(AssertionError, match=r"^7 jobs ran, and there are more\. .*perform_one"):
        box.drain()


def test_a_held_job_is_out_of_the_box_and_keeps_its_lock(box: FakeOutlet) -> None:
    OnceJob.perform_async(1)
    with disable_job(OnceJob):
        assert box.drain() == 0
    assert [payload.args for payload in box.held] == [[1]]
    assert OnceJob.perform_async(1) is None


# Unique jobs ------------------------------------------------------------------


class OnceJob(BoxJob):
    """Unique until it succeeds; a list makes it enqueue its like while it runs."""

    unique_for = 60

    def perform(self, what: Any) -> None:
        """Note it, and what came of its like."""
        DONE.append(what)
        for like in what if isinstance(what, list) else []:
            DONE.append(type(self).enqueue(what if like == "same" else like).status.value)
        if what == "fail":
            raise ValueError("no luck")


class EarlyJob(OnceJob):
    """Unique until it starts."""

    unique_until = "start"

    def perform(self, what: Any) -> None:
        """Enqueue its like, the first time."""
        DONE.append(what)
        if len(DONE) == 1:
            DONE.append(type(self).enqueue(what).status.value)


class RerunJob(OnceJob):
    """Unique, and run again for a duplicate that comes while it runs."""

    on_conflict = "rerun"

    def perform(self, what: Any) -> None:
        """Enqueue its like, the first time: twice."""
        DONE.append(what)
        if len(DONE) == 1:
            DONE.extend(type(self).enqueue(what).status.value for _ in range(2))


class SumJob(Job):
    """Has a result."""

    async def perform(self, one: int, two: int) -> int:
        """Add."""
        await asyncio.sleep(0)
        return one + two


class SnoozeJob(Job):
    """Never done."""

    def perform(self) -> None:
        """Wait."""
        raise Snooze(30)


class EndlessJob(Job):
    """Enqueues itself."""

    def perform(self) -> None:
        """Again."""
        EndlessJob.perform_async()


def test_a_unique_job_is_kept_once_until_it_has_run(box: FakeOutlet) -> None:
    first = OnceJob.enqueue(1)
    again = OnceJob.enqueue(1)
    assert again.existing_jid == first.jid
    assert [entry.payload.args for entry in box.duplicates] == [[1]]
    box.drain()
    assert OnceJob.enqueue(1)


def test_its_lock_lasts_while_it_runs_unless_it_ends_with_the_start(box: FakeOutlet) -> None:
    OnceJob.perform_async(["same"])
    assert box.drain() == 1
    assert DONE == [["same"], "duplicate"]
    DONE.clear()
    EarlyJob.perform_async(1)
    assert box.drain() == 2
    assert DONE == [1, "pushed", 1]


def test_a_duplicate_that_comes_while_it_runs_is_run_once_after_it(box: FakeOutlet) -> None:
    RerunJob.perform_async(1)
    assert RerunJob.enqueue(1).status is Status.DUPLICATE  # before it runs: forgotten
    assert box.drain() == 2
    assert DONE == [1, "duplicate", "duplicate", 1]
    assert RerunJob.enqueue(1)


def test_a_failure_frees_the_lock_unless_a_retry_keeps_it(box: FakeOutlet) -> None:
    OnceJob.perform_async("fail")
    with pytest.raises(ValueError, match="no luck"):
        box.drain()
    assert OnceJob.perform_async("fail") is not None
    box.drain(as_worker=True)
    assert OnceJob.perform_async("fail") is None
    while box.retries:
        box.drain(as_worker=True)
    assert OnceJob.perform_async("fail") is not None


def test_in_line_a_unique_job_has_its_lock_while_it_runs(box: FakeOutlet) -> None:
    with use_outlet(InlineOutlet()):
        OnceJob.perform_async(["same"])
        OnceJob.perform_async(["same"])
        assert DONE == [["same"], "duplicate"] * 2
        DONE.clear()
        RerunJob.perform_async(1)
        assert DONE == [1, "duplicate", "duplicate", 1]


# Coroutines -------------------------------------------------------------------


def test_a_coroutine_is_performed_also_where_the_test_is_one(box: FakeOutlet) -> None:
    async def test() -> list[int]:
        SumJob.perform_async(3, 4)
        blocking = box.perform_one(SumJob)
        SumJob.perform_async(5, 6)
        return [blocking, await sync_to_async(box.perform_one)(SumJob)]

    assert asyncio.run(test()) == [7, 11]
