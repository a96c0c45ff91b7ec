"""What a project can assert of its jobs, and what it is told when that does not hold."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import transaction
from django.db.models import QuerySet

from django_jobqueue import Discard, Job, Skip, Snooze
from django_jobqueue.idempotence import claim, transition
from django_jobqueue.reconciliation import Reconciler
from django_jobqueue.testing import FakeOutlet, assert_heals, assert_idempotent, use_outlet
from testproject.backups.models import Database

TRANSACTIONAL = pytest.mark.django_db(transaction=True)

#: What jobs did outside of the database.
SENT: list[Any] = []


@pytest.fixture(autouse=True)
def alone(settings: Any) -> None:
    """No Redis and no middleware."""
    settings.JOBQUEUE = {"OUTLET": "fake", "CLIENT_MIDDLEWARE": [], "SERVER_MIDDLEWARE": []}
    SENT.clear()


def refuse_all(push: Any) -> Any:
    """Client middleware: nothing gets through."""
    return lambda payload: None


def refuse(settings: Any) -> None:
    settings.JOBQUEUE = {**settings.JOBQUEUE, "CLIENT_MIDDLEWARE": [f"{__name__}.refuse_all"]}


def database(name: str = "a", state: str = "pending", **fields: Any) -> Database:
    return Database.objects.create(name=name, path=name, state=state, **fields)


# Jobs that may run twice, and such that may not ------------------------------------


class SoundJob(Job):
    """Does its work once."""

    def perform(self, pk: int) -> None:
        with claim(Database, pk, to="done"):
            SENT.append(pk)


class QuietJob(Job):
    """Does its work once, and says nothing the second time."""

    def perform(self, pk: int) -> None:
        if transition(Database, pk, "pending", "done"):
            SENT.append(pk)


class LateJob(Job):
    """Works when its transaction commits."""

    def perform(self, pk: int) -> None:
        with transaction.atomic():
            transaction.on_commit(lambda: SENT.append(pk))


class HarmfulJob(Job):
    """Does what its argument says, every time."""

    def perform(self, pk: int, how: str = "") -> None:
        row = Database.objects.get(pk=pk)
        if how == "add":
            Database.objects.create(name=f"copy {Database.objects.count()}", path="")
        elif how == "change":
            row.path += "x"
            row.save()
        elif how == "remove":
            Database.objects.exclude(pk=pk).order_by("-pk")[0].delete()
        elif how == "fail":
            raise ValueError("no luck")


class WhimsicalJob(Job):
    """Ends in another way than by its end."""

    def perform(self, how: str, when: int) -> None:
        SENT.append(how)
        if len(SENT) >= when:
            raise {"skip": Skip("no"), "discard": Discard("no"), "snooze": Snooze(5)}[how]


class ParentJob(Job):
    """Enqueues another one and is told what the job was."""

    def perform(self, pk: int) -> None:
        SENT.append((self.jid, self.idempotency_key))
        SoundJob.perform_async(pk)


@pytest.mark.django_db
@pytest.mark.parametrize("job", [SoundJob, QuietJob])
def test_a_job_that_works_once_is_idempotent(job: type[Job]) -> None:
    pk = database().pk
    assert_idempotent(job, pk)
    assert len(SENT) == 1
    assert Database.objects.get().state == "done"


@TRANSACTIONAL
def test_a_job_may_be_judged_outside_of_a_test_case_too() -> None:
    assert_idempotent(SoundJob, database().pk)


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("how", "told"),
    [
        ("add", "backups.Database {next} is new: {{'id': {next}, 'name': 'copy 4'"),
        ("change", "backups.Database {pk}: path was 'ax' and is 'axx'"),
        ("remove", "backups.Database {removed} is gone"),
    ],
)
def test_what_the_second_run_changed_is_told(how: str, told: str) -> None:
    pk, second, _ = [database(name).pk for name in "abc"]
    wanted = told.format(pk=pk, next=second + 3, removed=second)
    with pytest.raises(AssertionError) as caught:
        assert_idempotent(HarmfulJob, pk, how)
    first, line = str(caught.value).splitlines()
    assert first == f"HarmfulJob({pk}, '{how}') is not idempotent. Its second run changed:"
    assert line.startswith(f"  {wanted}")


@pytest.mark.django_db
def test_of_many_changes_some_are_told() -> None:
    class TouchAllJob(Job):
        def perform(self) -> None:
            for row in Database.objects.all():
                row.path += "x"
                row.save()

    for number in range(13):
        database(str(number))
    with pytest.raises(AssertionError) as caught:
        assert_idempotent(TouchAllJob)
    lines = str(caught.value).splitlines()
    assert len(lines) == 12
    assert lines[-1] == "  and 3 more"


@pytest.mark.django_db
def test_a_job_that_fails_the_second_time_is_not_idempotent() -> None:
    class OnceJob(Job):
        def perform(self, name: str) -> None:
            database(name)
            if Database.objects.filter(name__startswith=name[0]).count() > 1:
                raise ValueError("twice")
            Database.objects.update(name=f"{name} done")

    with pytest.raises(AssertionError, match=r"OnceJob\('a'\) failed when it ran a second time"):
        assert_idempotent(OnceJob, "a")


@pytest.mark.django_db
def test_what_a_job_raises_the_first_time_is_its_own() -> None:
    with pytest.raises(ValueError, match="no luck"):
        assert_idempotent(HarmfulJob, database().pk, "fail")


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("how", "word"), [("skip", "skipped"), ("discard", "discarded"), ("snooze", "snooze")]
)
def test_a_job_that_finds_nothing_to_do_shows_nothing(how: str, word: str) -> None:
    with pytest.raises(AssertionError, match=f"was {word} when it ran the first time"):
        assert_idempotent(WhimsicalJob, how, 1)


@pytest.mark.django_db
def test_a_job_that_is_skipped_or_discarded_the_second_time_is_idempotent() -> None:
    assert_idempotent(WhimsicalJob, "skip", 2)
    SENT.clear()
    assert_idempotent(WhimsicalJob, "discard", 2)


@pytest.mark.django_db
def test_a_job_that_snoozes_the_second_time_never_ends() -> None:
    with pytest.raises(AssertionError, match="did not end when it ran a second time: snooze"):
        assert_idempotent(WhimsicalJob, "snooze", 2)


@pytest.mark.django_db
def test_a_job_that_nothing_accepts_shows_nothing(settings: Any) -> None:
    refuse(settings)
    with pytest.raises(AssertionError, match="was not enqueued: a client middleware refused"):
        assert_idempotent(SoundJob, database().pk)


@pytest.mark.django_db
def test_what_has_to_stay_the_same_may_be_something_else() -> None:
    assert_idempotent(LateJob, 7, state=list)
    SENT.clear()
    with pytest.raises(AssertionError, match=r"state\(\) was \[7\] and is \[7, 7\]"):
        assert_idempotent(LateJob, 7, state=lambda: list(SENT))


@pytest.mark.django_db
def test_both_runs_are_one_job_and_what_it_enqueues_is_left_alone() -> None:
    row = database()
    outer = FakeOutlet()
    with use_outlet(outer):
        assert_idempotent(ParentJob, row.pk)
    first, second = SENT
    assert first == second
    row.refresh_from_db()
    assert row.state == "pending"
    assert len(outer) == 0


# Reconcilers ---------------------------------------------------------------------------


class Pending(Reconciler):
    """The databases that wait; what heals them is a subclass's."""

    abstract = True

    def get_queryset(self) -> QuerySet[Database]:
        return Database.objects.filter(state="pending")


