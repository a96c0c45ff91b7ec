"""A row that two workers want has one effect; and the keys that make duplicates one."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db import connection, connections, models, transaction
from django.test.utils import isolate_apps

from django_jobqueue import Job, Skip, unique
from django_jobqueue.client.outlet import use_outlet
from django_jobqueue.idempotence import claim, transition
from django_jobqueue.testing import FakeOutlet, InlineOutlet
from testproject.backups.models import Database
from tests.support import sql_settings

#: Seconds that a thread of a test may take at most.
SOON = 30.0

TRANSACTIONAL = pytest.mark.django_db(transaction=True)


def database(state: str = "pending", name: str = "a") -> Database:
    return Database.objects.create(name=name, path=f"{name}.sqlite3", state=state)


def state_of(row: Database) -> str:
    return Database.objects.using(row._state.db).get(pk=row.pk).state


class Worker(threading.Thread):
    """Does something in a thread, with connections of its own, and keeps how it ended."""

    def __init__(self, act: Callable[[], Any]) -> None:
        super().__init__(daemon=True)
        self._act = act
        self._result: Any = None
        self._error: BaseException | None = None
        self.start()

    def run(self) -> None:
        try:
            self._result = self._act()
        except BaseException as error:
            self._error = error
        finally:
            connections.close_all()

    def result(self) -> Any:
        """Return what it returned, or raise what it raised."""
        self.join(SOON)
        assert not self.is_alive(), "the thread still runs"
        if self._error is not None:
            raise self._error
        return self._result


# Claiming -------------------------------------------------------------------------


@pytest.mark.django_db
def test_a_claimed_row_is_handed_over() -> None:
    row = database()
    with claim(Database, row.pk) as claimed:
        assert claimed == row
        assert claimed.state == "pending"
    assert state_of(row) == "pending"


@pytest.mark.django_db
def test_a_claimed_row_gets_its_new_state_at_once() -> None:
    row = database()
    with claim(Database, row.pk, "pending", to="running") as claimed:
        assert claimed.state == "running"
        assert state_of(row) == "running"
    assert state_of(row) == "running"


@pytest.mark.django_db
def test_any_of_several_states_will_do_and_is_kept() -> None:
    rows = [database("pending", "a"), database("running", "b")]
    for row in rows:
        with claim(Database, row.pk, ("pending", "running")) as claimed:
            assert claimed.state == row.state
        assert state_of(row) == row.state


@pytest.mark.django_db
def test_the_state_may_be_kept_in_another_field() -> None:
    row = database(name="a")
    with claim(Database, row.pk, "a", field="name", to="b"):
        pass
    row.refresh_from_db()
    assert (row.name, row.state) == ("b", "pending")


@pytest.mark.django_db
def test_a_row_in_another_state_is_skipped_and_the_reason_told() -> None:
    row = database("done")
    with (
        pytest.raises(Skip, match=rf"backups.Database {row.pk} is 'done', not 'pending'"),
        claim(Database, row.pk, "pending", to="running"),
    ):
        pytest.fail("it was claimed")
    assert state_of(row) == "done"


@pytest.mark.django_db
def test_a_row_that_is_gone_is_skipped() -> None:
    with pytest.raises(Skip, match=r"backups\.Database 7 is gone"), claim(Database, 7):
        pytest.fail("it was claimed")


@pytest.mark.django_db
def test_a_row_outside_of_the_queryset_is_gone() -> None:
    row = database(name="a")
    with claim(Database.objects, row.pk), claim(Database.objects.filter(name="a"), row.pk):
        pass
    with pytest.raises(Skip, match="gone"), claim(Database.objects.exclude(name="a"), row.pk):
        pytest.fail("it was claimed")


@TRANSACTIONAL
@pytest.mark.parametrize("error", [ValueError("no"), Skip("no")], ids=lambda e: type(e).__name__)
def test_what_leaves_the_block_as_an_exception_takes_the_claim_back(error: Exception) -> None:
    row = database()
    with pytest.raises(type(error), match="no"), claim(Database, row.pk, to="done"):
        raise error
    assert state_of(row) == "pending"
    with claim(Database, row.pk, to="done"):
        pass
    assert state_of(row) == "done"


@TRANSACTIONAL
def test_a_claim_in_a_transaction_ends_with_it() -> None:
    row = database()
    with transaction.atomic():
        with claim(Database, row.pk, to="done"):
            pass
        transaction.set_rollback(True)
    assert state_of(row) == "pending"


class ClaimJob(Job):
    """Works on a row that it claims."""

    def perform(self, pk: int) -> str:
        with claim(Database, pk, "pending", to="done") as row:
            return row.name


@TRANSACTIONAL
def test_a_job_that_finds_its_row_done_is_skipped_and_does_not_fail(settings: Any) -> None:
    settings.JOBQUEUE = {"OUTLET": "inline", "CLIENT_MIDDLEWARE": [], "SERVER_MIDDLEWARE": []}
    row = database()
    inline = InlineOutlet()
    with use_outlet(inline):
        assert ClaimJob.perform_inline(row.pk) == "a"
        assert ClaimJob.perform_inline(row.pk) is None
    assert inline.retries == inline.dead == inline.scheduled == []


# Two workers ---------------------------------------------------------------------------


@TRANSACTIONAL
@pytest.mark.parametrize("wait", [False, True])
def test_two_workers_that_claim_one_row_have_exactly_one_effect(wait: bool) -> None:
    rows = [database(name=str(number)) for number in range(10)]
    effects: list[int] = []
    barrier = threading.Barrier(2)

    def work() -> int:
        skipped = 0
        for row in rows:
            barrier.wait(SOON)
            try:
                with claim(Database, row.pk, "pending", to="done", wait=wait):
                    effects.append(row.pk)
            except Skip:
                skipped += 1
        return skipped

    workers = [Worker(work), Worker(work)]
    skipped = sum(worker.result() for worker in workers)
    assert sorted(effects) == [row.pk for row in rows]
    assert skipped == len(rows)
    assert not Database.objects.exclude(state="done").exists()


@TRANSACTIONAL
def test_a_row_that_another_worker_holds_is_skipped_at_once() -> None:
    if not connection.features.has_select_for_update_skip_locked:
        pytest.skip("this database has no SKIP LOCKED: run .ci/run postgresql mariadb")
    row, other = database(name="a"), database(name="b")

    def want(pk: int) -> str:
        with claim(Database, pk) as claimed:
            return claimed.name

    with claim(Database, row.pk):
        with pytest.raises(Skip, match=f"backups.Database {row.pk} is held by another worker"):
            Worker(lambda: want(row.pk)).result()
        assert Worker(lambda: want(other.pk)).result() == "b"
    assert Worker(lambda: want(row.pk)).result() == "a"


@TRANSACTIONAL
def test_who_waits_gets_the_row_of_a_worker_that_failed() -> None:
    row = database()
    is_claimed, may_fail = threading.Event(), threading.Event()

    def fail() -> None:
        with claim(Database, row.pk, to="done"):
            is_claimed.set()
            assert may_fail.wait(SOON)
            raise ValueError("in the middle")

    def heir() -> str:
        may_fail.set()
        with claim(Database, row.pk, to="done", wait=True) as claimed:
            return claimed.name

    first = Worker(fail)
    assert is_claimed.wait(SOON)
    assert Worker(heir).result() == "a"
    with pytest.raises(ValueError, match="in the middle"):
        first.result()
    assert state_of(row) == "done"


@pytest.fixture
def deferred(django_db_blocker: Any, tmp_path: Path) -> Iterator[str]:
    """A SQLite file with a table of databases, in Django's default mode of transactions."""
    wanted = sql_settings.sqlite(str(tmp_path / "deferred.sqlite3"))
    wanted["OPTIONS"]["transaction_mode"] = "DEFERRED"
    connections.settings["deferred"] = connections.configure_settings({"default": wanted})[
        "default"
    ]
    with django_db_blocker.unblock():
        with connections["deferred"].schema_editor() as editor:
            editor.create_model(Database)
        yield "deferred"
        connections["deferred"].close()
    del connections["deferred"]
    del connections.settings["deferred"]


