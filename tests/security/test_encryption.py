"""Encrypted arguments: clear in ``perform``, and nowhere on the way there and back."""

from __future__ import annotations

import asyncio
import builtins
import importlib.util
import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured

from django_jobqueue import Discard, Job, Payload, Snooze, api, encryption
from django_jobqueue.client.middleware import Push
from django_jobqueue.conf import get_settings
from django_jobqueue.connection import store
from django_jobqueue.exceptions import ArgumentNotSerializable, BootError
from django_jobqueue.job.declaration import wire_name
from django_jobqueue.log import JsonFormatter
from django_jobqueue.reconciliation.drafts import mark
from django_jobqueue.redaction import (
    ENCRYPTED,
    REDACTED,
    holds_as_shown,
    redact_args,
    redact_fields,
    shown_args,
)
from django_jobqueue.reports.entries import facts_of
from django_jobqueue.store.claims import BURY, SNOOZE
from django_jobqueue.testing import disable_job, fake_jobs, inline_jobs, work_off
from django_jobqueue.unique import digest, idempotency_key
from django_jobqueue.worker.boot import check_keys
from django_jobqueue.worker.chores import tell_of_poison
from django_jobqueue.worker.executor import Executor
from django_jobqueue.worker.outcome import Outcome
from tests.acceptance.site import SOON, Site, payload
from tests.conftest import JobqueueSettings
from tests.jobsite.jobs import FailJob, NoopJob
from tests.security.sealed import aside
from tests.support.inside import Inside
from tests.support.polling import wait_until

#: Keys of Fernet, of these tests only.
OLD = "b2xkLW9sZC1vbGQtb2xkLW9sZC1vbGQtb2xkLW9sZDE="
NEW = "bmV3LW5ldy1uZXctbmV3LW5ldy1uZXctbmV3LW5ldzE="

SECRET = "hunter2-4111"

#: What the jobs here were given, and what they were told to raise.
RAN: list[Any] = []
RAISE: list[BaseException] = []


@aside
class SealedJob(Job):
    """Has secret arguments."""

    queue = "sealed"
    encrypt = True
    self_healing = False

    def perform(self, secret: Any, number: int = 0) -> Any:
        """Note them; raise what is to be raised."""
        RAN.append((secret, number))
        if RAISE:
            raise RAISE[0]
        return number

    def retry_in(self, count: int, error: BaseException) -> None:
        """Fail as well: that is logged with the job's own error as its context."""
        if isinstance(error, KeyError):
            raise RuntimeError(f"cannot tell of {error}")


@aside
class SealedAsyncJob(Job):
    """Has secret arguments, on an event loop."""

    queue = "sealed"
    encrypt = True
    self_healing = False

    async def perform(self, secret: str) -> None:
        """Fail, and tell all."""
        RAN.append(secret)
        raise ValueError(f"cannot log in with {secret}")


@aside
class SealedOnceJob(Job):
    """Is unique by all its arguments."""

    queue = "sealed"
    encrypt = True
    unique_for = 60
    self_healing = False

    def perform(self, pin: str) -> None:
        """Note it."""
        RAN.append(pin)


@aside
class SealedKeyJob(SealedOnceJob):
    """Is unique by its first argument."""

    unique_key = ("pin",)

    def perform(self, pin: str, note: str = "") -> None:
        """Note it."""
        RAN.append(pin)


class OpenJob(Job):
    """Hides nothing."""

    queue = "sealed"
    self_healing = False

    def perform(self, secret: str) -> None:
        """Note it."""
        RAN.append(secret)


class Watcher:
    """Client middleware: notes the arguments that it sees."""

    SEEN: list[Any] = []

    def __init__(self, push: Push) -> None:
        self._push = push

    def __call__(self, payload: Payload) -> Payload | None:
        self.SEEN.append(payload.args)
        return self._push(payload)


