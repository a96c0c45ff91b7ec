"""Every call that enqueues a job: what it returns, what it writes, what it refuses."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from django_jobqueue import BoundJob, EnqueueResult, Job, Status
from django_jobqueue.client.outlet import use_outlet
from django_jobqueue.exceptions import (
    ArgumentNotSerializable,
    InvalidArguments,
    InvalidOption,
    InvalidQueueName,
    InvalidSchedule,
    PayloadTooLarge,
    StoreUnavailable,
)
from django_jobqueue.payload import Payload
from django_jobqueue.testing import FakeOutlet
from testproject.backups.models import Database
from tests.client.recorders import RefuseOdd, Tenant, path_of
from tests.conftest import JobqueueSettings
from tests.support.clocks import FrozenClock, freeze
from tests.support.inside import Inside

#: Any call that enqueues one job, by name.
Call = Callable[..., Any]


class AddJob(Job):
    """Adds two numbers."""

    def perform(self, a: int, b: int = 0) -> int:
        """Return the sum."""
        return a + b


class EveryJob(Job):
    """Has every option that travels."""

    queue = "low"
    retry = 5
    retry_for = timedelta(hours=1)
    retry_queue = "slow"
    dead = False
    backtrace = 10
    tags = ("a", "b")
    expires_in = timedelta(minutes=5)
    timeout = 30
    wire_name = "HardJob"

    def perform(self) -> None:
        """Do nothing."""


class TakesAll(Job):
    """Takes whatever comes."""

    def perform(self, *args: Any) -> Any:
        """Return the arguments."""
        return list(args)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> FrozenClock:
    """Time stands still."""
    return freeze(monkeypatch)


@pytest.fixture
def box(settings: Any) -> Iterator[FakeOutlet]:
    """A box that all pushes go to."""
    settings.JOBQUEUE = {"OUTLET": "fake"}
    outlet = FakeOutlet()
    with use_outlet(outlet):
        yield outlet


def only(box: FakeOutlet) -> tuple[Payload, float | None]:
    """Return the one job of the box and its time."""
    (entry,) = box.entries
    assert Payload.decode(entry.raw) == entry.payload
    return entry.payload, entry.at


#: Each way to enqueue one job, as a function of a class (or a bound job) and the arguments.
CALLS: dict[str, Call] = {
    "perform_async": lambda job, *args: job.perform_async(*args),
    "perform_in": lambda job, *args: job.perform_in(60, *args),
    "perform_at": lambda job, *args: job.perform_at(4e9, *args),
    "perform_with_jitter": lambda job, *args: job.perform_with_jitter(*args),
    "perform_bulk": lambda job, *args: job.perform_bulk([args])[0],
    "enqueue": lambda job, *args: job.enqueue(*args).jid,
}

every_call = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)


# What every call does ---------------------------------------------------------


@every_call
def test_the_jid_is_returned_and_is_that_of_the_payload(box: FakeOutlet, call: Call) -> None:
    jid = call(AddJob, 1, 2)
    assert re.fullmatch("[0-9a-f]{24}", jid)
    payload, _ = only(box)
    assert payload.jid == jid
    assert payload.args == [1, 2]


@every_call
def test_a_refused_job_is_none(settings: Any, call: Call) -> None:
    settings.JOBQUEUE = {"OUTLET": "fake", "CLIENT_MIDDLEWARE": path_of(RefuseOdd)}
    outlet = FakeOutlet()
    with use_outlet(outlet):
        assert call(AddJob, 1) is None
        assert call(AddJob, 2) is not None
    assert outlet.args_of(AddJob) == [[2]]


@every_call
@pytest.mark.parametrize(
    ("value", "path"),
    [
        ({"when": datetime(2030, 1, 1, tzinfo=UTC)}, r"args\[0\]\['when'\] is a datetime"),
        ({1: 2}, r"args\[0\] has the key 1"),
        ([{2}], r"args\[0\]\[0\] is a set"),
        (float("nan"), r"args\[0\] is nan"),
    ],
    ids=["datetime", "key", "set", "nan"],
)
def test_arguments_that_are_no_json_are_refused_at_the_call(
    box: FakeOutlet, call: Call, value: Any, path: str
) -> None:
    with pytest.raises(ArgumentNotSerializable, match=path):
        call(TakesAll, value)
    assert len(box) == 0


@every_call
@pytest.mark.parametrize("args", [(), (1, 2, 3)])
def test_arguments_that_do_not_fit_perform_are_refused_at_the_call(
    box: FakeOutlet, call: Call, args: tuple[int, ...]
) -> None:
    with pytest.raises(InvalidArguments, match=r"AddJob\.perform\(\) cannot take these arguments"):
        call(AddJob, *args)
    assert len(box) == 0


@every_call
def test_a_payload_over_the_limit_is_refused_at_the_call(box: FakeOutlet, call: Call) -> None:
    with pytest.raises(PayloadTooLarge, match=r"tests\.job\.test_bound\.TakesAll"):
        call(TakesAll, "x" * 1_000_000)
    assert len(box) == 0


@every_call
def test_redis_that_is_away_is_told_at_the_call(settings: Any, call: Call) -> None:
    settings.JOBQUEUE = {"REDIS_URL": "redis://127.0.0.1:1/0"}
    with pytest.raises(StoreUnavailable):
        call(AddJob, 1)


@every_call
def test_one_call_is_one_round_trip_and_no_sql(
    jobqueue_settings: JobqueueSettings,
    inside: Inside,
    count_round_trips: Callable[[], int],
    call: Call,
) -> None:
    # Without a database for this test, a query would be an error of its own.
    jobqueue_settings()
    AddJob.perform_async(0)
    count_round_trips()
    call(AddJob, 1)
    assert count_round_trips() == 1
    assert len(inside.jobs()) + len(inside.entries("schedule")) == 2


@every_call
def test_client_middleware_sees_and_changes_every_job(settings: Any, call: Call) -> None:
    settings.JOBQUEUE = {"OUTLET": "fake", "CLIENT_MIDDLEWARE": path_of(Tenant)}
    outlet = FakeOutlet()
    with use_outlet(outlet):
        call(AddJob, 1)
    assert only(outlet)[0].context == {"tenant": 7}


@every_call
def test_a_class_whose_queue_has_no_possible_name_is_refused(box: FakeOutlet, call: Call) -> None:
    bad = type("BadQueueJob", (AddJob,), {"queue": "a b", "__module__": __name__})
    try:
        with pytest.raises(InvalidQueueName, match="'a b' is not a queue name"):
            call(bad, 1)
    finally:
        bad.abstract = True  # type: ignore[attr-defined]
        Job.definitions += 1
    assert len(box) == 0


def test_a_model_instance_is_refused_with_a_hint_to_pass_its_key(box: FakeOutlet) -> None:
    with pytest.raises(TypeError, match=r"args\[1\] is a Database: pass its pk"):
        TakesAll.perform_async(1, Database(pk=7))


# The payload ------------------------------------------------------------------


def test_a_plain_job_has_sidekiqs_fields_in_sidekiqs_order(
    box: FakeOutlet, clock: FrozenClock
) -> None:
    jid = AddJob.perform_async(1, 2)
    payload, at = only(box)
    stamp = int(clock.now * 1000)
    assert list(payload.fields.items()) == [
        ("class", "tests.job.test_bound.AddJob"),
        ("args", [1, 2]),
        ("jid", jid),
        ("queue", "default"),
        ("retry", True),
        ("created_at", stamp),
        ("enqueued_at", stamp),
    ]
    assert at is None


def test_a_job_for_later_has_no_enqueued_at_and_no_at(box: FakeOutlet, clock: FrozenClock) -> None:
    AddJob.perform_in(60, 1)
    payload, at = only(box)
    assert "enqueued_at" not in payload.fields
    assert "at" not in payload.fields
    assert at == clock.now + 60


def test_every_option_travels_in_sidekiqs_words(box: FakeOutlet) -> None:
    EveryJob.perform_async()
    fields = dict(only(box)[0].fields)
    for name in ("jid", "created_at", "enqueued_at"):
        del fields[name]
    assert fields == {
        "class": "HardJob",
        "args": [],
        "queue": "low",
        "retry": 5,
        "retry_for": 3600.0,
        "retry_queue": "slow",
        "dead": False,
        "backtrace": 10,
        "tags": ["a", "b"],
        "expires_in": 300.0,
    }


def test_times_are_written_as_the_settings_say(settings: Any, clock: FrozenClock) -> None:
    settings.JOBQUEUE = {"OUTLET": "fake", "TIMESTAMPS": "seconds"}
    outlet = FakeOutlet()
    with use_outlet(outlet):
        AddJob.perform_async(1)
    payload, _ = only(outlet)
    assert payload.fields["created_at"] == payload.fields["enqueued_at"] == clock.now
    assert b'"created_at":1800000000.25,' in outlet.entries[0].raw


def test_what_stands_in_redis_is_what_ruby_would_have_written(
    jobqueue_settings: JobqueueSettings, inside: Inside, clock: FrozenClock
) -> None:
    jobqueue_settings()
    jid = TakesAll.perform_async("naïve ☃", 12345678901234567890, [], {}, None, True, -0.5)
    assert inside.raw() == [
        (
            '{"class":"tests.job.test_bound.TakesAll","args":["naïve ☃",12345678901234567890,[],{},'
            f'null,true,-0.5],"jid":"{jid}","queue":"default","retry":true,'
            '"created_at":1800000000250,"enqueued_at":1800000000250}'
        ).encode()
    ]


# Later ------------------------------------------------------------------------


@pytest.mark.parametrize(("delay", "wait"), [(60, 60.0), (timedelta(minutes=5), 300.0), (0.5, 0.5)])
def test_perform_in_waits_for_a_delay(
    box: FakeOutlet, clock: FrozenClock, delay: Any, wait: float
) -> None:
    assert AddJob.perform_in(delay, 1)
    assert only(box)[1] == clock.now + wait


@pytest.mark.parametrize("delay", [0, -5, timedelta(0), timedelta(days=-1)])
def test_no_delay_is_now(box: FakeOutlet, delay: Any) -> None:
    assert AddJob.perform_in(delay, 1)
    payload, at = only(box)
    assert at is None
    assert "enqueued_at" in payload.fields


@pytest.mark.parametrize(
    "when",
    [
        datetime(2060, 1, 1, tzinfo=UTC),
        datetime(2060, 1, 1, tzinfo=UTC).timestamp(),
        int(datetime(2060, 1, 1, tzinfo=UTC).timestamp()),
    ],
)
def test_perform_at_waits_for_a_moment(box: FakeOutlet, when: Any) -> None:
    assert AddJob.perform_at(when, 1)
    assert only(box)[1] == datetime(2060, 1, 1, tzinfo=UTC).timestamp()


@pytest.mark.parametrize("when", [0, -1e9, datetime(2020, 1, 1, tzinfo=UTC)])
def test_the_past_is_now(box: FakeOutlet, when: Any) -> None:
    assert AddJob.perform_at(when, 1)
    assert only(box)[1] is None


@pytest.mark.parametrize(
    "when",
    [True, float("nan"), float("inf"), float("-inf"), "2060-01-01", date(2060, 1, 1), None],
    ids=repr,
)
def test_what_is_no_time_is_refused_and_nothing_is_written(box: FakeOutlet, when: Any) -> None:
    for call in (AddJob.perform_at, AddJob.perform_in):
        with pytest.raises(InvalidSchedule):
            call(when, 1)
    with pytest.raises(ValueError, match="is not a time to run at"):
        AddJob.set(wait=when)
    with pytest.raises(ValueError, match="is not a time to run at"):
        AddJob.set(at=when)
    assert len(box) == 0


def test_a_time_far_in_the_future_is_stored(
    jobqueue_settings: JobqueueSettings, inside: Inside
) -> None:
    jobqueue_settings()
    last = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
    assert AddJob.perform_at(last, 1)
    assert inside.entry("schedule")[1] == last.timestamp()
    assert AddJob.perform_at(1e300, 2)
    assert inside.entries("schedule")[1][1] == 1e300


def test_a_naive_datetime_follows_use_tz_and_the_warning_points_to_the_call(
    box: FakeOutlet, settings: Any
) -> None:
    naive = datetime(2060, 7, 1, 14, 0, tzinfo=UTC).replace(tzinfo=None)
    settings.TIME_ZONE = "Europe/Paris"
    expected = datetime(2060, 7, 1, 12, 0, tzinfo=UTC).timestamp()
    settings.USE_TZ = True
    with pytest.warns(RuntimeWarning, match="naive datetime") as told:
        AddJob.perform_at(naive, 1)
    assert told[0].filename == __file__
    settings.USE_TZ = False
    with warnings.catch_warnings(record=True) as silent:
        AddJob.perform_at(naive, 1)
    assert silent == []
    assert [entry.at for entry in box.entries] == [expected, expected]


def test_jitter_gives_each_job_a_delay_of_its_own(box: FakeOutlet, clock: FrozenClock) -> None:
    for _ in range(200):
        assert AddJob.perform_with_jitter(1, 2, max_wait=timedelta(minutes=30))
    delays = [(entry.at or clock.now) - clock.now for entry in box.entries]
    assert all(0 <= delay <= 1800 for delay in delays)
    assert len(set(delays)) > 150
    assert max(delays) - min(delays) > 900
    assert box.args_of(AddJob) == [[1, 2]] * 200


def test_jitter_is_a_minute_where_nothing_is_said(box: FakeOutlet, clock: FrozenClock) -> None:
    for _ in range(100):
        AddJob.perform_with_jitter(1)
    delays = [(entry.at or clock.now) - clock.now for entry in box.entries]
    assert 30 < max(delays) <= 60


def test_jitter_keeps_to_both_bounds(box: FakeOutlet, clock: FrozenClock) -> None:
    for _ in range(100):
        AddJob.perform_with_jitter(1, min_wait=10, max_wait=12)
    assert all(10 <= (entry.at or 0) - clock.now <= 12 for entry in box.entries)
    AddJob.perform_with_jitter(1, min_wait=5, max_wait=5)
    assert box.entries[-1].at == clock.now + 5
    AddJob.perform_with_jitter(1, max_wait=0)
    assert box.entries[-1].at is None


@pytest.mark.parametrize(
    "bounds",
    [
        {"min_wait": 5, "max_wait": 4},
        {"min_wait": -1},
        {"max_wait": -1},
        {"max_wait": float("nan")},
        {"max_wait": True},
        {"max_wait": "5"},
        {"min_wait": float("inf"), "max_wait": float("inf")},
    ],
    ids=str,
)
def test_bounds_that_are_none_are_refused(box: FakeOutlet, bounds: dict[str, Any]) -> None:
    with pytest.raises(InvalidSchedule):
        AddJob.perform_with_jitter(1, **bounds)
    assert len(box) == 0


# enqueue() --------------------------------------------------------------------


def test_enqueue_tells_that_a_job_was_pushed(box: FakeOutlet) -> None:
    result = AddJob.enqueue(1)
    assert result
    assert result == EnqueueResult(Status.PUSHED, only(box)[0].jid)


def test_enqueue_tells_that_a_job_was_refused(settings: Any) -> None:
    settings.JOBQUEUE = {"OUTLET": "fake", "CLIENT_MIDDLEWARE": path_of(RefuseOdd)}
    result = AddJob.enqueue(1)
    assert not result
    assert (result.status, result.jid) == (Status.REFUSED, None)
    assert result.reason == "a client middleware refused the push"


# set() ------------------------------------------------------------------------


def test_options_of_a_call_replace_those_of_the_class(box: FakeOutlet) -> None:
    EveryJob.set(
        queue="urgent", retry=False, retry_for=None, retry_queue=None, dead=True, backtrace=False,
        tags=[], expires_in=None,
    ).perform_async()  # fmt: skip
    payload, _ = only(box)
    assert set(payload.fields) == {
        "class", "args", "jid", "queue", "retry", "created_at", "enqueued_at",
    }  # fmt: skip
    assert (payload.queue, payload.retry) == ("urgent", False)


def test_set_changes_neither_the_class_nor_the_bound_job_it_is_called_on(box: FakeOutlet) -> None:
    low = AddJob.set(queue="low")
    low.set(queue="high", retry=1).perform_async(1)
    low.perform_async(2)
    AddJob.perform_async(3)
    found = [(entry.payload.queue, entry.payload.retry) for entry in box.entries]
    assert found == [("high", 1), ("low", True), ("default", True)]


def test_setters_chain_and_the_last_word_counts(box: FakeOutlet) -> None:
    AddJob.set(queue="a").set(retry=2).set(queue="b", tags=["x"]).perform_async(1)
    payload, _ = only(box)
    assert (payload.queue, payload.retry, payload.tags) == ("b", 2, ["x"])


def test_a_bound_job_offers_every_call(box: FakeOutlet) -> None:
    bound = AddJob.set(queue="low")
    for call in CALLS.values():
        assert call(bound, 1)
    assert [entry.payload.queue for entry in box.entries] == ["low"] * len(CALLS)
    assert bound.perform_inline(1, 2) == 3


def test_a_wait_is_counted_from_each_call(box: FakeOutlet, clock: FrozenClock) -> None:
    bound = AddJob.set(wait=timedelta(seconds=60))
    bound.perform_async(1)
    clock.advance(5)
    assert bound.enqueue(2)
    bound.perform_bulk([(3,)])
    assert [entry.at for entry in box.entries] == [clock.now + 55, clock.now + 60, clock.now + 60]


def test_an_at_is_for_calls_without_a_time_of_their_own(
    box: FakeOutlet, clock: FrozenClock
) -> None:
    bound = AddJob.set(at=4e9)
    bound.perform_async(1)
    bound.perform_in(60, 2)
    bound.perform_at(5e9, 3)
    bound.perform_bulk([(4,)])
    bound.perform_bulk([(5,)], at=6e9)
    assert [entry.at for entry in box.entries] == [4e9, clock.now + 60, 5e9, 4e9, 6e9]


def test_an_at_that_has_passed_is_now(box: FakeOutlet) -> None:
    AddJob.set(at=1).perform_async(1)
    AddJob.set(wait=0).perform_async(1)
    assert [entry.at for entry in box.entries] == [None, None]


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"queue": "a b"}, "queue='a b' is not possible: a queue's name has"),
        ({"retry": -1}, "retry=-1 is not possible: it is True, False or a number"),
        ({"retry": "yes"}, "retry='yes' is not possible"),
        ({"on_commit": 1}, "on_commit=1 is not possible"),
        ({"prioritiy": 1}, "prioritiy=1 is not possible: the options are"),
        ({"wait": 5, "at": 4e9}, "at=4000000000.0 is not possible: give a wait or an at, not both"),
    ],
    ids=str,
)
def test_an_option_that_cannot_be_is_refused_at_once(
    options: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(InvalidOption) as caught:
        AddJob.set(**options)
    assert str(caught.value).startswith(complaint)


def test_a_wait_and_an_at_exclude_each_other_across_setters_too() -> None:
    with pytest.raises(InvalidOption, match="not both"):
        AddJob.set(wait=5).set(at=4e9)


def test_a_bound_job_cannot_be_changed() -> None:
    bound = AddJob.set(queue="low")
    assert type(bound) is BoundJob
    with pytest.raises(AttributeError):
        bound.queue = "high"  # type: ignore[attr-defined]


# perform_inline() -------------------------------------------------------------


def test_perform_inline_runs_now_and_returns_the_result(box: FakeOutlet) -> None:
    assert AddJob.perform_inline(1, 2) == 3
    assert len(box) == 0


def test_perform_inline_passes_arguments_through_the_serializer(box: FakeOutlet) -> None:
    given: list[Any] = [{"a": [1]}]
    (returned,) = TakesAll.perform_inline(given)
    assert returned == given
    assert returned is not given
    with pytest.raises(ArgumentNotSerializable):
        TakesAll.perform_inline({1})
    with pytest.raises(InvalidArguments):
        AddJob.perform_inline()


def test_perform_inline_returns_none_where_a_middleware_refuses(settings: Any) -> None:
    settings.JOBQUEUE = {"OUTLET": "fake", "CLIENT_MIDDLEWARE": path_of(RefuseOdd)}
    assert AddJob.perform_inline(1) is None
    assert AddJob.perform_inline(2) == 2