def test_on_sqlite_workers_in_deferred_transactions_wait_for_each_other(deferred: str) -> None:
    pks = [Database.objects.using(deferred).create(name=str(n), path="").pk for n in range(10)]
    effects: list[int] = []
    barrier = threading.Barrier(2)

    def work() -> None:
        for pk in pks:
            barrier.wait(SOON)
            try:
                with claim(Database, pk, using=deferred) as row:
                    effects.append(pk)
                    row.state = "done"
                    row.save()
            except Skip:
                continue

    workers = [Worker(work), Worker(work)]
    for worker in workers:
        worker.result()
    assert sorted(effects) == pks
    assert not Database.objects.using(deferred).exclude(state="done").exists()


# Transitions ---------------------------------------------------------------------------


@pytest.mark.django_db
def test_a_transition_moves_a_row_once() -> None:
    row, bystander = database(name="a"), database(name="b")
    assert transition(Database, row.pk, "pending", "running") is True
    assert transition(Database, row.pk, "pending", "running") is False
    assert (state_of(row), state_of(bystander)) == ("running", "pending")


@pytest.mark.django_db
def test_a_transition_into_the_same_state_counts_as_done() -> None:
    # As it is with MySQL's own count of changed rows, it would not.
    assert transition(Database, database("running").pk, ["pending", "running"], "running") is True


@pytest.mark.django_db
def test_a_transition_of_a_row_that_is_gone_moves_nothing() -> None:
    assert transition(Database, 7, "pending", "running") is False