@pytest.fixture(autouse=True)
def _configured(jobqueue_settings: JobqueueSettings, freshened: list[str]) -> Iterator[None]:
    jobqueue_settings(ENCRYPTION_KEYS=[NEW, OLD])
    for kept in (RAN, RAISE, Watcher.SEEN):
        kept.clear()
    yield
    RAISE.clear()


def run(payload: Payload) -> Outcome | None:
    """Run a job as a worker does."""
    return Executor(get_settings(), stopping=lambda: False).run(payload.encode(), "sealed")


def dead_of(outcome: Outcome | None) -> dict[str, Any]:
    """Return the fields of a job that was buried."""
    assert outcome is not None
    assert outcome.verb == BURY
    return dict(Payload.decode(outcome.raw).fields)


def sealed(*args: Any, cls: type[Job] = SealedJob, **fields: Any) -> Payload:
    """Return a job as it was pushed."""
    made = {"class": wire_name(cls), "args": list(args), "jid": "1" * 24, "queue": "sealed"}
    return encryption.encrypted(Payload({**made, "encrypt": True, **fields}))


# On the way ----------------------------------------------------------------------------


def test_arguments_are_clear_in_perform_and_nowhere_in_redis(inside: Inside) -> None:
    args = [{"token": SECRET, "ä": [1.5, None, 12345678901234567890]}, 7]
    SealedJob.perform_async(*args)
    SealedJob.perform_in(3600, SECRET)
    SealedJob.perform_bulk([(SECRET, n) for n in range(3)])
    everything = repr([inside.client.dump(inside.key(name)) for name in inside.names()])
    assert SECRET not in everything + repr(inside.jobs("sealed")) + repr(inside.entries("schedule"))
    for job in [*inside.jobs("sealed"), inside.entry("schedule")[0]]:
        assert [type(arg) for arg in job["args"]] == [str]
        assert job["encrypt"] == inside.jobs("sealed")[0]["encrypt"] != NEW
    assert work_off() == 4
    assert [tuple(args), (SECRET, 0), (SECRET, 1), (SECRET, 2)] == RAN


def test_two_jobs_with_the_same_arguments_look_different() -> None:
    assert sealed(1).args != sealed(1).args


def test_arguments_are_checked_before_they_are_encrypted() -> None:
    with pytest.raises(ArgumentNotSerializable, match=r"args\[0\] is a set"):
        SealedJob.perform_async({1})


def test_middleware_sees_clear_arguments_at_the_push_and_encrypted_ones_afterwards(
    jobqueue_settings: JobqueueSettings, inside: Inside
) -> None:
    jobqueue_settings(
        ENCRYPTION_KEYS=[NEW], CLIENT_MIDDLEWARE=[f"{__name__}.{Watcher.__qualname__}"]
    )
    SealedJob.perform_in(3600, SECRET)
    assert Watcher.SEEN == [[SECRET]]
    entry, _ = inside.entry("schedule")
    (found,) = api.ScheduledSet()
    found.enqueue_now()
    assert [[SECRET], entry["args"]] == Watcher.SEEN
    work_off()
    assert RAN == [(SECRET, 0)]


def test_a_failed_job_is_retried_with_its_encrypted_arguments(inside: Inside) -> None:
    RAISE.append(ValueError("not now"))
    SealedJob.perform_async(SECRET)
    pushed = inside.jobs("sealed")[0]
    work_off()
    retry, _ = inside.entry("retry")
    assert (retry["args"], retry["encrypt"]) == (pushed["args"], pushed["encrypt"])
    assert SECRET not in json.dumps(retry)
    RAISE.clear()
    (found,) = api.RetrySet()
    found.retry()
    work_off()
    assert RAN == [(SECRET, 0)] * 2


