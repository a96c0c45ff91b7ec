"""Context managers of tests, which also decorate functions, coroutines and test cases."""

from __future__ import annotations

import asyncio
import unittest
from typing import Any

import pytest
from django.test import SimpleTestCase

from django_jobqueue import Job
from django_jobqueue.client.outlet import outlet
from django_jobqueue.testing import FakeOutlet, InlineOutlet, fake_jobs, inline_jobs, outbox

#: What jobs did.
DONE: list[int] = []


class NotedJob(Job):
    """Notes its argument."""

    def perform(self, number: int) -> None:
        """Note it."""
        DONE.append(number)


@pytest.fixture(autouse=True)
def fake(settings: Any) -> None:
    """Let the settings name a box, and forget what was done."""
    settings.JOBQUEUE = {"OUTLET": "fake"}
    DONE.clear()


def test_a_block() -> None:
    with fake_jobs() as box, inline_jobs() as inline:
        assert outlet() is inline
        NotedJob.perform_async(1)
    assert len(box) == 0
    assert DONE == [1]
    outbox().assert_nothing_enqueued()


def test_a_function_and_a_coroutine_each_time_with_a_new_box() -> None:
    @fake_jobs(kwarg_name="box")
    def push(number: int, box: FakeOutlet | None = None) -> int:
        NotedJob.perform_async(number)
        assert box is outbox()
        return len(box) + (push(number - 1) if number else 0)

    @fake_jobs()
    async def push_in_loop() -> int:
        NotedJob.perform_async(1)
        await asyncio.sleep(0)
        return outbox().size(NotedJob)

    assert push(2) == 3
    assert asyncio.run(push_in_loop()) == 1
    outbox().assert_nothing_enqueued()


def test_a_test_case_with_a_new_box_for_each_test() -> None:
    @fake_jobs(attr_name="box")
    class Case(SimpleTestCase):
        box: FakeOutlet

        def push(self) -> None:
            assert len(self.box) == 0
            assert self.box is outbox()
            NotedJob.perform_async(1)

        async def push_in_loop(self) -> None:
            self.push()

        test_one, test_another = push, push_in_loop

    result = unittest.TestResult()
    for name in ("test_one", "test_another"):
        Case(name)(result)
    assert result.errors == result.failures == []
    outbox().assert_nothing_enqueued()


def test_an_error_inside_ends_it() -> None:
    with pytest.raises(ZeroDivisionError), inline_jobs():
        raise ZeroDivisionError
    assert not isinstance(outlet(), InlineOutlet)
