"""Pushes in a transaction: the jid at once, the push with the commit, nothing after a rollback."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import pytest
from django.db import connection, connections, transaction

from django_jobqueue import Job
from django_jobqueue.client.outlet import Entry, use_outlet
from django_jobqueue.exceptions import StoreUnavailable
from django_jobqueue.switches.switches import switches
from django_jobqueue.testing import FakeOutlet
from testproject.backups.models import Database
from tests.client.recorders import RefuseOdd, path_of
from tests.conftest import JobqueueSettings
from tests.support.inside import Inside

#: Nobody listens there.
NOWHERE = "redis://127.0.0.1:1/0"

CaptureCallbacks = Callable[..., Any]


class CommitJob(Job):
    """Waits for the commit."""

    def perform(self, number: int) -> None:
        """Do nothing."""


class HastyJob(CommitJob):
    """Waits for nothing."""

    on_commit = False


class Undo(Exception):
    """Rolls a block back."""


@pytest.fixture
def box(settings: Any) -> Iterator[FakeOutlet]:
    """A box that all pushes go to."""
    settings.JOBQUEUE = {"OUTLET": "fake"}
    outlet = FakeOutlet()
    with use_outlet(outlet):
        yield outlet


class Trips(FakeOutlet):
    """A box that remembers how many jobs came together."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: list[int] = []

    def push(self, entries: Sequence[Entry], *, healing: bool = False) -> Mapping[int, str]:
        self.sizes.append(len(entries))
        return super().push(entries, healing=healing)


@pytest.fixture
def trips(settings: Any) -> Iterator[Trips]:
    """A box that all pushes go to, and that counts them."""
    settings.JOBQUEUE = {"OUTLET": "fake"}
    outlet = Trips()
    with use_outlet(outlet):
        yield outlet


class Serious(FakeOutlet):
    """A box that waits for every commit, as Redis does."""

    for_tests = False


@pytest.fixture
def serious(settings: Any) -> Iterator[Serious]:
    """A box that all pushes go to, as if it were Redis."""
    settings.JOBQUEUE = {"OUTLET": "fake"}
    outlet = Serious()
    with use_outlet(outlet):
        yield outlet


def numbers(box: FakeOutlet) -> list[object]:
    return [args[0] for args in box.args_of(CommitJob)]


@contextmanager
def rolled_back(**options: Any) -> Iterator[None]:
    """Run a block as one of ``transaction.atomic`` that ends with a rollback."""
    with suppress(Undo), transaction.atomic(**options):
        yield
        raise Undo


# Commit -----------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_the_jid_comes_at_once_and_the_push_with_the_commit(
    jobqueue_settings: JobqueueSettings, inside: Inside, count_round_trips: Callable[[], int]
) -> None:
    jobqueue_settings()
    switches().refresh(force=True)  # looked at once a second, whoever asks
    count_round_trips()
    with transaction.atomic():
        jid = CommitJob.perform_async(1)
        later = CommitJob.perform_in(60, 2)
        assert jid is not None
        assert later is not None
        assert count_round_trips() == 0
        assert inside.names() == set()
    assert [job["jid"] for job in inside.jobs()] == [jid]
    assert inside.entry("schedule")[0]["jid"] == later


@pytest.mark.django_db(transaction=True)
def test_outside_a_transaction_the_push_is_at_once(box: FakeOutlet) -> None:
    CommitJob.perform_async(1)
    assert numbers(box) == [1]


@pytest.mark.django_db(transaction=True)
def test_five_hundred_jobs_of_a_transaction_are_one_round_trip(
    jobqueue_settings: JobqueueSettings, inside: Inside, count_round_trips: Callable[[], int]
) -> None:
    jobqueue_settings()
    CommitJob.perform_async(-1)
    with transaction.atomic():
        for number in range(500):
            CommitJob.perform_async(number)
        count_round_trips()
    assert count_round_trips() == 1
    assert inside.args() == [[number] for number in range(-1, 500)]


@pytest.mark.django_db(transaction=True)
def test_a_bulk_of_many_slices_is_one_push_at_the_commit(trips: Trips) -> None:
    with transaction.atomic():
        CommitJob.perform_bulk(((n,) for n in range(2_500)), batch_size=100)
        assert len(trips) == 0
    assert trips.sizes == [2_500]


@pytest.mark.django_db(transaction=True)
def test_enqueueing_runs_no_sql(
    box: FakeOutlet, django_assert_num_queries: Callable[[int], Any]
) -> None:
    connection.ensure_connection()
    with django_assert_num_queries(0):
        CommitJob.perform_async(1)
    with transaction.atomic(), django_assert_num_queries(0):
        CommitJob.perform_async(2)
        CommitJob.perform_bulk([(3,), (4,)])
    assert numbers(box) == [1, 2, 3, 4]


@pytest.mark.django_db(transaction=True)
def test_what_is_wrong_with_a_job_is_told_at_the_call_and_not_at_the_commit(
    box: FakeOutlet,
) -> None:
    with transaction.atomic():
        with pytest.raises(TypeError, match=r"args\[0\] is a set"):
            CommitJob.perform_async({1})
        with pytest.raises(TypeError, match="missing a required argument"):
            CommitJob.perform_async()
    assert len(box) == 0