def test_what_a_job_asks_of_itself_is_made_of_the_clear_arguments() -> None:
    seen = []

    class AskingJob(SealedJob):
        def perform(self, secret: Any, number: int = 0) -> None:
            seen.append((self.idempotency_key, self.payload.args))

    name = wire_name(AskingJob)
    one, two = sealed(SECRET, cls=AskingJob), sealed(SECRET, cls=AskingJob)
    for each in (one, two):
        assert run(each) is None
    key = idempotency_key(name, [SECRET])
    assert seen == [(key, one.args), (key, two.args)]


def test_the_wrong_number_of_arguments_is_told_without_them() -> None:
    dead = dead_of(run(sealed(SECRET, 1, SECRET)))
    assert dead["error_class"] == "InvalidArguments"
    assert SECRET not in json.dumps(dead)


def test_jobs_from_before_the_class_said_so_and_those_of_others_run_as_they_are() -> None:
    clear = {"class": wire_name(SealedJob), "args": [1], "jid": "1" * 24, "queue": "sealed"}
    for odd in ({}, {"encrypt": True}, {"encrypt": None}, {"encrypt": 7}, {"encrypt": ["x"]}):
        assert run(Payload({**clear, **odd})) is None
    assert RAN == [(1, 0)] * 5


def test_a_class_that_says_so_no_more_still_reads_what_was_encrypted() -> None:
    assert run(sealed(SECRET, cls=OpenJob)) is None
    assert RAN == [SECRET]


def test_with_signatures_too_what_is_signed_is_what_stands_in_redis(
    jobqueue_settings: JobqueueSettings, inside: Inside
) -> None:
    jobqueue_settings(ENCRYPTION_KEYS=[NEW], SIGNING_KEYS=["a long secret " * 4])
    SealedJob.perform_async(SECRET)
    (job,) = inside.jobs("sealed")
    assert {"encrypt", "sig"} <= job.keys()
    work_off()
    assert RAN == [(SECRET, 0)]
    dead = dead_of(run(Payload({**job, "args": sealed(SECRET).args})))
    assert dead["error_class"] == "BadSignature"


# Keys ----------------------------------------------------------------------------------


def test_keys_are_rotated_without_a_gap(jobqueue_settings: JobqueueSettings) -> None:
    jobqueue_settings(ENCRYPTION_KEYS=[OLD])
    before = sealed(SECRET)
    jobqueue_settings(ENCRYPTION_KEYS=[NEW, OLD])
    after = sealed(SECRET)
    assert before.fields["encrypt"] != after.fields["encrypt"]
    assert [run(before), run(after)] == [None, None]


@pytest.mark.parametrize("keys", [[], [OLD]])
def test_a_key_that_is_not_here_yet_is_waited_for_and_then_the_job_is_dead(
    jobqueue_settings: JobqueueSettings, keys: list[str]
) -> None:
    made = sealed(SECRET)
    jobqueue_settings(ENCRYPTION_KEYS=keys)
    outcome = run(made)
    assert outcome is not None
    assert outcome.verb == SNOOZE
    waiting = Payload.decode(outcome.raw)
    assert waiting.fields["error_class"] == "UnknownKey"
    assert waiting.retry_count is None
    jobqueue_settings(ENCRYPTION_KEYS=keys, UNKNOWN_JOB_RETRY_FOR=0)
    dead = dead_of(run(waiting))
    assert dead["error_class"] == "UnknownKey"
    assert made.fields["encrypt"] in dead["error_message"]
    assert dead["args"] == made.args
    jobqueue_settings(ENCRYPTION_KEYS=[NEW])
    assert run(Payload(dead)) is None
    assert RAN == [(SECRET, 0)]


@pytest.mark.parametrize(
    "args",
    [[], [1], [None], [""], ["x"], ["\ud800"], ["gAAAAA=="], [[]], ["a", "b"], [{"a": 1}]],
    ids=repr,
)
def test_what_was_not_encrypted_with_the_key_is_dead_at_once(args: list[Any]) -> None:
    dead = dead_of(run(sealed(SECRET).replace(args=args)))
    assert dead["error_class"] == "DecryptionFailed"
    assert dead["args"] == args
    assert RAN == []