@pytest.mark.django_db
def test_a_transition_may_set_other_fields_in_the_same_update() -> None:
    row = database()
    assert transition(Database, row.pk, "pending", "running", path="elsewhere")
    assert not transition(Database, row.pk, "pending", "done", path="nowhere")
    row.refresh_from_db()
    assert (row.state, row.path) == ("running", "elsewhere")


@pytest.mark.django_db
def test_a_transition_may_be_of_another_field_and_within_a_queryset() -> None:
    row = database(name="a")
    assert not transition(Database.objects.filter(state="done"), row.pk, "a", "b", field="name")
    assert transition(Database.objects.filter(state="pending"), row.pk, "a", "b", field="name")
    row.refresh_from_db()
    assert row.name == "b"


@TRANSACTIONAL
def test_of_many_that_try_one_transition_one_succeeds() -> None:
    rows = [database(name=str(number)) for number in range(10)]
    barrier = threading.Barrier(4)

    def work() -> list[bool]:
        won = []
        for row in rows:
            barrier.wait(SOON)
            won.append(transition(Database, row.pk, "pending", "done"))
        return won

    workers = [Worker(work) for _ in range(4)]
    outcomes = [worker.result() for worker in workers]
    assert [sum(tries) for tries in zip(*outcomes, strict=True)] == [1] * len(rows)


@isolate_apps("tests.jobsite")
def test_a_state_in_a_parent_model_has_no_guard_and_is_refused() -> None:
    class Parent(models.Model):
        state = models.CharField(max_length=10)

        class Meta:
            app_label = "jobsite"

    class Child(Parent):
        class Meta:
            app_label = "jobsite"

    with pytest.raises(ValueError, match="'state' is a field of Parent, a parent of Child"):
        transition(Child, 1, "pending", "done")


# Keys ------------------------------------------------------------------------------------


class KeyJob(Job):
    """Tells its key."""

    wire_name = "shop.jobs.KeyJob"

    def perform(self, *args: Any) -> str:
        return str(self.idempotency_key)


@pytest.fixture
def inline(settings: Any) -> None:
    """Jobs run in line, through no middleware."""
    settings.JOBQUEUE = {"OUTLET": "inline", "CLIENT_MIDDLEWARE": [], "SERVER_MIDDLEWARE": []}


@pytest.mark.usefixtures("inline")
def test_duplicates_have_one_key_and_other_work_has_another() -> None:
    key = KeyJob.perform_inline(7, {"a": 1, "b": 2})
    assert KeyJob.set(queue="slow").perform_inline(7, {"b": 2, "a": 1}) == key
    assert len({key, KeyJob.perform_inline(7), KeyJob.perform_inline("7")}) == 3


def test_a_key_is_a_uuid_that_never_changes() -> None:
    key = unique.idempotency_key("shop.jobs.KeyJob", [7, {"b": None, "a": "ä"}])
    assert key.version == 5
    assert key == uuid.UUID("44931537-ff8a-5002-9f5c-c2dab688628a")


def test_a_key_depends_on_the_class() -> None:
    assert unique.idempotency_key("a", [7]) != unique.idempotency_key("b", [7])


# One spelling ------------------------------------------------------------------------


class ByKeyJob(Job):
    """Takes a key."""

    def perform(self, pk: int | str) -> None:
        """Do nothing."""


class NamedJob(Job):
    """Takes something else."""

    def perform(self, name: str, state: str) -> None:
        """Do nothing."""

    @classmethod
    def args_for(cls, obj: Database) -> tuple[str, str]:
        return (obj.name, obj.state)


class Keyed:
    """An object whose key is a UUID."""

    pk = uuid.UUID("6f1c0b5e-8d64-4a0e-9a8b-6f9d2a0b7c11")


@pytest.fixture
def box(settings: Any) -> Iterator[FakeOutlet]:
    """A box that all pushes go to."""
    settings.JOBQUEUE = {"OUTLET": "fake", "CLIENT_MIDDLEWARE": []}
    made = FakeOutlet()
    with use_outlet(made):
        yield made


def test_a_job_is_enqueued_for_an_object_by_its_key(box: FakeOutlet) -> None:
    jid = ByKeyJob.enqueue_for(Database(pk=7))
    ByKeyJob.enqueue_for(Keyed)
    assert box.jobs_of(ByKeyJob)[0].payload.jid == jid
    assert box.args_of(ByKeyJob) == [[7], ["6f1c0b5e-8d64-4a0e-9a8b-6f9d2a0b7c11"]]


def test_a_job_may_spell_its_arguments_in_another_way(box: FakeOutlet) -> None:
    row = Database(pk=7, name="a", state="done")
    NamedJob.enqueue_for(row)
    NamedJob.set(queue="slow").enqueue_for(row)
    assert box.args_of(NamedJob) == [["a", "done"], ["a", "done"]]
    assert [entry.payload.queue for entry in box.jobs_of(NamedJob)] == ["default", "slow"]