@pytest.mark.django_db(transaction=True)
def test_a_refusal_is_told_at_the_call(settings: Any) -> None:
    settings.JOBQUEUE = {"OUTLET": "fake", "CLIENT_MIDDLEWARE": path_of(RefuseOdd)}
    outlet = FakeOutlet()
    with use_outlet(outlet), transaction.atomic():
        assert CommitJob.perform_async(1) is None
        assert CommitJob.perform_async(2) is not None
    assert numbers(outlet) == [2]


@pytest.mark.django_db(transaction=True)
def test_a_push_out_of_a_commit_hook_is_at_once(box: FakeOutlet) -> None:
    with transaction.atomic():
        transaction.on_commit(lambda: CommitJob.perform_async(1))
        CommitJob.perform_async(2)
    assert sorted(map(str, numbers(box))) == ["1", "2"]


@pytest.mark.django_db(transaction=True)
def test_two_transactions_are_two_pushes(trips: Trips) -> None:
    for number in range(2):
        with transaction.atomic():
            CommitJob.perform_async(number)
            CommitJob.perform_async(number)
    assert trips.sizes == [2, 2]


@pytest.mark.django_db(transaction=True)
def test_the_transaction_of_another_thread_is_none_of_ours(trips: Trips) -> None:
    pushed = threading.Event()

    def enqueue() -> None:
        CommitJob.perform_async(1)
        pushed.set()
        connections.close_all()

    with transaction.atomic():
        CommitJob.perform_async(2)
        thread = threading.Thread(target=enqueue)
        thread.start()
        thread.join(10)
        assert pushed.is_set()
        assert numbers(trips) == [1]
    assert numbers(trips) == [1, 2]


# Rollback ---------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_a_rolled_back_transaction_pushes_nothing(
    jobqueue_settings: JobqueueSettings, inside: Inside
) -> None:
    jobqueue_settings()
    with rolled_back():
        assert CommitJob.perform_async(1) is not None
        CommitJob.perform_bulk([(2,)])
    assert inside.names() == set()


@pytest.mark.django_db(transaction=True)
def test_after_a_rollback_the_next_transaction_pushes_only_its_own(box: FakeOutlet) -> None:
    with rolled_back():
        CommitJob.perform_async(1)
    with transaction.atomic():
        CommitJob.perform_async(2)
    assert numbers(box) == [2]


@pytest.mark.django_db(transaction=True)
def test_a_rolled_back_savepoint_takes_only_its_own_jobs_along(box: FakeOutlet) -> None:
    with transaction.atomic():
        CommitJob.perform_async(1)
        with rolled_back():
            CommitJob.perform_async(2)
        CommitJob.perform_async(3)
    assert numbers(box) == [1, 3]


@pytest.mark.django_db(transaction=True)
def test_savepoints_inside_each_other_share_the_fate_of_the_outer(box: FakeOutlet) -> None:
    with transaction.atomic():
        CommitJob.perform_async(1)
        with rolled_back():
            CommitJob.perform_async(2)
            with transaction.atomic():
                CommitJob.perform_async(3)
        with transaction.atomic():
            CommitJob.perform_async(4)
            with rolled_back():
                CommitJob.perform_async(5)
    assert numbers(box) == [1, 4]


@pytest.mark.django_db(transaction=True)
def test_a_job_after_a_savepoint_does_not_join_those_inside_it(box: FakeOutlet) -> None:
    with transaction.atomic():
        CommitJob.perform_async(1)
        with transaction.atomic():
            CommitJob.perform_async(2)
        CommitJob.perform_async(3)
        with rolled_back():
            CommitJob.perform_async(4)
    assert sorted(map(str, numbers(box))) == ["1", "2", "3"]


@pytest.mark.django_db(transaction=True)
def test_a_block_without_a_savepoint_falls_with_the_transaction(box: FakeOutlet) -> None:
    with transaction.atomic():
        CommitJob.perform_async(1)
        with rolled_back(savepoint=False):
            CommitJob.perform_async(2)
    assert len(box) == 0


@pytest.mark.django_db(transaction=True)
def test_a_job_can_be_enqueued_inside_a_broken_transaction(box: FakeOutlet) -> None:
    with rolled_back():
        transaction.set_rollback(True)
        assert CommitJob.perform_async(1) is not None
    assert len(box) == 0


# Which transaction ------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_a_job_that_waits_for_nothing_is_pushed_at_once_and_stays(box: FakeOutlet) -> None:
    with rolled_back():
        HastyJob.perform_async(1)
        CommitJob.set(on_commit=False).perform_async(2)
        assert len(box) == 2
    assert len(box) == 2


