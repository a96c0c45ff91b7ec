"""Pushes in a test case: its own transactions are none, those of the code under test are."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction
from django.db.models.signals import post_delete
from django.test import TestCase, override_settings

from django_jobqueue import Job
from django_jobqueue.client.commit import waiting
from django_jobqueue.client.outlet import use_outlet
from django_jobqueue.testing import FakeOutlet, InlineOutlet
from testproject.backups.models import Database

pytestmark = pytest.mark.django_db


class TestedJob(Job):
    """Waits for the commit."""

    def perform(self, number: int) -> None:
        """Fail with a number below 0."""
        if number < 0:
            raise LookupError(number)


class ClashingJob(Job):
    """Fails as a query does."""

    def perform(self) -> None:
        """Raise IntegrityError."""
        raise IntegrityError("one of that name is there")


class Undo(Exception):
    """Rolls a block back."""


@pytest.fixture
def box(settings: Any) -> Iterator[FakeOutlet]:
    """A box that all pushes go to."""
    settings.JOBQUEUE = {"OUTLET": "fake"}
    with use_outlet(FakeOutlet()) as made:
        yield made
    assert connection.execute_wrappers == []


def numbers(box: FakeOutlet) -> Sequence[object]:
    return [args[0] for args in box.args_of(TestedJob)]


def test_outside_a_transaction_of_its_own_the_push_is_at_once(box: FakeOutlet) -> None:
    assert TestedJob.enqueue(1)
    assert numbers(box) == [1]


def test_inside_one_the_push_comes_with_its_end(box: FakeOutlet) -> None:
    with transaction.atomic():
        TestedJob.perform_async(1)
        with transaction.atomic():
            TestedJob.perform_async(2)
        TestedJob.perform_async(3)
        assert numbers(box) == []
        assert [entry.payload.args for entry in waiting()["default"]] == [[1], [3], [2]]
    assert numbers(box) == [1, 3, 2]
    assert waiting() == {}
    with transaction.atomic():
        TestedJob.perform_async(4)
    assert numbers(box) == [1, 3, 2, 4]


def test_what_is_rolled_back_is_not_pushed(box: FakeOutlet) -> None:
    with suppress(Undo), transaction.atomic():
        TestedJob.perform_async(1)
        raise Undo
    with transaction.atomic():
        TestedJob.perform_async(2)
        with suppress(Undo), transaction.atomic():
            TestedJob.perform_async(3)
            raise Undo
    assert numbers(box) == [2]


def test_captured_callbacks_push_nothing_twice(
    box: FakeOutlet, django_capture_on_commit_callbacks: Callable[..., Any]
) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        with transaction.atomic():
            TestedJob.perform_async(1)
        TestedJob.perform_async(2)
    assert numbers(box) == [1, 2]


def test_a_block_without_a_savepoint_counts_as_none(box: FakeOutlet) -> None:
    with transaction.atomic(savepoint=False):
        TestedJob.perform_async(1)
        with transaction.atomic():
            TestedJob.perform_async(2)
            assert numbers(box) == [1]
        assert numbers(box) == [1, 2]
        with suppress(Undo), transaction.atomic():
            with transaction.atomic(savepoint=False):
                TestedJob.perform_async(3)
            raise Undo
    assert numbers(box) == [1, 2]
    assert waiting() == {}


def test_what_a_receiver_pushes_of_a_deleted_row_is_there(box: FakeOutlet) -> None:
    def clean_up(instance: Database, **_: Any) -> None:
        TestedJob.perform_async(7)

    row = Database.objects.create(name="shop", path="shop.sqlite3")
    post_delete.connect(clean_up, sender=Database)
    try:
        row.delete()  # in a block without a savepoint
    finally:
        post_delete.disconnect(clean_up, sender=Database)
    assert numbers(box) == [7]


def test_wrappers_of_others_are_left_in_place(box: FakeOutlet) -> None:
    seen: list[str] = []

    def note(execute: Callable[..., Any], sql: str, *rest: Any) -> Any:
        seen.append(sql.split()[0])
        return execute(sql, *rest)

    with transaction.atomic():
        with connection.execute_wrapper(note):
            TestedJob.perform_async(1)
            Database.objects.exists()
        Database.objects.exists()
    assert seen == ["SELECT"]
    assert numbers(box) == [1]


def test_a_job_in_line_fails_at_the_end_of_the_transaction_which_stands(settings: Any) -> None:
    settings.JOBQUEUE = {"OUTLET": "inline"}

    def create() -> None:
        with transaction.atomic():
            Database.objects.create(name="shop", path="shop.sqlite3")
            TestedJob.perform_async(-1)

    with use_outlet(InlineOutlet()), pytest.raises(LookupError):
        create()
    assert Database.objects.filter(name="shop").exists()


def test_a_job_in_line_that_fails_at_the_database_breaks_no_transaction(settings: Any) -> None:
    settings.JOBQUEUE = {"OUTLET": "inline"}

    def create() -> None:
        with transaction.atomic():
            Database.objects.create(name="shop", path="shop.sqlite3")
            ClashingJob.perform_async()

    with use_outlet(InlineOutlet()), pytest.raises(IntegrityError):
        create()
    assert Database.objects.filter(name="shop").exists()
    assert connection.execute_wrappers == []


@override_settings(JOBQUEUE={"OUTLET": "fake"})
class CaseTests(TestCase):
    """Django's own test case, with its transaction for all tests of the class."""

    box: FakeOutlet

    @classmethod
    def setUpTestData(cls) -> None:
        """Push something for all tests."""
        cls.box = FakeOutlet()
        with use_outlet(cls.box), transaction.atomic():
            TestedJob.set(on_commit="default").perform_async(1)

    def test_what_is_pushed_for_the_class_is_there(self) -> None:
        """It came with the end of the block."""
        assert numbers(self.box) == [1]
