"""The box that the settings name: one a process, found by name, and empty for each test."""

from __future__ import annotations

import unittest
from typing import Any

import pytest
from django.core import mail
from django.core.exceptions import ImproperlyConfigured
from django.test import SimpleTestCase

from django_jobqueue import Job
from django_jobqueue.testing import FakeOutlet, fake_jobs, inline_jobs, outbox
from django_jobqueue.testing.outbox import begin_test


class SentJob(Job):
    """Goes into boxes."""

    unique_for = 60

    def perform(self, number: int) -> None:
        """Do nothing."""


@pytest.fixture(autouse=True)
def fake(settings: Any) -> None:
    """Let the settings name a box."""
    settings.JOBQUEUE = {"OUTLET": "fake"}


def test_it_is_the_innermost_box_or_that_of_the_settings() -> None:
    SentJob.perform_async(1)
    chosen = outbox()
    with fake_jobs() as box:
        SentJob.perform_async(2)
        assert outbox() is box
        assert box.args_of(SentJob) == [[2]]
    assert outbox() is chosen
    assert chosen.args_of(SentJob) == [[1]]


def test_where_jobs_go_elsewhere_it_says_how_to_get_a_box(settings: Any) -> None:
    with inline_jobs(), pytest.raises(ImproperlyConfigured) as caught:
        outbox()
    assert str(caught.value) == (
        "Jobs go to InlineOutlet here, and not into a box. Put 'with fake_jobs():' around the "
        "test, or set JOBQUEUE['OUTLET'] = 'fake' in the settings of the tests."
    )


def test_another_test_begins_with_an_empty_box_and_no_locks() -> None:
    SentJob.perform_async(1)
    begin_test()
    assert SentJob.perform_async(1) is not None
    assert outbox().size() == 1
    begin_test()
    outbox().assert_nothing_enqueued()


def test_the_test_cases_of_django_begin_with_an_empty_box_too() -> None:
    class Case(SimpleTestCase):
        def push(self) -> None:
            assert SentJob.perform_async(1) is not None
            assert SentJob.perform_async(1) is None

        test_one = test_another = push

    result = unittest.TestResult()
    for name in ("test_one", "test_another"):
        Case(name)(result)
    assert result.errors == result.failures == []
    assert result.testsRun == 2


def test_who_empties_the_outbox_of_mails_empties_no_box_of_jobs() -> None:
    class Case(SimpleTestCase):
        def test_it(self) -> None:
            SentJob.perform_async(1)
            mail.outbox = []  # as Django's manual says
            outbox().assert_enqueued(SentJob)

    result = unittest.TestResult()
    Case("test_it")(result)
    assert result.errors == result.failures == []
    assert result.testsRun == 1


def test_a_box_of_a_tests_own_is_not_emptied() -> None:
    with fake_jobs() as box:
        SentJob.perform_async(1)
        begin_test()
        assert isinstance(outbox(), FakeOutlet)
        assert len(box) == 1
