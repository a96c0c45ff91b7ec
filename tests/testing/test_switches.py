"""Kill switches in a project's own tests: neither Redis nor a database is needed."""

from __future__ import annotations

import asyncio
import unittest
from collections.abc import Iterator
from typing import Any

import pytest
from django.test import SimpleTestCase
from waffle.testutils import override_flag

from django_jobqueue import Job, Status
from django_jobqueue.switches.naming import flag_names
from django_jobqueue.testing import FakeOutlet, disable_job, use_outlet


class HushedJob(Job):
    """Stopped by tests."""

    def perform(self, number: int = 0) -> None:
        """Do nothing."""


class OtherHushedJob(HushedJob):
    """Another class."""


@pytest.fixture
def box(settings: Any) -> Iterator[FakeOutlet]:
    """A box that all pushes go to."""
    settings.JOBQUEUE = {"OUTLET": "fake"}
    with use_outlet(FakeOutlet()) as made:
        assert isinstance(made, FakeOutlet)
        yield made


def test_a_job_is_stopped_for_a_while(box: FakeOutlet) -> None:
    with disable_job(HushedJob):
        assert HushedJob.perform_async(1) is None
        assert HushedJob.enqueue(2).status is Status.DISABLED
        assert HushedJob.perform_bulk([(3,), (4,)]).disabled == 2
        assert OtherHushedJob.perform_async(5) is not None
    assert HushedJob.perform_async(6) is not None
    assert box.args_of(HushedJob) == [[6]]
    assert box.args_of(OtherHushedJob) == [[5]]


def test_several_jobs_may_be_stopped(box: FakeOutlet) -> None:
    with disable_job(HushedJob, OtherHushedJob):
        assert HushedJob.perform_async() is OtherHushedJob.perform_async() is None


def test_a_share_may_be_stopped(box: FakeOutlet) -> None:
    with disable_job(HushedJob, percent=50):
        result = HushedJob.perform_bulk([()] * 1_000)
    assert 400 <= result.disabled <= 600


def test_it_decorates_a_function(box: FakeOutlet) -> None:
    @disable_job(HushedJob)
    def enqueue(depth: int) -> list[str | None]:
        if depth:
            enqueue(depth - 1)
        return [HushedJob.perform_async()]

    assert enqueue(2) == [None]
    assert HushedJob.perform_async() is not None


def test_it_decorates_a_coroutine(box: FakeOutlet) -> None:
    @disable_job(HushedJob)
    async def enqueue() -> str | None:
        return HushedJob.perform_async()

    assert asyncio.run(enqueue()) is None
    assert HushedJob.perform_async() is not None


def test_it_decorates_a_test_case(box: FakeOutlet) -> None:
    answers: list[str | None] = []

    @disable_job(HushedJob)
    class Case(SimpleTestCase):
        def test_it(self) -> None:
            answers.append(HushedJob.perform_async())

    result = unittest.TestResult()
    Case("test_it").run(result)
    assert result.wasSuccessful()
    assert answers == [None]
    assert HushedJob.perform_async() is not None


def test_an_error_inside_puts_the_switch_back(box: FakeOutlet) -> None:
    with pytest.raises(ZeroDivisionError), disable_job(HushedJob):
        raise ZeroDivisionError
    assert HushedJob.perform_async() is not None


@pytest.mark.django_db
def test_waffles_own_override_works_in_a_test_case(box: FakeOutlet) -> None:
    (flag,) = flag_names(HushedJob)
    with override_flag(flag, active=True):
        assert HushedJob.perform_async() is None
        with disable_job(HushedJob, percent=0):
            assert HushedJob.perform_async() is not None
    assert HushedJob.perform_async() is not None


@pytest.mark.django_db(transaction=True)
def test_waffles_own_override_works_where_tests_commit(box: FakeOutlet) -> None:
    (flag,) = flag_names(HushedJob)
    with override_flag(flag, active=True):
        assert HushedJob.perform_async() is None
    assert HushedJob.perform_async() is not None