class HealSound(Pending):
    """Heals."""

    job = SoundJob


class HealPatiently(HealSound):
    """Heals old rows, some at a time, some time later."""

    grace = timedelta(hours=1)
    age_field = "created_at"
    max_per_run = 1
    batch_size = 1
    jitter = timedelta(hours=1)


class HealByParent(Pending):
    """Heals by a job that enqueues the one that works."""

    job = ParentJob


class StuckJob(Job):
    """Does the work of some, and fails for one."""

    def perform(self, pk: int) -> None:
        row = Database.objects.get(pk=pk)
        if row.name == "bad":
            raise ValueError("no luck")
        if row.name == "sleepy":
            raise Snooze(60)
        if row.name != "stuck":
            transition(Database, pk, "pending", "done")


class HealStuck(Pending):
    """Not for all."""

    job = StuckJob

    fields = ("name",)

    def args_for(self, row: Any) -> tuple[int]:
        if row.name == "odd":
            raise LookupError("no arguments for this one")
        return (row.pk,)


@pytest.mark.django_db
@pytest.mark.parametrize("reconciler", [HealSound, HealPatiently, HealByParent])
def test_a_reconciler_whose_jobs_do_the_work_heals(reconciler: type[Reconciler]) -> None:
    rows = [database(name) for name in "abc"]
    database("d", "done")
    assert_heals(reconciler)
    assert [pk for pk in SENT if isinstance(pk, int)] == [row.pk for row in rows]
    assert not Database.objects.filter(state="pending").exists()


