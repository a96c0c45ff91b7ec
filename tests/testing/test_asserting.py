"""What a test asserts of a box, and what it is told when that does not hold."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest import mock

import pytest
from django.db import transaction

from django_jobqueue import Job
from django_jobqueue.testing import FakeOutlet, committing, disable_job, use_outlet
from tests.support.clocks import FrozenClock, freeze


class MailJob(Job):
    """Looked at."""

    wire_name = "Mail"

    def perform(self, *args: Any) -> None:
        """Do nothing."""


class OnceJob(MailJob):
    """Unique."""

    wire_name = "Once"
    unique_for = 60


@pytest.fixture
def box(settings: Any) -> Iterator[FakeOutlet]:
    """A box that all pushes go to."""
    settings.JOBQUEUE = {"OUTLET": "fake"}
    with use_outlet(FakeOutlet()) as made:
        yield made


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> FrozenClock:
    """A clock that stands."""
    return freeze(monkeypatch)


def failure(box: FakeOutlet, job: type[Job] = MailJob, **wanted: Any) -> str:
    """Return what an assertion that fails says."""
    with pytest.raises(AssertionError) as caught:
        box.assert_enqueued(job, **wanted)
    return str(caught.value)


def test_only_what_is_given_is_compared(box: FakeOutlet) -> None:
    MailJob.perform_async(7, "a")
    MailJob.set(queue="low").perform_async(8, "b")
    assert len(box.assert_enqueued(MailJob)) == 2
    (found,) = box.assert_enqueued(MailJob, args=[8, "b"], queue="low")
    assert found.payload.args == [8, "b"]
    box.assert_enqueued(MailJob, args=(mock.ANY, "a"), count=1)
    box.assert_not_enqueued(MailJob, args=[7])
    box.assert_not_enqueued(MailJob, args=[7, "a"], queue="low")
    box.assert_not_enqueued(OnceJob)


def test_a_failure_lists_what_is_in_the_box(box: FakeOutlet, clock: FrozenClock) -> None:
    MailJob.perform_async(7)
    MailJob.set(queue="low").perform_in(300, "a" * 500)
    said = failure(box, args=[8], queue="low", at=timedelta(minutes=5)).splitlines()
    assert said[:3] == [
        "Expected Mail(8) in the queue 'low' to run after 0:05:00, found 0.",
        "In the box (2):",
        "  Mail(7) in the queue 'default', at once",
    ]
    assert said[3].startswith("  Mail('aaa")
    assert said[3].endswith("...) in the queue 'low', after 0:05:00, at 2027-01-15 08:05:00+00:00")
    assert len(said) == 4


def test_arguments_are_a_list_of_all(box: FakeOutlet) -> None:
    with pytest.raises(TypeError, match="args is 7: give all arguments"):
        box.assert_enqueued(MailJob, args=7)  # type: ignore[arg-type]


def test_a_count_is_exact(box: FakeOutlet) -> None:
    MailJob.perform_bulk([(1,), (1,)])
    box.assert_enqueued(MailJob, args=[1], count=2)
    box.assert_enqueued(OnceJob, count=0)
    assert failure(box, count=1).startswith("Expected 1 of Mail, found 2.\nIn the box (2):")


def test_nothing_and_no_such_job(box: FakeOutlet) -> None:
    box.assert_nothing_enqueued()
    assert failure(box) == "Expected Mail, found 0.\nThe box is empty."
    MailJob.perform_async(1)
    with pytest.raises(
        AssertionError, match=r"^Expected nothing\.\nIn the box \(1\):\n  Mail\(1\)"
    ):
        box.assert_nothing_enqueued()
    with pytest.raises(AssertionError, match=r"^Expected no Mail\.\nIn the box \(1\):\n"):
        box.assert_not_enqueued(MailJob)


def test_of_many_jobs_those_of_the_class_are_named(box: FakeOutlet) -> None:
    MailJob.perform_bulk([(n,) for n in range(30)])
    OnceJob.perform_async("here")
    said = failure(box, OnceJob, args=["there"]).splitlines()
    assert said[2].startswith("  Once('here')")
    assert said[-1] == "  and 11 more"


def test_a_delay_counts_from_the_push(box: FakeOutlet, clock: FrozenClock) -> None:
    MailJob.perform_in(timedelta(minutes=5), 1)
    clock.advance(3600)
    box.assert_enqueued(MailJob, at=timedelta(seconds=300.9))
    box.assert_not_enqueued(MailJob, at=timedelta(seconds=302))
    box.assert_enqueued(MailJob, at=timedelta(minutes=3), within=timedelta(minutes=2))
    box.assert_not_enqueued(MailJob, at=timedelta(0))


def test_a_moment_may_be_a_datetime_or_a_number(box: FakeOutlet, clock: FrozenClock) -> None:
    when = datetime(2030, 5, 1, 12, tzinfo=UTC)
    MailJob.perform_at(when)
    box.assert_enqueued(MailJob, at=when)
    box.assert_enqueued(MailJob, at=when.timestamp() + 1)
    assert "to run at 2030-05-01 12:00:02+00:00" in failure(box, at=when + timedelta(seconds=2))


def test_what_runs_at_once_is_what_was_due_at_the_push(box: FakeOutlet, clock: FrozenClock) -> None:
    MailJob.perform_at(clock.now - 60)
    box.assert_enqueued(MailJob, at=clock.now - 60)
    box.assert_enqueued(MailJob, at=timedelta(0))
    box.assert_not_enqueued(MailJob, at=timedelta(seconds=30))


def test_duplicates_and_kill_switches_explain_what_is_missing(box: FakeOutlet) -> None:
    OnceJob.perform_async(1)
    OnceJob.perform_async(1)
    with disable_job(OnceJob):
        OnceJob.perform_async(2)
        said = failure(box, OnceJob, count=2)
    assert "\nLeft out as duplicates of unique jobs:\n  Once(1) in the queue" in said
    assert said.endswith("\nThe kill switch of OnceJob is on, which refuses it.")
    assert "kill switch" not in failure(box, OnceJob, count=2)


@pytest.mark.django_db
def test_jobs_that_wait_for_a_commit_are_told_with_the_way_out(box: FakeOutlet) -> None:
    with transaction.atomic():
        MailJob.perform_async(1)
        said = failure(box)
    assert "Waiting for the commit of a transaction on the database 'default':\n  Mail(1)" in said
    assert "with committing():" in said


@pytest.mark.django_db(transaction=True)
def test_transactions_of_no_test_case_commit_with_the_helper(box: FakeOutlet) -> None:
    with transaction.atomic():
        with committing():
            MailJob.perform_async(1)
            transaction.on_commit(lambda: MailJob.set(on_commit=False).perform_async(2) and None)
            box.assert_nothing_enqueued()
        box.assert_enqueued(MailJob, args=[1], count=1)
        box.assert_enqueued(MailJob, args=[2], count=1)
        transaction.set_rollback(True)
