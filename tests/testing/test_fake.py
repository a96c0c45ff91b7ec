"""A box in place of Redis: jobs are kept to be looked at, and run when the test says so."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from django_jobqueue import Job
from django_jobqueue.client.outlet import outlet
from django_jobqueue.testing import FakeOutlet, InlineOutlet, use_outlet

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
        assert isinstance(made, FakeOutlet)
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
    with pytest.raises(ValueError, match="no luck"):
        box.drain()
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