@TRANSACTIONAL
def test_a_reconciler_may_be_judged_outside_of_a_test_case_too() -> None:
    database()
    assert_heals(HealSound)
    assert not Database.objects.filter(state="pending").exists()


@pytest.mark.django_db
def test_a_reconciler_without_rows_shows_nothing() -> None:
    database(state="done")
    with pytest.raises(AssertionError, match=r"HealSound.get_queryset\(\) returns no row"):
        assert_heals(HealSound)


@pytest.mark.django_db
def test_rows_that_need_a_job_after_theirs_ran_are_named() -> None:
    database("a")
    stuck = database("stuck")
    with pytest.raises(AssertionError) as caught:
        assert_heals(HealStuck)
    assert str(caught.value).splitlines() == [
        "HealStuck does not heal: each StuckJob ran, and HealStuck.get_queryset() still returns "
        "these rows:",
        f"  backups.Database {stuck.pk}",
    ]


@pytest.mark.django_db
def test_a_row_whose_job_snoozes_is_not_waited_for() -> None:
    sleepy = database("sleepy")
    with pytest.raises(AssertionError, match=f"these rows:\n  backups.Database {sleepy.pk}$"):
        assert_heals(HealStuck)


@pytest.mark.django_db
def test_the_row_whose_job_fails_is_named() -> None:
    database("a")
    bad = database("bad")
    with pytest.raises(AssertionError) as caught:
        assert_heals(HealStuck)
    assert f"StuckJob({bad.pk},) for backups.Database {bad.pk} failed: ValueError('no luck')" in (
        str(caught.value)
    )
    assert isinstance(caught.value.__cause__, ValueError)


@pytest.mark.django_db
def test_a_row_that_gets_no_job_is_named_with_the_reason() -> None:
    database("a")
    odd = database("odd")
    with pytest.raises(AssertionError) as caught:
        assert_heals(HealStuck)
    first, row, *error = str(caught.value).splitlines()
    assert first.startswith("HealStuck enqueued no StuckJob for these rows; its run ended as")
    assert "(1 errors, 0 stopped by a kill switch, 0 by a middleware)" in first
    assert row == f"  backups.Database {odd.pk}"
    assert "LookupError: no arguments for this one" in "\n".join(error)


@pytest.mark.django_db
def test_rows_whose_jobs_a_middleware_refuses_get_none(settings: Any) -> None:
    refuse(settings)
    database("a")
    with pytest.raises(AssertionError, match="1 by a middleware"):
        assert_heals(HealSound)


@pytest.mark.django_db
def test_what_other_code_raises_while_jobs_run_is_not_blamed_on_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(box: FakeOutlet) -> int:
        raise RuntimeError("not a job")

    monkeypatch.setattr(FakeOutlet, "drain", broken)
    database("a")
    with pytest.raises(RuntimeError, match="not a job"):
        assert_heals(HealSound)
