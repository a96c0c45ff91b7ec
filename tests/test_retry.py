"""When a failed job is tried again, when it is buried, and what it carries, as Sidekiq counts."""

from __future__ import annotations

import base64
import json
import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_jobqueue import retry
from django_jobqueue.exceptions import InvalidArguments, PoisonPill, UnknownJob
from django_jobqueue.payload import MESSAGE_LIMIT, Payload
from django_jobqueue.retry import (
    BACKTRACE_LIMIT,
    Decision,
    Fate,
    Verdict,
    backoff,
    bury,
    decide,
    error_message,
    error_name,
    jitter,
    pack_backtrace,
    postpone_unknown,
    unpack_backtrace,
)
from tests.support.clocks import FrozenClock, freeze


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> FrozenClock:
    """Time stands still."""
    return freeze(monkeypatch)


@pytest.fixture
def no_jitter(monkeypatch: pytest.MonkeyPatch) -> None:
    """Delays are exact."""
    monkeypatch.setattr(retry, "jitter", lambda count: 0.0)


def payload(**fields: Any) -> Payload:
    return Payload({"class": "HardJob", "args": [1], "jid": "b" * 24, "queue": "low", **fields})


def fail(job: Payload, error: BaseException | None = None, **options: Any) -> Decision:
    """Decide on a failure that was really raised, so that it has a traceback."""
    try:
        raise error or ValueError("no luck")
    except BaseException as caught:
        return decide(job, caught, **options)


class Foreign(Exception):
    """An error of somebody else's."""


class Mute(Exception):
    """Cannot even be printed."""

    def __str__(self) -> str:
        raise SystemExit("not even that")


# The curve --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("count", "seconds"), [(0, 15), (1, 16), (2, 31), (3, 96), (10, 10_015), (24, 331_791)]
)
def test_the_curve_is_sidekiqs(count: int, seconds: float) -> None:
    assert backoff(count) == seconds


@given(st.integers(min_value=0, max_value=10**4_000))
def test_no_count_is_too_large_for_the_curve_and_the_jitter(count: int) -> None:
    assert 15 <= backoff(count) <= backoff(1000)
    assert 0 <= jitter(count) <= jitter_limit(1000)


def jitter_limit(count: int) -> float:
    return 10 * (count + 1)


@given(st.integers(min_value=0, max_value=100))
def test_the_jitter_is_up_to_ten_seconds_for_each_attempt(count: int) -> None:
    assert 0 <= jitter(count) <= jitter_limit(count)


def test_the_jitter_uses_its_whole_room() -> None:
    drawn = [jitter(4) for _ in range(2_000)]
    assert min(drawn) < 5
    assert max(drawn) > 45


def test_a_retry_waits_for_the_curve_and_the_jitter() -> None:
    delays = [fail(payload(retry_count=2)).delay for _ in range(200)]
    assert all(backoff(3) <= delay <= backoff(3) + 40 for delay in delays)
    assert len(set(delays)) > 100


# How often --------------------------------------------------------------------


def run_until_the_end(job: Payload, **options: Any) -> tuple[int, Decision]:
    """Let a job fail until it is not tried again; return the failures and the last decision."""
    failures = 0
    while True:
        failures += 1
        decision = fail(job, **options)
        if decision.fate is not Fate.RETRY:
            return failures, decision
        job = Payload.decode(decision.payload.encode())


@pytest.mark.parametrize(
    ("fields", "failures", "fate"),
    [
        ({}, 26, Fate.BURY),
        ({"retry": True}, 26, Fate.BURY),
        ({"retry": 3}, 4, Fate.BURY),
        ({"retry": 1}, 2, Fate.BURY),
        ({"retry": 0}, 1, Fate.BURY),
        ({"retry": False}, 1, Fate.FORGET),
        ({"retry": False, "dead": True}, 1, Fate.FORGET),
        ({"retry": 2, "dead": False}, 3, Fate.FORGET),
        ({"retry": 0, "dead": False}, 1, Fate.FORGET),
    ],
)
def test_a_job_is_tried_again_as_often_as_it_says(
    fields: dict[str, Any], failures: int, fate: Fate
) -> None:
    counted, decision = run_until_the_end(payload(**fields))
    assert (counted, decision.fate) == (failures, fate)


def test_retries_of_true_are_as_many_as_the_settings_say() -> None:
    assert run_until_the_end(payload(retry=True), default_retries=2)[0] == 3
    assert run_until_the_end(payload(retry=4), default_retries=2)[0] == 5


def test_retries_go_on_for_a_time_instead_of_a_count(clock: FrozenClock) -> None:
    job = payload(retry=1, retry_for=3600)
    for _ in range(50):
        decision = fail(job)
        assert decision.fate is Fate.RETRY
        job = decision.payload
        clock.advance(70)
    clock.advance(200)
    assert fail(job).fate is Fate.BURY