@pytest.mark.django_db(transaction=True)
def test_the_settings_say_what_all_jobs_wait_for(settings: Any) -> None:
    settings.JOBQUEUE = {"OUTLET": "fake", "ON_COMMIT": False}
    outlet = FakeOutlet()
    with use_outlet(outlet), transaction.atomic():
        CommitJob.perform_async(1)
        assert len(outlet) == 1
        CommitJob.set(on_commit="default").perform_async(2)
        assert len(outlet) == 1
    assert numbers(outlet) == [1, 2]


@pytest.mark.usefixtures("other_database")
def test_a_job_may_wait_for_another_database(box: FakeOutlet) -> None:
    with transaction.atomic(using="other"):
        CommitJob.perform_async(1)
        assert numbers(box) == [1]
        CommitJob.set(on_commit="other").perform_async(2)
        assert numbers(box) == [1]
    assert numbers(box) == [1, 2]
    with rolled_back(using="other"):
        CommitJob.set(on_commit="other").perform_async(3)
    assert numbers(box) == [1, 2]


# Tests of a project -----------------------------------------------------------


@pytest.mark.django_db
def test_in_a_test_case_nothing_commits_and_captured_callbacks_push(
    serious: Serious, django_capture_on_commit_callbacks: CaptureCallbacks
) -> None:
    for number in range(2):
        with django_capture_on_commit_callbacks(execute=True) as callbacks:
            CommitJob.perform_async(number)
            assert len(serious) == number
        assert len(callbacks) == 1
        assert numbers(serious) == list(range(number + 1))


@pytest.mark.django_db
def test_captured_callbacks_push_although_jobs_were_enqueued_before(
    serious: Serious, django_capture_on_commit_callbacks: CaptureCallbacks
) -> None:
    CommitJob.perform_async(1)  # as a fixture may
    with django_capture_on_commit_callbacks(execute=True) as callbacks:
        CommitJob.perform_async(2)
    assert len(callbacks) == 1
    assert 2 in numbers(serious)
    with django_capture_on_commit_callbacks(execute=True):
        CommitJob.perform_async(3)
    assert sorted(map(str, numbers(serious))) in (["1", "2", "3"], ["2", "3"])


@pytest.mark.django_db
def test_the_callbacks_of_a_block_push_each_job_once(
    box: FakeOutlet, django_capture_on_commit_callbacks: CaptureCallbacks
) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        with transaction.atomic():
            CommitJob.perform_async(1)
        CommitJob.perform_async(2)
        CommitJob.perform_async(3)
    assert sorted(map(str, numbers(box))) == ["1", "2", "3"]


# Redis is away at the commit --------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_a_push_that_fails_at_the_commit_raises_and_the_transaction_stands(settings: Any) -> None:
    settings.JOBQUEUE = {"REDIS_URL": NOWHERE}

    def create() -> None:
        with transaction.atomic():
            Database.objects.create(name="shop", path="shop.sqlite3")
            CommitJob.perform_async(1)

    with pytest.raises(StoreUnavailable):
        create()
    assert Database.objects.filter(name="shop").exists()


@pytest.mark.django_db(transaction=True)
def test_a_push_that_fails_at_the_commit_is_only_logged_where_the_settings_say_so(
    settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    settings.JOBQUEUE = {"REDIS_URL": NOWHERE, "ON_COMMIT_ERRORS": "log"}
    with transaction.atomic():
        Database.objects.create(name="shop", path="shop.sqlite3")
        first = CommitJob.perform_async(1)
        CommitJob.perform_async(2)
    assert Database.objects.filter(name="shop").exists()
    # The switches have their own word about it.
    (line,) = [r.getMessage() for r in caplog.records if r.name == "django_jobqueue.client"]
    assert line.startswith("The transaction stands, and 2 job(s) of it were not enqueued: ")
    assert line.endswith(f"First jid {first}.")


@pytest.mark.django_db(transaction=True)
def test_errors_that_are_not_of_the_queue_are_never_swallowed(settings: Any) -> None:
    class Broken(FakeOutlet):
        def push(self, entries: Sequence[Entry], *, healing: bool = False) -> Mapping[int, str]:
            raise ZeroDivisionError

    settings.JOBQUEUE = {"OUTLET": "fake", "ON_COMMIT_ERRORS": "log"}
    with use_outlet(Broken()), pytest.raises(ZeroDivisionError), transaction.atomic():
        CommitJob.perform_async(1)


@pytest.mark.django_db(transaction=True)
def test_outside_a_transaction_an_error_is_raised_whatever_the_settings_say(settings: Any) -> None:
    settings.JOBQUEUE = {"REDIS_URL": NOWHERE, "ON_COMMIT_ERRORS": "log"}
    with pytest.raises(StoreUnavailable):
        CommitJob.perform_async(1)


@pytest.mark.django_db(transaction=True)
def test_after_a_push_that_failed_the_next_transaction_pushes_its_own(settings: Any) -> None:
    settings.JOBQUEUE = {"REDIS_URL": NOWHERE}
    with pytest.raises(StoreUnavailable), transaction.atomic():
        CommitJob.perform_async(1)
    outlet = FakeOutlet()
    with use_outlet(outlet), transaction.atomic():
        CommitJob.perform_async(2)
    assert numbers(outlet) == [2]