def test_a_bit_that_was_changed_is_found() -> None:
    made = sealed(SECRET)
    token = made.args[0]
    changed = token[:40] + ("A" if token[40] != "A" else "B") + token[41:]
    assert dead_of(run(made.replace(args=[changed])))["error_class"] == "DecryptionFailed"


@pytest.mark.parametrize("field", ["jid", "class"])
def test_encrypted_arguments_cannot_be_given_to_another_job(field: str) -> None:
    # Else a class that shows what it gets, in a mail or a log, would show anybody's secrets.
    other = {"jid": "2" * 24, "class": wire_name(OpenJob)}[field]
    dead = dead_of(run(sealed(SECRET).replace(**{field: other})))
    assert (dead["error_class"], RAN) == ("DecryptionFailed", [])
    assert "those of another job" in dead["error_message"]


@pytest.mark.parametrize("call", [SealedJob.perform_async, SealedOnceJob.perform_async])
def test_without_keys_a_push_is_refused_and_nothing_written(
    jobqueue_settings: JobqueueSettings, inside: Inside, call: Any
) -> None:
    jobqueue_settings()
    with pytest.raises(ImproperlyConfigured, match=r"ENCRYPTION_KEYS.* is not set.*Fernet"):
        call(SECRET)
    assert inside.names() == set()