def test_the_first_failure_is_retried_however_short_the_time(clock: FrozenClock) -> None:
    decision = fail(payload(retry_for=0.001))
    assert decision.fate is Fate.RETRY
    clock.advance(1)
    assert fail(decision.payload).fate is Fate.BURY


def test_retry_false_wins_over_a_time_to_retry() -> None:
    assert fail(payload(retry=False, retry_for=60)).fate is Fate.FORGET


# What the job itself says -----------------------------------------------------


@pytest.mark.usefixtures("no_jitter")
def test_seconds_of_the_job_replace_the_curve() -> None:
    decision = fail(payload(retry_count=5), retry_in=7.5)
    assert (decision.fate, decision.delay) == (Fate.RETRY, 7.5)


def test_jitter_is_added_to_the_seconds_of_the_job() -> None:
    delays = [fail(payload(), retry_in=0.0).delay for _ in range(100)]
    assert all(0 <= delay <= 10 for delay in delays)
    assert len(set(delays)) > 50


@pytest.mark.parametrize(
    ("verdict", "fields", "fate"),
    [
        (Verdict.DISCARD, {}, Fate.FORGET),
        (Verdict.KILL, {}, Fate.BURY),
        (Verdict.KILL, {"dead": False}, Fate.FORGET),
        (Verdict.KILL, {"retry": False}, Fate.FORGET),
    ],
)
def test_a_verdict_of_the_job_ends_the_retries(
    verdict: Verdict, fields: dict[str, Any], fate: Fate
) -> None:
    assert fail(payload(**fields), retry_in=verdict).fate is fate


def test_an_answer_of_the_job_brings_no_more_retries_than_it_has() -> None:
    assert fail(payload(retry=0), retry_in=1.0).fate is Fate.BURY


# What a failed job carries ----------------------------------------------------


def test_the_first_failure_leaves_sidekiqs_fields(clock: FrozenClock) -> None:
    fields = fail(payload(enqueued_at=1)).payload.fields
    assert fields == {
        **payload(enqueued_at=1).fields,
        "error_class": "ValueError",
        "error_message": "no luck",
        "retry_count": 0,
        "failed_at": int(clock.now * 1000),
    }


def test_a_later_failure_keeps_the_first_time_and_adds_its_own(clock: FrozenClock) -> None:
    first = fail(payload()).payload
    clock.advance(100)
    fields = fail(first, KeyError("other")).payload.fields
    assert fields["retry_count"] == 1
    assert fields["failed_at"] == first.fields["failed_at"]
    assert fields["retried_at"] == int(clock.now * 1000)
    assert (fields["error_class"], fields["error_message"]) == ("KeyError", "'other'")


def test_a_later_failure_without_the_first_time_gets_one() -> None:
    fields = fail(payload(retry_count=3, failed_at="junk")).payload.fields
    assert fields["failed_at"] == fields["retried_at"]


def test_times_can_be_written_in_seconds(clock: FrozenClock) -> None:
    first = fail(payload(), unit="seconds").payload
    assert first.fields["failed_at"] == clock.now
    second = fail(first, unit="seconds").payload
    assert second.fields["retried_at"] == clock.now
    assert type(second.fields["retried_at"]) is float


def test_unknown_keys_and_their_order_survive_a_failure() -> None:
    job = Payload.decode(b'{"x":{"y":[]},"class":"A","args":[],"jid":"1","bid":7}')
    failed = fail(job).payload.encode()
    assert failed.startswith(b'{"x":{"y":[]},"class":"A","args":[],"jid":"1","bid":7,')


def test_a_failed_job_goes_to_the_queue_for_retries() -> None:
    assert fail(payload(retry_queue="slow")).payload.queue == "slow"
    assert fail(payload(retry_queue="not a queue")).payload.queue == "low"
    assert fail(payload()).payload.queue == "low"


def test_a_dead_job_keeps_its_own_queue() -> None:
    assert fail(payload(retry=0, retry_queue="slow")).payload.queue == "low"


@pytest.mark.parametrize(
    ("error", "name"),
    [
        (ValueError(), "ValueError"),
        (SystemExit(), "SystemExit"),
        (InvalidArguments("A", "no"), "InvalidArguments"),
        (Foreign(), "tests.test_retry.Foreign"),
        (json.JSONDecodeError("no", "", 0), "json.decoder.JSONDecodeError"),
    ],
)
def test_an_error_is_filed_under_a_name_that_tells_where_it_is_from(
    error: BaseException, name: str
) -> None:
    assert error_name(error) == name


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ValueError("no luck"), "no luck"),
        (ValueError(), ""),
        (ValueError("a\x00b\nc"), "a\x00b\nc"),
        (ValueError("\ud800 alone"), "? alone"),
        (ValueError("😀"), "😀"),
        (Mute(), "(SystemExit while printing the error)"),
    ],
    ids=["plain", "empty", "control", "surrogate", "emoji", "mute"],
)
def test_any_error_has_a_message_that_json_can_hold(error: BaseException, message: str) -> None:
    job = fail(payload(), error).payload
    assert job.fields["error_message"] == message
    assert Payload.decode(job.encode()) == job


