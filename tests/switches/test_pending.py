"""A flag that is changed in a transaction: seen by who changed it, by others on commit."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection, connections, transaction
from waffle.models import Flag
from waffle.testutils import override_flag

from django_jobqueue import Job
from django_jobqueue.switches import pending
from django_jobqueue.switches.state import ON
from django_jobqueue.switches.switches import switches
from tests.conftest import JobqueueSettings
from tests.support.flags import is_refused, set_flag
from tests.support.inside import Inside

FLAG = "disable_tentative_job"


class TentativeJob(Job):
    """Its switch is thrown in transactions."""

    def perform(self) -> None:
        """Do nothing."""


class Undo(Exception):
    """Rolls a block back."""


@contextmanager
def rolled_back() -> Iterator[None]:
    """Run a block as one of ``transaction.atomic`` that ends with a rollback."""
    with suppress(Undo), transaction.atomic():
        yield
        raise Undo


def in_another_thread(ask: Callable[[], bool]) -> bool:
    """Return what a thread of its own is answered."""
    answers: list[bool] = []

    def run() -> None:
        answers.append(ask())
        connections.close_all()

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(10)
    return answers[0]


def refused_elsewhere() -> bool:
    return in_another_thread(lambda: is_refused(TentativeJob))


@pytest.fixture(params=["redis", "fake"])
def outlet(request: pytest.FixtureRequest, jobqueue_settings: JobqueueSettings) -> str:
    """With Redis and without, it is the same."""
    jobqueue_settings(OUTLET=request.param)
    return str(request.param)


@pytest.mark.django_db(transaction=True)
def test_a_change_is_seen_at_once_by_its_thread_and_on_commit_by_others(outlet: str) -> None:
    with transaction.atomic():
        set_flag(FLAG, True)
        assert is_refused(TentativeJob)
        assert not refused_elsewhere()
    assert is_refused(TentativeJob)
    assert refused_elsewhere()
    with transaction.atomic():
        Flag.objects.get(name=FLAG).delete()
        assert not is_refused(TentativeJob)
        assert refused_elsewhere()
    assert not is_refused(TentativeJob)
    assert not refused_elsewhere()


@pytest.mark.django_db(transaction=True)
def test_without_a_transaction_a_change_is_for_all_at_once(outlet: str) -> None:
    set_flag(FLAG, True)
    assert is_refused(TentativeJob)
    assert refused_elsewhere()


@pytest.mark.django_db(transaction=True)
def test_the_last_of_several_changes_counts(outlet: str) -> None:
    with transaction.atomic():
        set_flag(FLAG, True)
        set_flag(FLAG, False)
        assert not is_refused(TentativeJob)
        set_flag(FLAG, True)
        assert is_refused(TentativeJob)
    assert is_refused(TentativeJob)


@pytest.mark.django_db(transaction=True)
def test_after_a_rollback_nobody_refuses(outlet: str) -> None:
    with rolled_back():
        set_flag(FLAG, True)
        assert is_refused(TentativeJob)
    assert not is_refused(TentativeJob)
    assert not refused_elsewhere()


@pytest.mark.django_db(transaction=True)
def test_a_rollback_leaves_redis_as_it_was(
    jobqueue_settings: JobqueueSettings, inside: Inside
) -> None:
    jobqueue_settings()
    with rolled_back():
        set_flag(FLAG, True)
        assert is_refused(TentativeJob)
    assert inside.names() == set()


@pytest.mark.django_db(transaction=True)
def test_a_savepoint_that_is_rolled_back_takes_its_changes_along(outlet: str) -> None:
    with transaction.atomic():
        with rolled_back():
            set_flag(FLAG, True)
            assert is_refused(TentativeJob)
        assert not is_refused(TentativeJob)
        set_flag(FLAG, None, 99.9)
        with rolled_back():
            set_flag(FLAG, False)
            assert switches().state_of(f"{__name__}.TentativeJob").is_off
        assert switches().state_of(f"{__name__}.TentativeJob").percent == 99.9
    assert switches().state_of(f"{__name__}.TentativeJob").percent == 99.9


@pytest.mark.django_db(transaction=True)
def test_in_a_broken_transaction_a_job_can_be_asked_about_without_sql(outlet: str) -> None:
    with rolled_back():
        set_flag(FLAG, True)
        transaction.set_rollback(True)
        assert is_refused(TentativeJob)


@pytest.mark.django_db(transaction=True)
def test_asking_runs_no_sql(outlet: str, django_assert_num_queries: Callable[[int], Any]) -> None:
    with transaction.atomic():
        set_flag(FLAG, True)
        with django_assert_num_queries(0):
            assert is_refused(TentativeJob)
    with django_assert_num_queries(0):
        assert is_refused(TentativeJob)


@pytest.mark.django_db(transaction=True)
def test_a_thread_without_changes_looks_at_no_hooks(
    outlet: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with transaction.atomic():
        set_flag(FLAG, True)
    is_refused(TentativeJob)  # finds that nothing is pending any more

    def refuse() -> None:
        raise AssertionError("hooks were looked at")

    monkeypatch.setattr(pending, "states", refuse)
    assert is_refused(TentativeJob)
    with transaction.atomic():
        assert is_refused(TentativeJob)


@pytest.mark.django_db(transaction=True)
def test_a_transaction_with_many_changes_is_published_once(
    jobqueue_settings: JobqueueSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobqueue_settings()
    published: list[None] = []
    monkeypatch.setattr("django_jobqueue.switches.publisher.sync", lambda: published.append(None))
    for _ in range(2):
        with transaction.atomic():
            set_flag(FLAG, True)
            with transaction.atomic():
                set_flag(FLAG, False)
            with rolled_back():
                set_flag(FLAG, True)
            set_flag("disable_other_thing", True)
    assert len(published) == 2


# Tests of a project -----------------------------------------------------------------


@pytest.mark.django_db
def test_an_overridden_flag_is_obeyed_in_a_test_case_and_redis_is_untouched(
    jobqueue_settings: JobqueueSettings, inside: Inside
) -> None:
    jobqueue_settings()
    with override_flag(FLAG, active=True):
        assert TentativeJob.perform_async() is None
        with override_flag(FLAG, active=False):
            assert not is_refused(TentativeJob)
        assert is_refused(TentativeJob)
    assert not is_refused(TentativeJob)
    assert "jq:switches" not in inside.names()


@pytest.mark.django_db
def test_hooks_that_a_test_runs_itself_publish_nothing(
    jobqueue_settings: JobqueueSettings,
    inside: Inside,
    django_capture_on_commit_callbacks: Callable[..., Any],
) -> None:
    jobqueue_settings()
    with django_capture_on_commit_callbacks(execute=True):
        set_flag(FLAG, True)
        assert is_refused(TentativeJob)
    assert is_refused(TentativeJob)
    assert not refused_elsewhere()
    assert inside.names() == set()


@pytest.mark.django_db
@pytest.mark.parametrize("attempt", [1, 2])
def test_what_a_test_case_changed_is_gone_for_the_next_one(outlet: str, attempt: int) -> None:
    assert not is_refused(TentativeJob), attempt
    set_flag(FLAG, True)
    assert is_refused(TentativeJob)


@pytest.mark.django_db(transaction=True)
def test_what_a_flush_took_away_is_gone(settings: Any) -> None:
    settings.JOBQUEUE = {"OUTLET": "fake"}
    set_flag(FLAG, True)
    assert is_refused(TentativeJob)
    call_command("flush", interactive=False, verbosity=0)
    assert not is_refused(TentativeJob)


@pytest.mark.usefixtures("other_database")
def test_changes_in_another_database_are_seen_in_its_transaction(settings: Any) -> None:
    settings.JOBQUEUE = {"OUTLET": "fake"}
    published: list[bool] = []
    other = connections["other"]
    with transaction.atomic(using="other"):
        pending.record(FLAG, ON, "other", lambda: published.append(other.in_atomic_block))
        assert is_refused(TentativeJob)
        assert published == []
    assert published == [False]
    assert connection.run_on_commit == []
