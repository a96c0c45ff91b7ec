"""One job run and judged: whatever happens in it, what comes out is an outcome."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, transaction
from django.dispatch import Signal
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from django_jobqueue import Discard, Job, Payload, Skip, Snooze
from django_jobqueue.conf import get_settings
from django_jobqueue.job.declaration import wire_name
from django_jobqueue.payload import unwrap_invalid
from django_jobqueue.retry import backoff, unpack_backtrace
from django_jobqueue.signals import job_died, job_retried, job_started, job_succeeded
from django_jobqueue.store.claims import (
    BURY,
    DISCARDED,
    DONE,
    DROPPED,
    EXPIRED,
    FORGET,
    HELD,
    RETRY,
    SKIPPED,
    SNOOZE,
)
from django_jobqueue.store.locks import Lock
from django_jobqueue.testing import disable_job
from django_jobqueue.worker import judge as room
from django_jobqueue.worker.executor import Executor
from django_jobqueue.worker.outcome import Outcome
from testproject.backups.models import Database
from tests.support.clocks import FrozenClock, freeze
from tests.worker import recorders
from tests.worker.recorders import SEEN, path_of

#: What jobs of the class ``DoJob`` do, by the name in their argument.
ACTS: dict[str, Callable[[], Any]] = {}


class DoJob(Job):
    """Does what the test has put into ``ACTS``."""

    backtrace = 3

    def perform(self, act: str = "nothing") -> Any:
        """Act."""
        return ACTS[act]()


class HookJob(DoJob):
    """Has its say about retries, and notes its end."""

    def retry_in(self, count: int, error: BaseException) -> Any:
        """Answer with what the test wants."""
        SEEN.append(("retry_in", count, type(error)))
        return ACTS["retry_in"]()

    def on_exhausted(self, error: BaseException) -> None:
        """Note it, and do what the test wants."""
        SEEN.append(("on_exhausted", self.jid, type(error)))
        ACTS.get("on_exhausted", lambda: None)()


class BrokenInitJob(DoJob):
    """Cannot even be made."""

    def __init__(self) -> None:
        raise {"ValueError": ValueError, "SystemExit": SystemExit}[ACTS["init"]()]("no such job")


class AsyncActJob(Job):
    """Acts in a coroutine."""

    async def perform(self, act: str) -> Any:
        """Act after others had a turn."""
        await asyncio.sleep(0)
        return ACTS[act]()


class Foreign(BaseException):
    """Outside of ``Exception``, as a library may have it."""


class Mute(ValueError):
    """Cannot be printed."""

    def __str__(self) -> str:
        raise KeyboardInterrupt


class MuteSkip(Skip):
    """Cannot be printed, and is no failure."""

    def __str__(self) -> str:
        raise RuntimeError


def raising(error: BaseException) -> Callable[[], Any]:
    def act() -> Any:
        raise error

    return act


def note_that_it_ran() -> int:
    SEEN.append("ran")
    return 1


def recurse() -> Any:
    return recurse()


@pytest.fixture(autouse=True)
def seen() -> Iterator[list[Any]]:
    """What jobs and middleware wrote."""
    SEEN.clear()
    ACTS.clear()
    ACTS["nothing"] = lambda: None
    yield SEEN
    SEEN.clear()
    ACTS.clear()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> FrozenClock:
    """Time stands still."""
    return freeze(monkeypatch)


Run = Callable[..., Outcome | None]


@pytest.fixture
def run(settings: Any) -> Run:
    """Run a payload, of ``DoJob`` where nothing else is said; ``layers`` are middleware."""

    def run_it(
        payload: Payload | bytes, *layers: type, options: dict[str, Any] | None = None
    ) -> Outcome | None:
        settings.JOBQUEUE = {
            "OUTLET": "fake", "SERVER_MIDDLEWARE": path_of(*layers), **(options or {}),
        }  # fmt: skip
        raw = payload if isinstance(payload, bytes) else payload.encode()
        return Executor(get_settings(), stopping=lambda: False).run(raw, "low")

    return run_it


def of(cls: type[Job], *args: Any, **fields: Any) -> Payload:
    name = f"{cls.__module__}.{cls.__qualname__}"
    return Payload({"class": name, "args": list(args), "jid": "b" * 24, "queue": "low", **fields})


def told(outcome: Outcome | None) -> Payload:
    """Return the payload that an outcome writes."""
    assert outcome is not None
    return Payload.decode(outcome.raw)


Listen = Callable[..., list[Any]]


@pytest.fixture
def listen() -> Iterator[Listen]:
    """Hear signals: as their names and some of their facts, in order."""
    heard: list[Any] = []
    connected: list[tuple[Signal, Callable[..., Any]]] = []
    names = {
        job_started: "started", job_succeeded: "succeeded", job_retried: "retried",
        job_died: "died",
    }  # fmt: skip

    def connect(*facts: str, act: Callable[[], Any] = lambda: None) -> list[Any]:
        def receiver(signal: Signal, sender: Any, **given: Any) -> None:
            heard.append((names[signal], sender, *(given[fact] for fact in facts)))
            act()

        for signal in names:
            signal.connect(receiver, weak=False)
            connected.append((signal, receiver))
        return heard

    yield connect
    for signal, receiver in connected:
        signal.disconnect(receiver)


# Success ----------------------------------------------------------------------


def test_a_job_that_returns_has_no_outcome_to_tell(run: Run) -> None:
    ACTS["act"] = lambda: "whatever"
    assert run(of(DoJob, "act")) is None


def test_an_async_job_runs_to_its_end(run: Run) -> None:
    ACTS["act"] = lambda: SEEN.append("ran")
    assert run(of(AsyncActJob, "act")) is None
    assert SEEN == ["ran"]


def test_the_payload_comes_back_with_what_perform_returned(settings: Any) -> None:
    settings.JOBQUEUE = {"OUTLET": "fake", "SERVER_MIDDLEWARE": path_of(recorders.Second)}
    ACTS["act"] = lambda: 21
    executor = Executor(get_settings(), stopping=lambda: False)
    assert executor.run_payload(of(DoJob, "act"), "low") == (None, 42)


# Failures ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "error",
    [
        ValueError("no luck"),
        SystemExit(3),
        SystemExit(0),
        KeyboardInterrupt(),
        GeneratorExit(),
        MemoryError(),
        StopAsyncIteration(),
        asyncio.CancelledError(),
        Foreign("outside"),
        Mute(),
    ],
    ids=lambda error: type(error).__name__,
)
@pytest.mark.parametrize("cls", [DoJob, AsyncActJob])
def test_whatever_a_job_raises_is_a_failure_of_that_job(
    run: Run, error: BaseException, cls: type[Job]
) -> None:
    ACTS["act"] = raising(error)
    outcome = run(of(cls, "act"))
    assert outcome is not None
    assert outcome.verb == RETRY
    assert type(outcome.error) is type(error)
    assert told(outcome).fields["error_class"].rpartition(".")[2] == type(error).__name__
    assert told(outcome).retry_count == 0


@pytest.mark.django_db(transaction=True)
def test_a_job_that_came_before_the_commit_is_tried_again(run: Run) -> None:
    """``on_commit=False`` inside a transaction: nobody else sees the row yet."""
    with transaction.atomic():
        row = Database.objects.create(name="shop", path="shop.sqlite3")

        def look() -> str:
            return Database.objects.get(pk=row.pk).name

        ACTS["look"] = look

        def run_elsewhere() -> Outcome | None:
            try:
                return run(of(DoJob, "look"))
            finally:
                connection.close()

        with ThreadPoolExecutor(1) as worker:
            failed = worker.submit(run_elsewhere).result()
    assert failed is not None
    assert failed.verb == RETRY
    assert "DoesNotExist" in str(told(failed).fields["error_class"])
    again = run(told(failed))
    assert again is None


def test_an_endless_recursion_is_a_failure_too(run: Run) -> None:
    ACTS["act"] = recurse
    payload = told(run(of(DoJob, "act", backtrace=True)))
    assert payload.fields["error_class"] == "RecursionError"
    assert 0 < len(unpack_backtrace(payload.fields["error_backtrace"])) <= 50


def test_a_failed_job_waits_for_its_retry_with_what_happened(run: Run, clock: FrozenClock) -> None:
    ACTS["act"] = raising(ValueError("no luck"))
    job = of(DoJob, "act", enqueued_at=1, created_at=1, x_vendor={"y": []}, backtrace=5)
    outcome = run(job)
    assert outcome is not None
    assert backoff(0) <= outcome.delay <= backoff(0) + 10
    fields = dict(told(outcome).fields)
    assert "act" in unpack_backtrace(fields.pop("error_backtrace"))[-1]
    assert fields == {
        **job.replace(enqueued_at=None).fields,
        "error_class": "ValueError",
        "error_message": "no luck",
        "retry_count": 0,
        "failed_at": int(clock.now * 1000),
    }


@pytest.mark.parametrize(
    ("message", "kept"),
    [
        ("x" * 1_000_000, "x" * 10_000),
        ("a\x00b", "a\x00b"),
    ],
    ids=["1 MB", "NUL"],
)
def test_any_message_fits_into_the_payload_and_into_one_log_line(
    run: Run, message: str, kept: str, caplog: pytest.LogCaptureFixture
) -> None:
    ACTS["act"] = raising(ValueError(message))
    outcome = run(of(DoJob, "act"))
    assert told(outcome).fields["error_message"] == kept
    (line,) = caplog.messages
    assert line.isprintable()
    assert len(line) < 700


def test_lone_surrogates_of_a_message_are_replaced(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    # pytest-xdist cannot carry the traceback that is logged.
    monkeypatch.setattr(logging.getLogger("django_jobqueue.worker"), "propagate", False)
    ACTS["act"] = raising(ValueError("lone \ud800 surrogate"))
    assert told(run(of(DoJob, "act"))).fields["error_message"] == "lone ? surrogate"


def test_a_message_that_cannot_be_printed_is_replaced(run: Run) -> None:
    ACTS["act"] = raising(Mute())
    message = told(run(of(DoJob, "act"))).fields["error_message"]
    assert message == "(KeyboardInterrupt while printing the error)"


def test_newlines_in_names_and_errors_make_no_second_log_line(
    run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    ACTS["act"] = raising(ValueError("x\n2030-01-01 INFO all is well"))
    run(of(DoJob, "act", jid="a\nb"))
    run(of(DoJob, jid="a\nb", **{"class": "x\ny"}))
    ACTS["act"] = raising(Skip("x\ny"))
    run(of(DoJob, "act"))
    ACTS["act"] = raising(Discard("x\ny"))
    run(of(DoJob, "act"))
    run(b'\xff\n"')
    assert len(caplog.messages) == 5
    assert all("\n" not in line for line in caplog.messages)


def test_arguments_are_never_logged(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    ACTS["act secret"] = raising(ValueError("no luck"))
    run(of(DoJob, "act secret", retry=0))
    run(of(DoJob, "act secret", "secret"))
    ACTS["act secret"] = raising(Snooze(1))
    run(of(DoJob, "act secret"))
    assert len(caplog.messages) == 3
    assert "secret" not in "".join(caplog.messages)


def test_a_failure_is_logged_once_with_its_traceback_and_what_happens_next(
    run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    ACTS["act"] = raising(ValueError("no luck"))
    run(of(DoJob, "act"))
    run(of(DoJob, "act", retry=0))
    first, second = caplog.records
    for record in (first, second):
        facts = {name: vars(record)[name] for name in ("jid", "queue", "attempt")}
        assert facts == {"jid": "b" * 24, "queue": "low", "attempt": 1}
        assert vars(record)["job"].endswith(".DoJob")
    assert first.levelno == logging.WARNING
    assert "DoJob jid=bbbbbbbbbbbbbbbbbbbbbbbb failed: ValueError: no luck; again in " in (
        first.getMessage()
    )
    assert second.levelno == logging.ERROR
    assert second.getMessage().endswith(" failed for good: ValueError: no luck")
    assert all(record.exc_info for record in caplog.records)


# How often --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "verb"),
    [
        ({"retry": 0}, BURY),
        ({"retry": False}, FORGET),
        ({"retry": 0, "dead": False}, FORGET),
        ({"retry": 2, "retry_count": 1}, BURY),
        ({"retry": 2, "retry_count": 0}, RETRY),
        ({"retry_count": 24}, BURY),
        ({"retry_count": 23}, RETRY),
        ({"retry_for": 60, "retry_count": 99, "failed_at": 4_000_000_000_000}, RETRY),
        ({"retry_for": 60, "retry_count": 0, "failed_at": 1_000}, BURY),
    ],
    ids=str,
)
def test_a_job_fails_for_good_when_its_retries_are_spent(
    run: Run, fields: dict[str, Any], verb: str, seen: list[Any]
) -> None:
    ACTS["act"] = raising(ValueError("no luck"))
    ACTS["retry_in"] = lambda: None
    outcome = run(of(HookJob, "act", **fields))
    assert outcome is not None
    assert outcome.verb == verb
    exhausted = [entry for entry in seen if entry[0] == "on_exhausted"]
    assert exhausted == ([] if verb == RETRY else [("on_exhausted", "b" * 24, ValueError)])


def test_the_settings_say_how_many_retries_true_means(run: Run) -> None:
    ACTS["act"] = raising(ValueError("no luck"))
    outcome = run(of(DoJob, "act", retry=True), options={"DEFAULT_RETRIES": 0})
    assert outcome is not None
    assert outcome.verb == BURY


def test_a_retry_goes_to_the_queue_for_retries(run: Run) -> None:
    ACTS["act"] = raising(ValueError("no luck"))
    assert told(run(of(DoJob, "act", retry_queue="slow"))).queue == "slow"


# retry_in ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "verb", "delay"),
    [
        (None, RETRY, 15.0),
        (0, RETRY, 0.0),
        (90, RETRY, 90.0),
        (1.5, RETRY, 1.5),
        (timedelta(minutes=2), RETRY, 120.0),
        (Job.DISCARD, FORGET, 0.0),
        (Job.KILL, BURY, 0.0),
    ],
    ids=str,
)
def test_a_job_may_say_when_to_try_again(run: Run, answer: Any, verb: str, delay: float) -> None:
    ACTS["act"] = raising(ValueError("no luck"))
    ACTS["retry_in"] = lambda: answer
    outcome = run(of(HookJob, "act"))
    assert outcome is not None
    assert outcome.verb == verb
    assert delay <= outcome.delay <= delay + (10 if verb == RETRY else 0)


@pytest.mark.parametrize(
    "answer",
    [-1, float("nan"), float("inf"), "soon", object(), timedelta(days=-1), 10**400],
    ids=lambda answer: str(answer)[:10],
)
def test_an_answer_that_is_no_delay_is_told_and_the_default_used(
    run: Run, answer: Any, caplog: pytest.LogCaptureFixture
) -> None:
    ACTS["act"] = raising(ValueError("no luck"))
    ACTS["retry_in"] = lambda: answer
    outcome = run(of(HookJob, "act"))
    assert outcome is not None
    assert outcome.verb == RETRY
    assert backoff(0) <= outcome.delay <= backoff(0) + 10
    assert caplog.messages[0].endswith("retry_in failed; the default is used")


@pytest.mark.parametrize("error", [ValueError("a bug"), SystemExit(1)], ids=repr)
def test_a_retry_in_that_raises_is_told_and_the_default_used(
    run: Run, error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    ACTS["act"] = raising(ValueError("no luck"))
    ACTS["retry_in"] = raising(error)
    outcome = run(of(HookJob, "act"))
    assert outcome is not None
    assert outcome.verb == RETRY
    assert backoff(0) <= outcome.delay <= backoff(0) + 10
    assert told(outcome).fields["error_message"] == "no luck"
    assert caplog.messages[0].endswith("retry_in failed; the default is used")


def test_retry_in_is_asked_with_the_number_of_the_coming_retry(run: Run, seen: list[Any]) -> None:
    ACTS["act"] = raising(KeyError("x"))
    ACTS["retry_in"] = lambda: None
    job = of(HookJob, "act")
    for _ in range(3):
        job = told(run(job))
    assert seen == [("retry_in", count, KeyError) for count in range(3)]


# Control flow -----------------------------------------------------------------


@pytest.mark.parametrize(("delay", "wait"), [(30, 30.0), (0, 0.0), (timedelta(hours=1), 3600.0)])
def test_a_snoozed_job_comes_again_and_spends_no_attempt(run: Run, delay: Any, wait: float) -> None:
    ACTS["act"] = raising(Snooze(delay))
    job = of(HookJob, "act", retry_count=3, enqueued_at=1, failed_at=1)
    outcome = run(job)
    assert outcome is not None
    assert (outcome.verb, outcome.delay, outcome.error) == (SNOOZE, wait, None)
    assert told(outcome) == job.replace(enqueued_at=None)
    assert SEEN == []


def test_a_discarded_job_runs_its_death_hooks_and_leaves_nothing(
    run: Run, listen: Listen, seen: list[Any]
) -> None:
    heard = listen("error")
    discard = Discard("why")
    ACTS["act"] = raising(discard)
    outcome = run(of(HookJob, "act"))
    assert outcome is not None
    assert (outcome.verb, outcome.raw) == (DISCARDED, b"")
    assert seen == [("on_exhausted", "b" * 24, Discard)]
    assert heard[-1] == ("died", HookJob, discard)


def test_a_job_that_finds_nothing_to_do_is_skipped_without_hooks(run: Run, listen: Listen) -> None:
    heard = listen()
    ACTS["act"] = raising(Skip("nothing to do"))
    outcome = run(of(HookJob, "act"))
    assert outcome == Outcome(SKIPPED)
    assert SEEN == []
    assert heard == [("started", HookJob)]


def test_a_skip_that_cannot_be_printed_is_still_a_skip(run: Run) -> None:
    ACTS["act"] = raising(MuteSkip())
    assert run(of(DoJob, "act")) == Outcome(SKIPPED)


# Expiry -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "runs"),
    [
        ({"enqueued_at": -61.0}, False),
        ({"enqueued_at": -59.0}, True),
        ({"created_at": -61.0}, False),
        ({"created_at": -61.0, "enqueued_at": -59.0}, True),
        ({}, True),
        ({"enqueued_at": -61.0, "expires_in": None}, True),
        ({"enqueued_at": -61.0, "expires_in": "60"}, True),
    ],
    ids=str,
)
def test_a_job_that_waited_too_long_is_not_started(
    run: Run, clock: FrozenClock, fields: dict[str, Any], runs: bool, seen: list[Any]
) -> None:
    ACTS["act"] = lambda: SEEN.append("ran")
    times = {
        name: int((clock.now + value) * 1000) if isinstance(value, float) else value
        for name, value in {"expires_in": 60, **fields}.items()
    }
    outcome = run(of(DoJob, "act", **times))
    assert outcome == (None if runs else Outcome(EXPIRED))
    assert seen == (["ran"] if runs else [])


# What cannot run --------------------------------------------------------------


@pytest.mark.parametrize(
    "raw", [b"", b"null", b"[]", b'"x"', b"{}", b"\xff\xfe", b'{"class":"A","args":[1e999]', b"\0"]
)
def test_bytes_that_are_no_job_die_and_are_kept(run: Run, raw: bytes) -> None:
    outcome = run(raw)
    assert outcome is not None
    assert outcome.verb == BURY
    assert told(outcome).fields["error_class"] == "InvalidPayload"
    assert told(outcome).queue == "low"
    assert unwrap_invalid(told(outcome)) == raw


@pytest.mark.parametrize("args", [[], [1, 2, 3]])
def test_arguments_that_do_not_fit_die_at_once(run: Run, listen: Listen, args: list[Any]) -> None:
    heard = listen()
    cls = BrokenInitJob if args else AsyncActJob  # not even made
    outcome = run(of(cls, *args, retry=25))
    assert outcome is not None
    assert outcome.verb == BURY
    assert told(outcome).fields["error_class"] == "InvalidArguments"
    assert told(outcome).args == args
    assert told(outcome).retry_count is None
    assert heard == [("died", cls)]


@pytest.mark.parametrize("name", ["os.system", "builtins.eval", "shop.jobs.NewJob", "Hard::Job"])
def test_an_unknown_class_waits_for_a_deploy_and_then_dies(
    run: Run, clock: FrozenClock, name: str
) -> None:
    job = of(DoJob, "rm -rf", **{"class": name})
    outcome = run(job)
    assert outcome is not None
    assert outcome.verb == SNOOZE
    assert 1 <= outcome.delay <= 30
    clock.advance(601)
    buried = run(told(outcome))
    assert buried is not None
    assert buried.verb == BURY
    assert told(buried).fields["error_message"].startswith(f"{name!r} is not a registered job: ")
    assert told(buried).args == ["rm -rf"]


def test_the_settings_say_how_long_an_unknown_class_waits(run: Run) -> None:
    job = of(DoJob, **{"class": "shop.jobs.NewJob"})
    outcome = run(job, options={"UNKNOWN_JOB_RETRY_FOR": 0})
    assert outcome is not None
    assert outcome.verb == BURY


@pytest.mark.parametrize("kind", ["ValueError", "SystemExit"])
def test_a_class_that_cannot_be_made_is_a_failure_of_the_job(
    run: Run, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    ACTS["init"] = lambda: kind
    outcome = run(of(BrokenInitJob))
    assert outcome is not None
    assert outcome.verb == RETRY
    assert told(outcome).fields["error_class"] == kind
    assert caplog.records[0].exc_info
    buried = run(of(BrokenInitJob, retry=0))
    assert buried is not None
    assert buried.verb == BURY


#: Values that a field may have when somebody else wrote it.
ODD: st.SearchStrategy[Any] = st.sampled_from(
    [None, True, False, 0, -5, 3, 1e308, 10**400, -(10**400), "yes", "", "\ud800", [], {}, [[]]]
)


@given(
    st.dictionaries(
        st.sampled_from(
            [
                "queue", "retry", "retry_queue", "retry_for", "retry_count", "dead", "backtrace",
                "tags", "expires_in", "crashes", "cattr", "created_at", "enqueued_at",
                "failed_at", "retried_at", "unknown_since", "x",
            ]
        ),
        ODD,
    ),
    st.sampled_from(["fail", "snooze", "nothing", "unknown", "too", "return"]),
)  # fmt: skip
@hypothesis_settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=300
)
def test_no_field_of_any_value_raises_out_of_the_executor(
    run: Run, fields: dict[str, Any], act: str
) -> None:
    ACTS.update(fail=raising(ValueError("no luck")), snooze=raising(Snooze(1)), **{"return": dict})
    job = of(DoJob, act, **fields)
    if act == "unknown":
        job = job.replace(**{"class": "shop.jobs.NewJob"})
    if act == "too":
        job = job.replace(args=[1, 2, 3])
    outcome = run(job.encode())
    if outcome is not None and outcome.raw:
        kept = json.loads(outcome.raw)
        assert kept["jid"] == job.jid
        assert kept.get("x") == fields.get("x")


@pytest.mark.parametrize("depth", range(100, 1000, 30))
def test_no_depth_of_others_raises_out_of_the_executor(run: Run, depth: int) -> None:
    ACTS["fail"] = raising(ValueError("no luck"))
    raw = of(DoJob, "fail").encode()[:-1] + b',"x":' + b"[" * depth + b"]" * depth + b"}"
    outcome = run(raw)
    assert outcome is not None
    if outcome.verb == BURY:
        assert unwrap_invalid(told(outcome)) == raw
    else:
        assert b"[" * depth in outcome.raw


# Middleware -------------------------------------------------------------------


def test_middleware_is_passed_in_the_order_of_the_settings(run: Run, seen: list[Any]) -> None:
    ACTS["act"] = note_that_it_ran
    assert run(of(DoJob, "act"), recorders.First, recorders.Second) is None
    jid = "b" * 24
    assert seen == [("first in", jid), ("second in", jid), "ran", ("first out", jid)]


@pytest.mark.parametrize(
    ("layer", "ran", "kind"),
    [
        (recorders.RaiseBefore, [], "RuntimeError"),
        (recorders.RaiseAfter, ["ran"], "RuntimeError"),
        (recorders.Leave, [], "SystemExit"),
    ],
    ids=["before", "after", "SystemExit"],
)
def test_a_middleware_that_raises_is_a_failure_of_the_job(
    run: Run, seen: list[Any], layer: type, ran: list[str], kind: str
) -> None:
    ACTS["act"] = lambda: SEEN.append("ran")
    outcome = run(of(DoJob, "act"), layer)
    assert outcome is not None
    assert outcome.verb == RETRY
    assert told(outcome).fields["error_class"] == kind
    assert seen == ran


def test_a_middleware_that_swallows_a_failure_makes_it_a_success(run: Run) -> None:
    ACTS["act"] = raising(SystemExit(1))
    assert run(of(DoJob, "act"), recorders.Swallow) is None


def test_a_middleware_that_does_not_call_on_skips_the_job(
    run: Run, seen: list[Any], listen: Listen, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    heard = listen()
    ACTS["act"] = lambda: SEEN.append("ran")
    assert run(of(DoJob, "act"), recorders.Forget) == Outcome(SKIPPED)
    assert seen == []
    assert heard == [("started", DoJob)]
    assert caplog.messages[0].endswith("skipped by a server middleware")


def test_a_middleware_that_cannot_be_imported_is_told_before_any_job(run: Run) -> None:
    with pytest.raises(ImportError):
        run(of(DoJob), options={"SERVER_MIDDLEWARE": ["shop.middleware.Nowhere"]})


# Signals and hooks ------------------------------------------------------------


def test_signals_tell_the_life_of_a_job(run: Run, listen: Listen, clock: FrozenClock) -> None:
    heard = listen()
    ACTS["act"] = lambda: clock.advance(2.5)
    run(of(DoJob, "act"))
    ACTS["act"] = raising(ValueError("no luck"))
    run(of(DoJob, "act"))
    run(of(DoJob, "act", retry=False))
    run(of(DoJob, **{"class": "shop.jobs.NewJob"}))
    assert heard == [
        ("started", DoJob), ("succeeded", DoJob),
        ("started", DoJob), ("retried", DoJob),
        ("started", DoJob), ("died", DoJob),
        ("retried", None),
    ]  # fmt: skip


def test_signals_carry_the_facts(run: Run, clock: FrozenClock) -> None:
    facts: dict[str, Any] = {}

    def succeeded(elapsed: float, payload: Payload, **_: Any) -> None:
        facts.update(elapsed=elapsed, jid=payload.jid)

    def retried(error: BaseException, delay: float, payload: Payload, **_: Any) -> None:
        facts.update(error=error, delay=delay, count=payload.retry_count)

    job_succeeded.connect(succeeded)
    job_retried.connect(retried)
    error = ValueError("no luck")
    try:
        ACTS["act"] = lambda: clock.advance(2.5)
        run(of(DoJob, "act"))
        ACTS["act"] = raising(error)
        outcome = run(of(DoJob, "act"))
    finally:
        job_succeeded.disconnect(succeeded)
        job_retried.disconnect(retried)
    assert outcome is not None
    assert facts == {
        "elapsed": 2.5, "jid": "b" * 24, "error": error, "delay": outcome.delay, "count": 0,
    }  # fmt: skip


@pytest.mark.parametrize("kind", [ValueError, SystemExit, KeyboardInterrupt, GeneratorExit])
def test_receivers_that_raise_change_no_outcome(
    run: Run, listen: Listen, kind: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    heard = listen(act=raising(kind("a bug")))
    assert run(of(DoJob)) is None
    ACTS["act"] = raising(ValueError("no luck"))
    retried, died = run(of(DoJob, "act")), run(of(DoJob, "act", retry=0))
    assert retried is not None
    assert died is not None
    assert (retried.verb, died.verb) == (RETRY, BURY)
    assert told(retried).fields["error_message"] == "no luck"
    assert [entry[0] for entry in heard] == [
        "started", "succeeded", "started", "retried", "started", "died",
    ]  # fmt: skip
    assert sum("a bug" in str(record.exc_info) for record in caplog.records) == 6


@pytest.mark.parametrize("kind", [ValueError, SystemExit])
def test_an_on_exhausted_that_raises_changes_no_outcome(
    run: Run, listen: Listen, kind: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    heard = listen()
    ACTS["act"] = raising(ValueError("no luck"))
    ACTS["retry_in"] = lambda: None
    ACTS["on_exhausted"] = raising(kind("a bug"))
    outcome = run(of(HookJob, "act", retry=0))
    assert outcome is not None
    assert outcome.verb == BURY
    assert told(outcome).fields["error_message"] == "no luck"
    assert heard[-1] == ("died", HookJob)
    assert caplog.messages[-1].endswith("on_exhausted failed")


def test_times_are_written_as_the_settings_say(run: Run, clock: FrozenClock) -> None:
    ACTS["act"] = raising(ValueError("no luck"))
    seconds = {"TIMESTAMPS": "seconds"}
    assert told(run(of(DoJob, "act"), options=seconds)).fields["failed_at"] == clock.now
    assert told(run(of(DoJob, "act", retry=0), options=seconds)).fields["failed_at"] == clock.now
    assert told(run(b"junk", options=seconds)).fields["failed_at"] == clock.now
    unknown = told(run(of(DoJob, **{"class": "shop.jobs.NewJob"}), options=seconds))
    assert unknown.fields["unknown_since"] == clock.now


def test_a_job_sees_the_wish_of_the_worker(settings: Any) -> None:
    settings.JOBQUEUE = {"OUTLET": "fake", "SERVER_MIDDLEWARE": []}
    ACTS["act"] = lambda: None
    seen: list[bool] = []

    def started(payload: Payload, **_: Any) -> None:
        seen.append(True)

    job_started.connect(started)
    try:
        executor = Executor(get_settings(), stopping=lambda: True)
        assert executor.run(of(StopJob).encode(), "low") is None
    finally:
        job_started.disconnect(started)
    assert seen == [True]
    assert SEEN == [(True, False)]


class StopJob(Job):
    """Tells what it sees of its worker."""

    def perform(self) -> None:
        """Tell."""
        SEEN.append((self.stopping, self.is_inline))


# Kill switches and locks ---------------------------------------------------------

DIGEST = "a" * 32


def stopping(run: Run, payload: Payload, policy: str, cls: type[Job] = DoJob) -> Outcome | None:
    with disable_job(cls):
        return run(payload, options={"KILL_SWITCH": {"QUEUED_JOBS": policy}})


def test_a_job_whose_switch_is_on_is_held_and_not_run(
    run: Run, seen: list[Any], clock: FrozenClock
) -> None:
    ACTS["nothing"] = note_that_it_ran
    job = of(DoJob, unique_for=60.0, unique_digest=DIGEST)
    outcome = stopping(run, job, "hold")
    assert seen == []
    assert outcome is not None
    assert (outcome.verb, outcome.job_class) == (HELD, job.job_class)
    assert outcome.lock == Lock(DIGEST, job.jid, 60.0)
    kept = Payload.decode(outcome.raw)
    assert kept.held_from == "queue"
    assert kept.time("held_at") == pytest.approx(clock.now, abs=0.001)
    assert kept.replace(held_at=None, held_from=None) == job.replace(queue="low")


def test_a_job_whose_switch_is_on_is_dropped_or_run_where_the_settings_say_so(
    run: Run, seen: list[Any]
) -> None:
    ACTS["nothing"] = note_that_it_ran
    dropped = stopping(run, of(DoJob), "drop")
    assert dropped is not None
    assert (dropped.verb, dropped.job_class, dropped.raw) == (DROPPED, of(DoJob).job_class, b"")
    assert seen == []
    assert stopping(run, of(DoJob), "run") is None
    assert seen == ["ran"]


def test_a_class_has_the_last_word_on_its_held_jobs(
    run: Run, seen: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    ACTS["nothing"] = note_that_it_ran
    monkeypatch.setattr(DoJob, "when_disabled", "run")
    assert stopping(run, of(DoJob), "drop") is None
    monkeypatch.setattr(DoJob, "when_disabled", "drop")
    outcome = stopping(run, of(DoJob), "run")
    assert outcome is not None
    assert outcome.verb == DROPPED


def test_one_job_that_passes_the_switch_is_run(run: Run, seen: list[Any]) -> None:
    ACTS["nothing"] = note_that_it_ran
    assert stopping(run, of(DoJob, bypass_kill_switch=True), "drop") is None
    held = stopping(run, of(DoJob, bypass_kill_switch="yes"), "hold")
    assert held is not None
    assert held.verb == HELD


def test_a_job_that_runs_sees_that_its_switch_was_thrown(run: Run) -> None:
    answers = []

    class DisabledAsItRunsJob(Job):
        def perform(self) -> None:
            answers.append(self.disabled)
            with disable_job(DisabledAsItRunsJob):
                answers.append(self.disabled)

    look = Payload({"class": wire_name(DisabledAsItRunsJob), "args": [], "jid": "b" * 24})
    assert run(look) is None
    assert answers == [False, True]


@pytest.mark.parametrize(
    ("act", "verb", "cooldown"),
    [
        (note_that_it_ran, DONE, 0.0),
        (raising(Skip("no")), SKIPPED, 0.0),
        (raising(Discard("no")), DISCARDED, 30.0),
        (raising(Snooze(5)), SNOOZE, 0.0),
        (raising(ValueError("no")), RETRY, 0.0),
    ],
)
def test_the_lock_of_a_unique_job_goes_with_its_outcome(
    run: Run, monkeypatch: pytest.MonkeyPatch, act: Callable[[], Any], verb: str, cooldown: float
) -> None:
    monkeypatch.setattr(room, "cooldown_of", lambda name: 30.0)
    ACTS["nothing"] = act
    job = of(DoJob, unique_for=60.0, unique_digest=DIGEST)
    outcome = run(job)
    assert outcome is not None
    assert (outcome.verb, outcome.lock) == (verb, Lock(DIGEST, job.jid, 60.0))
    assert outcome.cooldown == cooldown


@pytest.mark.parametrize("retry", [0, False])
def test_a_unique_job_that_dies_leaves_its_row_alone_for_a_while(
    run: Run, monkeypatch: pytest.MonkeyPatch, retry: bool | int
) -> None:
    monkeypatch.setattr(room, "cooldown_of", lambda name: 30.0)
    ACTS["nothing"] = raising(ValueError("no"))
    outcome = run(of(DoJob, retry=retry, unique_for=60.0, unique_digest=DIGEST))
    assert outcome is not None
    assert (outcome.verb in (BURY, FORGET), outcome.cooldown) == (True, 30.0)


@pytest.mark.parametrize(
    ("fields", "release"),
    [({"unique_until": "start"}, True), ({"on_conflict": "rerun"}, False), ({}, None)],
)
def test_redis_is_told_of_a_start_where_a_lock_depends_on_it(
    settings: Any, seen: list[Any], fields: dict[str, str], release: bool | None
) -> None:
    ACTS["nothing"] = note_that_it_ran
    settings.JOBQUEUE = {"OUTLET": "fake", "SERVER_MIDDLEWARE": []}

    def start(lock: Lock, release: bool) -> None:
        seen.append((lock.jid, release))

    executor = Executor(get_settings(), stopping=lambda: False, start_lock=start)
    job = of(DoJob, unique_for=60.0, unique_digest=DIGEST, **fields)
    executor.run(job.encode(), "low")
    assert seen == ([] if release is None else [(job.jid, release)]) + ["ran"]


def test_a_lock_that_ended_with_the_start_is_not_taken_again_by_a_retry(run: Run) -> None:
    ACTS["nothing"] = raising(ValueError("no"))
    job = of(DoJob, unique_for=60.0, unique_digest=DIGEST, unique_until="start")
    outcome = run(job)
    assert outcome is not None
    assert (outcome.verb, outcome.lock) == (RETRY, None)


def test_a_unique_job_that_cannot_be_handled_gives_its_lock_up(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: Any) -> Any:
        raise RuntimeError("not the job's fault")

    monkeypatch.setattr(Executor, "run_payload", fail)
    job = of(DoJob, unique_for=60.0, unique_digest=DIGEST)
    outcome = run(job)
    assert outcome is not None
    assert (outcome.verb, outcome.lock) == (BURY, Lock(DIGEST, job.jid, 60.0))