def test_a_message_is_cut_as_sidekiq_cuts_it() -> None:
    assert MESSAGE_LIMIT == 10_000
    assert error_message(ValueError("x" * 1_000_000)) == "x" * 10_000
    assert len(fail(payload(), ValueError("x" * 1_000_000)).payload.encode()) < 11_000


# Tracebacks -------------------------------------------------------------------


def raise_below(depth: int) -> None:
    """Raise that many calls further in; with its twin, so that Python folds no equal frames."""
    if depth:
        return raise_below_twin(depth - 1)
    raise RuntimeError("deep")


def raise_below_twin(depth: int) -> None:
    if depth:
        return raise_below(depth - 1)
    raise RuntimeError("deep")


def frames_of(job: Payload, depth: int = 200) -> list[str]:
    try:
        raise_below(depth)
    except RuntimeError as error:
        return unpack_backtrace(decide(job, error).payload.fields["error_backtrace"])
    raise AssertionError


def test_a_traceback_travels_only_where_it_is_wanted() -> None:
    assert "error_backtrace" not in fail(payload()).payload.fields
    assert "error_backtrace" not in fail(payload(backtrace=0)).payload.fields


def test_a_traceback_is_cut_to_its_innermost_frames() -> None:
    frames = frames_of(payload(backtrace=True))
    assert len(frames) == BACKTRACE_LIMIT == 50
    assert "raise_below" in frames[-1]
    assert len(frames_of(payload(backtrace=3))) == 3
    assert frames_of(payload(backtrace=3)) == frames[-3:]
    assert len(frames_of(payload(backtrace=10_000))) == 50


def test_the_traceback_of_an_endless_recursion_is_short_too() -> None:
    def recurse() -> None:
        recurse()

    try:
        recurse()
    except RecursionError as error:
        packed = decide(payload(backtrace=True), error).payload.fields["error_backtrace"]
    assert 0 < len(unpack_backtrace(packed)) <= 50


def test_a_traceback_is_packed_as_sidekiq_unpacks_it() -> None:
    packed = pack_backtrace(["a.py:1", 'b "é" \ud800'])
    assert "\n" not in packed
    # Sidekiq: Sidekiq.load_json(Zlib::Inflate.inflate(Base64.decode64(packed)))
    inflated = zlib.decompress(base64.b64decode(packed, validate=True))
    assert json.loads(inflated) == ["a.py:1", 'b "é" \ud800']
    assert inflated.isascii()


# Failures that no attempt can cure --------------------------------------------


def test_a_buried_job_carries_its_error_and_spends_no_attempt(clock: FrozenClock) -> None:
    decision = bury(payload(retry_count=2), PoisonPill(3))
    assert decision.fate is Fate.BURY
    assert decision.payload.fields == {
        **payload(retry_count=2).fields,
        "error_class": "PoisonPill",
        "error_message": "killed its worker 3 times",
        "failed_at": int(clock.now * 1000),
    }


def unknown(job: Payload, window: float = 600.0) -> Decision:
    return postpone_unknown(job, UnknownJob("a.B"), window=window)


def test_an_unknown_job_is_tried_elsewhere_for_ten_minutes_and_then_buried(
    clock: FrozenClock,
) -> None:
    job = payload()
    waited = 0.0
    while (decision := unknown(job)).fate is Fate.POSTPONE:
        assert 1 <= decision.delay <= 30
        clock.advance(decision.delay)
        waited += decision.delay
        job = Payload.decode(decision.payload.encode())
    assert decision.fate is Fate.BURY
    assert 600 <= waited <= 602
    assert decision.payload.fields["error_class"] == "UnknownJob"
    assert decision.payload.retry_count is None


def test_an_unknown_job_of_the_future_is_buried_in_time_too(clock: FrozenClock) -> None:
    job = unknown(payload(unknown_since=int(clock.now * 1000) + 10**12)).payload
    clock.advance(601)
    assert unknown(job).fate is Fate.BURY


def test_an_unknown_job_is_buried_at_once_without_a_time_for_deploys() -> None:
    assert unknown(payload(), window=0.0).fate is Fate.BURY


def test_a_job_that_was_known_in_between_has_the_whole_time_again(clock: FrozenClock) -> None:
    job = unknown(payload()).payload
    clock.advance(86_400)
    job = fail(job).payload
    clock.advance(60)
    assert unknown(job).fate is Fate.POSTPONE
