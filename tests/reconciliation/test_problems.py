"""What is wrong with reconcilers is told by the checks, before anything runs."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any, cast

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from django_jobqueue import Job
from django_jobqueue.checks import jobs as checks
from django_jobqueue.reconciliation import Reconciler
from django_jobqueue.reconciliation.problems import find_problems
from django_jobqueue.timetable import Timetable
from tests.healing.jobs import OrderJob, ScheduleOrders

PATH = f"{__name__}.Sample"


class Definitions:
    """Classes that nobody knows any more after the test."""

    def __init__(self) -> None:
        self.made: list[type[Job]] = []

    def job(self, name: str = "SampleJob", **attributes: Any) -> type[Job]:
        def perform(self: Job, pk: int) -> None:
            """Do nothing."""

        return self._define(name, Job, {"unique_for": 600, "perform": perform, **attributes})

    def reconciler(self, name: str = "Sample", **attributes: Any) -> type[Reconciler]:
        made = self._define(name, Reconciler, attributes)
        assert issubclass(made, Reconciler)
        return made

    def _define(self, name: str, base: type[Job], attributes: dict[str, Any]) -> type[Job]:
        body = {"__qualname__": name, "__module__": __name__, **attributes}
        cls = type(name, (base,), body)
        self.made.append(cls)
        return cls


@pytest.fixture
def define() -> Iterator[Definitions]:
    made = Definitions()
    yield made
    for cls in made.made:
        cls.abstract = True
    Job.definitions += 1


def told_of(cls: type[Job], every: int | None = 60) -> list[tuple[str, str]]:
    """Return ids and texts of what is said of a class, listed with a period (seconds) or not."""
    timetables = [Timetable(PATH, PATH, every=every)] if every else []
    with pytest.MonkeyPatch.context() as patch:
        if issubclass(cls, Reconciler):
            patch.setitem(globals(), "Sample", cls)
        found = list(find_problems(timetables))
    return [(f.id.removeprefix("django_jobqueue."), f.message) for f in found if f.cls is cls]


def ids_of(cls: type[Job], every: int | None = 60) -> list[str]:
    return [number for number, _ in told_of(cls, every)]


def test_a_good_pair_has_nothing_to_tell(define: Definitions) -> None:
    job = define.job()
    reconciler = define.reconciler(job=job)
    assert told_of(reconciler) == told_of(job) == []


def test_a_job_that_nothing_heals_is_told_unless_it_says_why(define: Definitions) -> None:
    ((number, text),) = told_of(define.job())
    assert number == "W050"
    assert text == f"{__name__}.SampleJob has no reconciler: what Redis loses of it is lost."
    assert told_of(define.job("Other", self_healing=False)) == []
    assert told_of(define.job("Base", abstract=True)) == []


@pytest.mark.parametrize("job", [None, "OrderJob", 7, int, Job])
def test_a_reconciler_without_a_job_is_told(define: Definitions, job: Any) -> None:
    assert ids_of(define.reconciler(**({} if job is None else {"job": job}))) == ["E050"]


def test_a_job_that_takes_not_just_the_key_is_told(define: Definitions) -> None:
    def perform(self: Job, first: int, second: int) -> None:
        """Do nothing."""

    job = define.job(perform=perform)
    assert ids_of(define.reconciler(job=job)) == ["E051"]

    def args_for(self: Any, row: Any) -> tuple[int, int]:
        return (row.pk, 1)

    assert "E051" not in ids_of(define.reconciler(job=job, args_for=args_for))
    own = define.job("Own", perform=perform, args_for=staticmethod(lambda obj: (obj.pk, 1)))
    assert ids_of(define.reconciler(job=own)) == []


def test_two_reconcilers_of_one_job_are_told(define: Definitions) -> None:
    job = define.job()
    define.reconciler("First", job=job)
    last = define.reconciler(job=job)
    ((number, text),) = told_of(last)
    assert number == "W051"
    assert text == f"{__name__}.First and {__name__}.Sample all enqueue {__name__}.SampleJob."


@pytest.mark.parametrize(
    ("lease", "grace", "every", "told"),
    [
        (120, None, 60, []),
        (119, None, 60, ["W052"]),
        (150, 30, 60, []),
        (timedelta(seconds=149), timedelta(seconds=30), 60, ["W052"]),
    ],
)
def test_a_lease_that_does_not_last_two_periods_is_told(
    define: Definitions, lease: Any, grace: Any, every: int, told: list[str]
) -> None:
    job = define.job(unique_for=lease)
    reconciler = define.reconciler(job=job, grace=grace, age_field="placed_at")
    assert ids_of(reconciler, every) == told


def test_a_job_that_is_not_unique_is_told(define: Definitions) -> None:
    assert ids_of(define.reconciler(job=define.job(unique_for=None))) == ["W053"]


def test_a_jitter_longer_than_the_lease_is_told(define: Definitions) -> None:
    job = define.job(unique_for=600)
    assert ids_of(define.reconciler(job=job, jitter=600)) == []
    assert "W054" in ids_of(define.reconciler(job=job, jitter=601))


def test_one_that_is_not_listed_is_told(define: Definitions) -> None:
    assert ids_of(define.reconciler(job=define.job()), every=None) == ["W055"]


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("batch_size", 0),
        ("batch_size", None),
        ("batch_size", True),
        ("max_per_run", 0),
        ("max_errors", -1),
        ("jitter", "1m"),
        ("jitter", -1),
        ("heal_within", float("nan")),
        ("max_queue_latency", None),
        ("max_queue_latency", 0),
        ("fields", "customer"),
        ("fields", [1]),
        ("job_queue", "a b"),
    ],
)
def test_an_option_that_cannot_be_is_told(define: Definitions, option: str, value: Any) -> None:
    attributes = {"age_field": "placed_at", option: value}
    ((number, text),) = told_of(define.reconciler(job=define.job(), **attributes))
    assert number == "E052"
    assert text == f"{PATH}.{option} is {value!r}."


@pytest.mark.parametrize("option", ["grace", "heal_within"])
def test_an_age_without_a_field_is_told(define: Definitions, option: str) -> None:
    ((number, text),) = told_of(define.reconciler(job=define.job(), **cast(Any, {option: 60})))
    assert number == "E052"
    assert text == f"{PATH}.{option} is set, and age_field is not."


def test_entries_that_lead_nowhere_are_left_to_another_check() -> None:
    paths = ["nowhere.Reconciler", f"{__name__}.nothing", "tests.healing.jobs.OrderJob"]
    assert list(find_problems([Timetable(path, path, every=60) for path in paths])) == list(
        find_problems([])
    )


def test_the_checks_of_django_tell_it_and_ask_no_database(
    settings: Any, define: Definitions, db: None
) -> None:
    settings.JOBQUEUE = {"OUTLET": "fake", "RECONCILERS": {"tests.healing.jobs.Nothing": {}}}
    job = define.job()
    broken = define.reconciler()
    with CaptureQueriesContext(connection) as queries:
        messages = checks.check_reconcilers()
    assert len(queries) == 0
    levels = {m.obj: (str(m.id), m.is_serious()) for m in messages if m.obj in (job, broken)}
    assert levels == {
        job: ("django_jobqueue.W050", False),
        broken: ("django_jobqueue.E050", True),
    }
    assert all(message.hint for message in messages)
    told = {(m.id, m.obj) for m in messages}
    assert ("django_jobqueue.W055", ScheduleOrders) in told
    assert not [number for number, cls in told if cls is OrderJob]
