"""Signed jobs: nobody without a key can make one, or change what one does."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from django_jobqueue import Job, Payload, api, signing
from django_jobqueue.client.middleware import Push
from django_jobqueue.conf import get_settings
from django_jobqueue.connection import store
from django_jobqueue.exceptions import ArgumentNotSerializable
from django_jobqueue.job.declaration import wire_name
from django_jobqueue.scheduling.poller import Poller
from django_jobqueue.signals import job_died
from django_jobqueue.signing import Signer, carried, signer
from django_jobqueue.store.claims import BURY, RETRY
from django_jobqueue.testing import work_off
from django_jobqueue.worker.chores import tell_of_poison
from django_jobqueue.worker.executor import Executor
from django_jobqueue.worker.outcome import Outcome
from tests.acceptance.site import Site, payload
from tests.conftest import JobqueueSettings
from tests.jobsite.jobs import NoopJob
from tests.support.inside import Inside

OLD, NEW, STRANGE = ("old secret " * 4, "new secret " * 4, "strange secret " * 3)

#: What the jobs here were given.
RAN: list[Any] = []


class SignedJob(Job):
    """Notes its arguments; fails where it is told to, and is then retried elsewhere."""

    queue = "signed"
    retry_queue = "signed-again"
    self_healing = False

    def perform(self, *args: Any) -> None:
        """Do it."""
        RAN.append(list(args))
        if args[:1] == ("fail",):
            raise ValueError("as told")

    def on_exhausted(self, error: BaseException) -> None:
        """Note what it knows."""
        RAN.append(("exhausted", self.payload.args, type(error).__name__))


class SignedOnceJob(Job):
    """Is unique."""

    queue = "signed"
    unique_for = 60
    self_healing = False

    def perform(self, number: int) -> None:
        """Note it."""
        RAN.append(number)


class SignedAsyncJob(Job):
    """Runs on an event loop."""

    queue = "signed"
    self_healing = False

    async def perform(self, number: int) -> None:
        """Note it."""
        RAN.append(number)


class TenantContext:
    """Client middleware: lets a context travel that JSON has not quite."""

    def __init__(self, push: Push) -> None:
        self._push = push

    def __call__(self, payload: Payload) -> Payload | None:
        context = {**payload.context, "tenant": {10: "x", 9: ("y",)}}
        return self._push(payload.replace(cattr=context))


class Mover:
    """Client middleware: sends what is asked again to another queue."""

    def __init__(self, push: Push) -> None:
        self._push = push

    def __call__(self, payload: Payload) -> Payload | None:
        is_due = "enqueued_at" not in payload.fields or payload.retry_count is not None
        return self._push(payload.replace(queue="elsewhere") if is_due else payload)


class Unwritable:
    """Client middleware: puts into a job what no JSON has."""

    def __init__(self, push: Push) -> None:
        self._push = push

    def __call__(self, payload: Payload) -> Payload | None:
        return self._push(payload.replace(cattr={"tags": {1, 2}}))


@pytest.fixture(autouse=True)
def _configured(jobqueue_settings: JobqueueSettings, freshened: list[str]) -> None:
    RAN.clear()
    jobqueue_settings(SIGNING_KEYS=[NEW, OLD])


Run = Callable[..., Outcome | None]


def run(payload: Payload | bytes, queue: str = "signed") -> Outcome | None:
    """Run a job as a worker does that has found it in a queue."""
    raw = payload if isinstance(payload, bytes) else payload.encode()
    return Executor(get_settings(), stopping=lambda: False).run(raw, queue)


def signed(
    *args: Any, keys: tuple[str, ...] = (NEW,), cls: type[Job] = SignedJob, **fields: Any
) -> Payload:
    """Return a job that was signed with a key."""
    made = {"class": wire_name(cls), "args": list(args), "jid": "1" * 24, "queue": "signed"}
    return Signer([key.encode() for key in keys]).sign(Payload({**made, **fields}))


def fault_of(payload: Payload, queue: str = "signed") -> str:
    """Return what is said of a signature."""
    ours = signer()
    assert ours is not None
    fault = ours.fault(payload, queue)
    return "" if fault is None else fault.problem


def assert_refused(outcome: Outcome | None, problem: str) -> Payload:
    """Assert that a job was buried for its signature and not run; return the dead entry."""
    assert outcome is not None
    assert outcome.verb == BURY
    dead = Payload.decode(outcome.raw)
    assert dead.fields["error_class"] == "BadSignature"
    assert problem in dead.fields["error_message"]
    assert RAN == []
    return dead


def lay(inside: Inside, *entries: bytes) -> None:
    """Put bytes into the queue as a stranger would."""
    inside.client.sadd(inside.key("queues"), "signed")
    inside.client.lpush(inside.key("queue:signed"), *entries)


# What is signed ------------------------------------------------------------------------


def test_what_was_signed_runs(inside: Inside) -> None:
    SignedJob.perform_async(1, {"b": [1.0, True, None], "a": "ä😀"})
    assert work_off() == 1
    assert RAN == [[1, {"b": [1.0, True, None], "a": "ä😀"}]]
    assert inside.entries("dead") == []


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("args", [2]),
        ("args", [True]),
        ("args", [1.0]),
        ("args", ["1"]),
        ("args", [1, None]),
        ("args", []),
        ("class", wire_name(SignedOnceJob)),
        ("class", "os.system"),
        ("jid", "2" * 24),
        ("queue", "other"),
        ("cattr", {"tenant": 2}),
        ("cattr", None),
        ("encrypt", "0123456789abcdef"),
        ("bypass_kill_switch", True),
    ],
)
def test_a_change_of_what_a_job_does_is_found_and_nothing_is_run(field: str, value: Any) -> None:
    made = signed(1, cattr={"tenant": 1})
    assert fault_of(made) == ""
    changed = made.replace(**{field: value})
    # What stands in its own queue field is none of the worker's business: it looks where it is.
    queue = "other" if field == "queue" else "signed"
    assert fault_of(changed, queue) != ""
    dead = assert_refused(run(changed, queue), "signature")
    kept = {name: value for name, value in dead.fields.items() if name in changed.fields}
    assert kept == changed.fields


def test_a_job_is_signed_for_its_queue_and_says_so() -> None:
    dead = assert_refused(run(signed(1), "urgent"), "for the queue 'signed', not for 'urgent'")
    # So a retry of the operator takes it to where it belongs.
    assert dead.queue == "signed"
    assert run(dead) is None
    assert RAN == [[1]]


@pytest.mark.parametrize(
    "changes",
    [
        {"retry_count": 3, "failed_at": 5, "error_class": "E", "error_message": "m"},
        {"enqueued_at": 7, "created_at": 7.5, "crashes": 1, "held_from": "queue", "held_at": 1},
        {"retry": 3, "dead": False, "tags": ["x"], "unknown": {"a": 1}},
    ],
)
def test_what_a_job_goes_through_on_its_way_is_not_signed(changes: dict[str, Any]) -> None:
    assert fault_of(signed(1).replace(**changes)) == ""


def test_the_same_job_written_otherwise_is_the_same_job() -> None:
    made = signed({"b": 1e16, "a": 12345678901234567890, "ä": "é"}, cattr={"z": 1, "y": 2})
    shuffled = dict(reversed(list(made.fields.items())))
    shuffled["args"] = [{"ä": "é", "a": 12345678901234567890, "b": 10000000000000000.0}]
    assert run(json.dumps(shuffled, indent=1).encode()) is None
    assert len(RAN) == 1


@pytest.mark.parametrize(
    ("told", "problem"),
    [
        (None, "it has none"),
        (7, "it is no text"),
        ({"a": 1}, "it is no text"),
        ("", "a key that"),
        (".", "a key that"),
        ("0" * 16, "a key that"),
        ("x" * 100_000, "a key that"),
        ("\ud800.\ud800", "a key that"),
        ("{id}", "not that of"),
        ("{id}.", "not that of"),
        ("{id}." + "0" * 64, "not that of"),
        ("{id}.\ud800é", "not that of"),
        ("{ID}.{mac}", "a key that"),
        ("{id}.{MAC}", "not that of"),
        ("{id}.{mac} ", "not that of"),
    ],
)
def test_what_is_no_signature_is_refused(told: Any, problem: str) -> None:
    made = signed(1)
    name, mac = made.fields["sig"].split(".")
    if isinstance(told, str):
        for old, new in {
            "{id}": name, "{mac}": mac, "{ID}": name[::-1], "{MAC}": mac.upper(),
        }.items():  # fmt: skip
            told = told.replace(old, new)
    assert_refused(run(Payload({**made.fields, "sig": told})), problem)


def test_what_is_told_of_a_bad_signature_is_not_made_by_its_writer() -> None:
    dead = assert_refused(run(signed(1).replace(sig="secret\n\x1b[2J.x")), "a key that")
    assert "secret" not in dead.fields["error_message"]


def test_a_replay_of_a_signed_job_runs_again() -> None:
    # What a signature is not: see the manual. A unique job, or a row that is claimed, minds.
    raw = signed(1).encode()
    assert [run(raw), run(raw)] == [None, None]
    assert RAN == [[1], [1]]


def test_a_context_is_signed_as_it_will_be_read(jobqueue_settings: JobqueueSettings) -> None:
    jobqueue_settings(
        SIGNING_KEYS=[NEW], CLIENT_MIDDLEWARE=[f"{__name__}.{TenantContext.__qualname__}"]
    )
    SignedJob.perform_async(1)
    assert work_off() == 1
    assert RAN == [[1]]


def test_what_cannot_be_written_is_told_as_it_is_without_keys(
    jobqueue_settings: JobqueueSettings, inside: Inside
) -> None:
    jobqueue_settings(
        SIGNING_KEYS=[NEW], CLIENT_MIDDLEWARE=[f"{__name__}.{Unwritable.__qualname__}"]
    )
    with pytest.raises(ArgumentNotSerializable, match="cannot be written as JSON"):
        SignedJob.perform_async(1)
    with pytest.raises(ArgumentNotSerializable, match=r"args\[0\] is a set"):
        SignedJob.perform_async({1})
    assert inside.raw("signed") == []


# Keys ----------------------------------------------------------------------------------


def test_the_first_key_signs_and_every_key_is_known(jobqueue_settings: JobqueueSettings) -> None:
    assert fault_of(signed(1, keys=(OLD,))) == ""
    assert fault_of(signed(1, keys=(NEW, OLD))) == ""
    assert signed(1, keys=(NEW, OLD)).fields["sig"] == signed(1, keys=(NEW,)).fields["sig"]
    assert "a key that" in fault_of(signed(1, keys=(STRANGE,)))
    jobqueue_settings(SIGNING_KEYS=[NEW])
    assert "a key that" in fault_of(signed(1, keys=(OLD,)))


def test_no_secret_stands_in_a_payload() -> None:
    text = signed(1).encode()
    assert NEW.encode() not in text
    assert NEW.encode().hex().encode() not in text


def test_without_keys_nothing_is_signed_and_nothing_asked(
    jobqueue_settings: JobqueueSettings, monkeypatch: pytest.MonkeyPatch, inside: Inside
) -> None:
    jobqueue_settings()
    monkeypatch.setattr(signing, "_mac", lambda *args: pytest.fail("something was computed"))
    monkeypatch.setattr(signing, "_signed", lambda *args: pytest.fail("something was computed"))
    SignedJob.perform_async("fail")
    assert "sig" not in inside.jobs("signed")[0]
    work_off()
    assert run(Payload({**signed_fields(), "sig": "junk"})) is None
    assert len(RAN) == 2


def signed_fields() -> dict[str, Any]:
    """Return a job without a signature."""
    return {"class": wire_name(SignedJob), "args": [1], "jid": "3" * 24, "queue": "signed"}


def test_during_a_rollout_jobs_without_a_signature_may_pass_and_wrong_ones_not(
    jobqueue_settings: JobqueueSettings,
) -> None:
    jobqueue_settings(SIGNING_KEYS=[NEW], SIGNING_REQUIRED=False)
    assert_refused(run(signed(1).replace(args=[2])), "not that of")
    assert run(Payload(signed_fields())) is None
    # Nobody signs for a stranger on the way: with the rollout's end such a job is refused.
    outcome = run(Payload({**signed_fields(), "args": ["fail"]}))
    assert outcome is not None
    assert "sig" not in Payload.decode(outcome.raw).fields


# Moves ---------------------------------------------------------------------------------


def test_a_retry_in_another_queue_is_signed_for_it(inside: Inside) -> None:
    SignedJob.perform_async("fail")
    work_off()
    retry, _ = inside.entry("retry")
    assert retry["queue"] == "signed-again"
    assert fault_of(Payload(retry), "signed-again") == ""
    assert fault_of(Payload(retry), "signed") != ""


def test_a_retry_of_what_was_not_signed_stays_so() -> None:
    unsigned = Payload(signed_fields())
    wrong = signed(1).replace(args=[2])
    for each in (unsigned, wrong):
        moved = each.replace(queue="signed-again")
        assert carried(each, moved) is moved


@pytest.mark.parametrize("place", ["schedule", "retry"])
def test_middleware_may_change_a_signed_job_that_comes_due(
    jobqueue_settings: JobqueueSettings, inside: Inside, place: str
) -> None:
    jobqueue_settings(SIGNING_KEYS=[NEW], CLIENT_MIDDLEWARE=[f"{__name__}.{Mover.__qualname__}"])
    fields: dict[str, Any] = {"retry_count": 0} if place == "retry" else {}
    inside.put(place, signed(1, **fields).encode(), 1)
    forged = signed(6, **fields).replace(args=[7], jid="7" * 24)
    inside.put(place, forged.encode(), 1)
    Poller(store(), "host:1:a", Mover(lambda payload: payload)).promote_due()
    assert work_off() == 2
    assert RAN == [[1]]
    dead, _ = inside.entry("dead")
    assert (dead["error_class"], dead["args"]) == ("BadSignature", [7])


def test_an_operators_retry_signs_nothing_that_was_not_signed(inside: Inside) -> None:
    lay(inside, Payload(signed_fields()).encode())
    work_off()
    for _ in range(2):
        (entry,) = api.DeadSet()
        assert entry.error_class == "BadSignature"
        assert entry.retry()
        work_off()
    assert RAN == []


def test_an_operators_retry_runs_what_lacked_a_key_here(
    jobqueue_settings: JobqueueSettings, inside: Inside
) -> None:
    jobqueue_settings(SIGNING_KEYS=[OLD])
    lay(inside, signed(1).encode())
    work_off()
    assert RAN == []
    jobqueue_settings(SIGNING_KEYS=[OLD, NEW])
    (entry,) = api.DeadSet()
    entry.retry()
    work_off()
    assert RAN == [[1]]


def test_a_unique_job_that_is_refused_gives_its_lock_up(inside: Inside) -> None:
    SignedOnceJob.perform_async(1)
    assert SignedOnceJob.perform_async(1) is None
    (raw,) = inside.raw("signed")
    inside.client.delete(inside.key("queue:signed"))
    lay(inside, raw.replace(b'"args":[1]', b'"args":[2]'))
    work_off()
    assert RAN == []
    assert SignedOnceJob.perform_async(1) is not None


def test_receivers_hear_of_a_refused_job_and_no_hook_of_its_class_is_called() -> None:
    heard: list[Any] = []

    def receive(sender: Any, payload: Payload, error: BaseException, **_: Any) -> None:
        heard.append((sender, payload.jid, type(error).__name__))

    job_died.connect(receive)
    try:
        run(Payload(signed_fields()))
    finally:
        job_died.disconnect(receive)
    assert heard == [(None, "3" * 24, "BadSignature")]


def test_no_hook_mourns_a_poison_pill_that_was_not_signed() -> None:
    # Whoever can write claims of a process that never was could have any hook called.
    tell_of_poison(signed(1, crashes=3))
    assert RAN == [("exhausted", [1], "PoisonPill")]
    RAN.clear()
    tell_of_poison(signed(1, crashes=3).replace(args=[2]))
    assert RAN == []


def test_a_job_on_the_event_loop_is_asked_too() -> None:
    made = signed(1, cls=SignedAsyncJob)
    executor = Executor(get_settings(), stopping=lambda: False)
    forged = made.replace(args=[2]).encode()
    assert_refused(asyncio.run(executor.run_async(forged, "signed")), "not that")
    assert asyncio.run(executor.run_async(made.encode(), "signed")) is None
    assert RAN == [1]


def test_a_page_of_jobs_is_signed_one_by_one() -> None:
    SignedJob.perform_bulk([(n,) for n in range(20)])
    assert work_off() == 20
    assert sorted(RAN) == [[n] for n in range(20)]


def test_a_job_that_fails_keeps_its_signature(inside: Inside) -> None:
    outcome = run(signed("fail"))
    assert outcome is not None
    assert outcome.verb == RETRY
    assert fault_of(Payload.decode(outcome.raw), "signed") == ""


def test_a_worker_process_runs_what_was_signed_and_buries_the_rest(site: Site) -> None:
    worker = site.run_ready(SIGNING_KEYS=[OLD, NEW])
    good, other = (
        Signer([key.encode()]).sign(payload(NoopJob, name))
        for key, name in ((OLD, "good"), (NEW, "other"))
    )
    strange = Signer([STRANGE.encode()]).sign(payload(NoopJob, "strange"))
    forged = good.replace(args=["forged"])
    site.push_all([forged, payload(NoopJob, "unsigned"), strange, good, other])
    site.await_finished("good", "other")
    site.await_settled()
    assert site.journal.starts.keys() == {"good", "other"}
    dead = site.entries("dead")
    assert sorted(each.args[0] for each in dead) == ["forged", "strange", "unsigned"]
    assert {each.fields["error_class"] for each in dead} == {"BadSignature"}
    assert OLD not in worker.output()