@pytest.fixture
def no_cryptography(monkeypatch: pytest.MonkeyPatch) -> None:
    """The library is not installed."""
    encryption._made.cache_clear()
    real, find = builtins.__import__, importlib.util.find_spec

    def refuse(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.partition(".")[0] == "cryptography":
            raise ModuleNotFoundError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", refuse)
    monkeypatch.setattr(
        encryption, "find_spec", lambda name: None if name == "cryptography" else find(name)
    )


@pytest.mark.usefixtures("no_cryptography")
def test_without_the_library_a_push_tells_what_to_install(inside: Inside) -> None:
    with pytest.raises(ImproperlyConfigured, match=r"django-jobqueue\[encryption\]"):
        SealedJob.perform_async(SECRET)
    assert inside.names() == set()
    with pytest.raises(BootError, match=r"django-jobqueue\[encryption\]"):
        check_keys(get_settings())


def test_a_worker_that_could_read_nothing_does_not_start(
    jobqueue_settings: JobqueueSettings,
) -> None:
    check_keys(get_settings())
    jobqueue_settings()
    with pytest.raises(BootError, match=rf"ENCRYPTION_KEYS.*{SealedJob.__qualname__}"):
        check_keys(get_settings())


def test_nobody_who_encrypts_nothing_imports_the_library() -> None:
    program = (
        "import sys; from django.conf import settings; settings.configure(JOBQUEUE={'OUTLET': "
        "'fake'}, INSTALLED_APPS=['django_jobqueue']); import django; django.setup(); "
        "import django_jobqueue.encryption, django_jobqueue.worker.executor; "
        "print('cryptography.fernet' in sys.modules)"
    )
    assert _printed(program) == "False"


def _printed(program: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


# Locks ---------------------------------------------------------------------------------


def test_the_lock_of_a_unique_job_does_not_let_anybody_try_what_its_arguments_are(
    inside: Inside,
) -> None:
    assert SealedOnceJob.perform_async("1234") is not None
    assert SealedOnceJob.perform_async("1234") is None
    assert SealedOnceJob.perform_async("4321") is not None
    assert SealedKeyJob.perform_async("1234", "a") is not None
    assert SealedKeyJob.perform_async("1234", "b") is None
    told = repr([inside.names(), inside.jobs("sealed")])
    for name in (wire_name(SealedOnceJob), wire_name(SealedKeyJob)):
        assert digest(name, ["1234"]) not in told
    work_off()
    assert SealedOnceJob.perform_async("1234") is not None


def test_a_reconciler_knows_the_work_of_an_encrypted_job_again(
    jobqueue_settings: JobqueueSettings,
) -> None:
    draft = Payload({"class": wire_name(SealedJob), "args": [7], "jid": "9", "encrypt": True})
    assert mark(sealed(7)) == mark(draft) != mark(sealed(8))
    assert mark(draft) != digest(wire_name(SealedJob), [7])
    found = sealed(7)
    # Where the key is not, it is nobody's work, and no error.
    jobqueue_settings()
    assert mark(found) == digest(found.job_class, found.args)


# What is shown -------------------------------------------------------------------------


def test_nothing_that_is_shown_of_an_encrypted_job_has_its_arguments() -> None:
    made = sealed(SECRET, 7)
    record = api.JobRecord(made.encode())
    assert redact_args(record) == [ENCRYPTED]
    assert shown_args(record) == f'"{ENCRYPTED}"'
    assert redact_fields(record)["args"] == [ENCRYPTED]
    assert made.args[0] not in repr(redact_fields(record))
    assert facts_of(record, with_args=True).args == [ENCRYPTED]


def test_a_clear_job_of_a_class_that_encrypts_shows_no_more() -> None:
    clear = Payload({"class": wire_name(SealedJob), "args": [SECRET, 7], "jid": "1"})
    assert redact_args(clear) == [REDACTED, REDACTED]


def test_no_search_finds_an_encrypted_job_by_its_arguments() -> None:
    made = sealed(SECRET)
    record = api.JobRecord(made.encode())
    assert not api.Filter(text=SECRET).matches(record)
    token = api.Filter(text=made.args[0][10:30])
    assert token.matches(record)
    assert not holds_as_shown(record, token)
    assert holds_as_shown(record, api.Filter(text="SealedJob"))


#: Errors that repeat what the job was given.
TELLTALES = [
    ValueError(f"cannot log in with {SECRET}"),
    KeyError(SECRET),
    OSError(2, SECRET, SECRET),
    UnicodeDecodeError("ascii", SECRET.encode(), 0, 1, SECRET),
    ExceptionGroup(SECRET, [ValueError(SECRET)]),
    Discard(f"no use for {SECRET}"),
    SystemExit(SECRET),
]


@pytest.mark.parametrize("error", TELLTALES, ids=lambda error: type(error).__name__)
def test_an_error_that_repeats_an_argument_is_stored_and_logged_without_it(
    error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    RAISE.append(error)
    with caplog.at_level(logging.DEBUG):
        outcome = run(sealed({"nested": [SECRET]}))
    assert len(RAN) == 1
    assert outcome is not None
    assert SECRET.encode() not in outcome.raw
    assert caplog.records
    formatted = [f(record) for record in caplog.records for f in (
        logging.Formatter().format, JsonFormatter().format,
    )]  # fmt: skip
    assert SECRET not in "\n".join(formatted)
    # Collectors of errors send the variables of all frames: those hold the arguments.
    assert all(record.exc_info is None for record in caplog.records)


def test_the_type_and_the_place_of_such_an_error_are_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    RAISE.append(ValueError(f"cannot log in with {SECRET} at example.org"))
    outcome = run(sealed(SECRET, backtrace=True))
    assert outcome is not None
    failed = Payload.decode(outcome.raw).fields
    assert failed["error_class"] == "ValueError"
    assert failed["error_message"] == f"cannot log in with {REDACTED} at example.org"
    assert "in perform" in caplog.text
    assert "in perform" in "\n".join(api.JobRecord(outcome.raw).error_backtrace)


def test_an_async_job_tells_no_more(caplog: pytest.LogCaptureFixture) -> None:
    executor = Executor(get_settings(), stopping=lambda: False)
    outcome = asyncio.run(executor.run_async(sealed(SECRET, cls=SealedAsyncJob).encode(), "sealed"))
    assert RAN == [SECRET]
    assert outcome is not None
    assert SECRET.encode() not in outcome.raw
    assert SECRET not in caplog.text


def test_what_another_job_says_is_told_as_before(caplog: pytest.LogCaptureFixture) -> None:
    RAISE.append(Snooze(1))
    run(sealed(SECRET))
    RAISE[:] = [ValueError(f"cannot log in with {SECRET}")]
    clear = Payload({"class": wire_name(SealedJob), "args": [SECRET], "jid": "1"})
    outcome = run(clear)
    assert outcome is not None
    assert SECRET in Payload.decode(outcome.raw).fields["error_message"]


def test_the_hook_of_a_poison_pill_has_the_clear_arguments_and_tells_none(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class MournedSealedJob(SealedJob):
        def perform(self, secret: Any, number: int = 0) -> None:
            """Do nothing."""

        def on_exhausted(self, error: BaseException) -> None:
            RAN.append(self.arguments)
            raise ValueError(f"cannot mourn {SECRET}")

    tell_of_poison(sealed(SECRET, 7, cls=MournedSealedJob, crashes=3))
    assert RAN == [[SECRET, 7]]
    assert "on_exhausted failed" in caplog.text
    assert SECRET not in caplog.text


# Tests of a project ----------------------------------------------------------------------


def test_a_box_shows_a_test_what_was_enqueued() -> None:
    with fake_jobs() as box:
        SealedJob.perform_async(SECRET, 7)
        box.assert_enqueued(SealedJob, args=[SECRET, 7])
        assert box.args_of(SealedJob) == [[SECRET, 7]]
        with pytest.raises(AssertionError, match=SECRET):
            box.assert_enqueued(SealedJob, args=[1])
        assert SECRET.encode() not in box.entries[0].raw
        assert box.drain() == 1
    assert RAN == [(SECRET, 7)]


def test_a_job_that_runs_at_once_has_its_arguments() -> None:
    with inline_jobs():
        SealedJob.perform_async(SECRET, 7)
    assert SealedJob.perform_inline(SECRET, 8) == 8
    assert RAN == [(SECRET, 7), (SECRET, 8)]


def test_a_job_that_runs_here_needs_no_keys(jobqueue_settings: JobqueueSettings) -> None:
    jobqueue_settings()
    assert SealedJob.perform_inline(SECRET, 8) == 8


def test_a_held_job_stays_encrypted(inside: Inside) -> None:
    SealedJob.perform_async(SECRET)
    with disable_job(SealedJob):
        work_off()
    held, _ = inside.entry(f"jq:held:{wire_name(SealedJob)}")
    assert SECRET not in json.dumps(held)
    assert store().held.classes() == {wire_name(SealedJob): 1}
    api.HeldSet(SealedJob).release_all()
    work_off()
    assert RAN == [(SECRET, 0)]


def test_a_worker_process_reads_what_was_encrypted_and_shows_it_to_nobody(site: Site) -> None:
    worker = site.run_ready("--verbosity", "3", ENCRYPTION_KEYS=[OLD, NEW])
    site.push_all(
        [
            sealed_payload(NoopJob, SECRET),
            sealed_payload(FailJob, f"{SECRET}-failed", "ValueError"),
        ]
    )
    site.await_finished(SECRET)
    wait_until(lambda: site.entries("retry"), SOON, "the retry")
    (retry,) = site.entries("retry")
    assert retry.encrypted_with is not None
    assert SECRET not in json.dumps(retry.fields)
    everything = repr([site.redis.dump(key) for key in site.redis.scan_iter(f"{site.prefix}*")])
    assert SECRET not in everything
    assert SECRET not in worker.output()
    assert site.journal.starts[f"{SECRET}-failed"] == 1


def sealed_payload(cls: type[Job], *args: Any) -> Payload:
    """Return a job for a worker process, encrypted."""
    return encryption.encrypted(payload(cls, *args, encrypt=True))
