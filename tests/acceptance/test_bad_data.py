"""Whatever lies in a queue, it runs or it dies with its bytes kept, and the worker goes on."""

from __future__ import annotations

import itertools
import json
import pickle
import random
import sys
import textwrap
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from django_jobqueue.conf import get_settings
from django_jobqueue.exceptions import InvalidPayload
from django_jobqueue.job.declaration import wire_name
from django_jobqueue.payload import Payload, new_jid, stamp, unwrap_invalid
from django_jobqueue.scheduling.recovery import CrashPolicy
from django_jobqueue.store.claims import BURY, Claim
from django_jobqueue.store.keys import Field
from django_jobqueue.worker.executor import Executor
from tests.acceptance.site import SOON, Site, payload
from tests.conftest import JobqueueSettings
from tests.jobsite.jobs import FailJob, NoopJob, SleepJob, WaitJob
from tests.support.imports import ImportSpy, spied_imports
from tests.support.journal import Journal
from tests.support.polling import wait_until
from tests.support.server import RedisServer

#: A module that tells when it is imported or called: its file appears.
CANARY = """
import pathlib

def touch(*args):
    pathlib.Path(__file__).with_name("sung").touch()

touch()
"""

#: Bytes of a payload that nobody should push.
HUGE = 10_000_000

#: The longest line that a payload may make a worker log, whatever it holds.
LONGEST_LINE = 5_000

#: Payloads of the run through a real worker, and its seed.
FUZZED, SEED = 1_000, 20_240_229


@pytest.fixture(scope="module")
def canary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of modules for the worker; ``sung`` appears in it when something was executed."""
    folder = tmp_path_factory.mktemp("canary")
    (folder / "canary.py").write_text(CANARY)
    return folder / "sung"


@pytest.fixture(scope="module")
def standing(
    redis_server: RedisServer, canary: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    """One worker process for all tests that use ``yard``; at its end it stops well."""
    with Site(redis_server, tmp_path_factory.mktemp("bad_data")) as made:
        worker = made.run_ready(
            "--concurrency",
            "5",
            env={"PYTHONPATH": str(canary.parent)},
            UNKNOWN_JOB_RETRY_FOR=0,
        )
        yield made
        worker.term()
        assert worker.wait() == 0
        assert made.held() == {}
        assert made.leftovers() == []


@pytest.fixture
def yard(standing: Site) -> Iterator[Site]:
    """
    The place of the standing worker, with empty sets.

    After each test a good job runs, in the same process, and no claim is left.
    """
    children = standing.workers[0].children()
    yield standing
    standing.push(NoopJob, ident := new_jid())
    standing.await_finished(ident)
    standing.await_settled()
    assert standing.workers[0].children() == children
    keys = standing.keys
    standing.redis.delete(keys.dead, keys.retry, keys.schedule)


def push_raw(site: Site, *entries: bytes, queue: str = "default") -> None:
    """Push bytes as another program would, without a look at them."""
    site.redis.lpush(site.keys.queue(queue), *entries)


def await_entries(site: Site, name: str, count: int = 1) -> list[Payload]:
    """Wait for entries in ``dead``, ``retry`` or ``schedule`` and return them."""

    def enough() -> list[Payload] | None:
        found = site.entries(name)
        return found if len(found) >= count else None

    return wait_until(
        enough, SOON, lambda: f"{count} in {name}: {site.output().splitlines()[-10:]}"
    )


def await_fate(site: Site) -> tuple[str, Payload]:
    """Wait until the one job of a test is in a set, and return which one and the entry."""

    def find() -> tuple[str, Payload] | None:
        for name in ("dead", "retry", "schedule"):
            if found := site.entries(name):
                return name, found[0]
        return None

    return wait_until(find, SOON, "the job to be in a set")


def dump(fields: Any) -> bytes:
    """Return JSON as anybody's encoder writes it: with spaces, and with ASCII only."""
    return json.dumps(fields).encode()


def job(**fields: Any) -> bytes:
    """Return a job as bytes that can hold anything, also nulls; ``...`` leaves a field out."""
    made = {"class": wire_name(NoopJob), "args": ["never"], "jid": new_jid(), **fields}
    return dump({name: value for name, value in made.items() if value is not ...})


# Bytes that are no job -----------------------------------------------------------------

#: What lies in the queue, by what is odd in it, and the beginning of what is said of it.
NO_JOBS: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "not JSON"),
    "a brace": (b"{", "not JSON"),
    "spaces": (b" \n\t", "not JSON"),
    "null": (b"null", "a JSON NoneType, not an object"),
    "an array": (b"[]", "a JSON list, not an object"),
    "a string": (b'"x"', "a JSON str, not an object"),
    "a number": (b"7", "a JSON int, not an object"),
    "true": (b"true", "a JSON bool, not an object"),
    "an empty object": (b"{}", "'class' is missing"),
    "single quotes": (b"{'class': 'x'}", "not JSON"),
    "a comma too many": (job()[:-1] + b",}", "not JSON"),
    "cut off": (job()[:-1], "not JSON"),
    "two jobs": (job() + job(), "not JSON"),
    "a byte order mark": (b"\xef\xbb\xbf" + job(), "not JSON"),
    "UTF-16": (job().decode().encode("utf-16"), "not UTF-8"),
    "UTF-16 without a mark": (job().decode().encode("utf-16-le"), "not JSON"),
    "Latin-1": ('{"class":"é"}'.encode("latin-1"), "not UTF-8"),
    "a surrogate in UTF-8": (b'{"class":"\xed\xa0\x80"}', "not UTF-8"),
    "a long form in UTF-8": (b'{"class":"\xc0\x80"}', "not UTF-8"),
    "a NUL": (b"\x00", "not JSON"),
    "a raw NUL in a string": (b'{"class":"a\x00b","args":[],"jid":"1"}', "not JSON"),
    "a raw newline in a string": (b'{"class":"a\nb","args":[],"jid":"1"}', "not JSON"),
    "NaN": (job(args=[float("nan")]), "not JSON (NaN is not JSON)"),
    "Infinity": (job(x=float("inf")), "not JSON (Infinity is not JSON)"),
    "-Infinity": (job(x=float("-inf")), "not JSON (-Infinity is not JSON)"),
    "1e999": (job()[:-1] + b',"x":1e999}', "not JSON (1e999 is beyond every float)"),
    "5,000 digits": (job()[:-1] + b',"x":' + b"7" * 5_000 + b"}", "not JSON"),
    "100,000 brackets": (b"[" * 100_000, "not JSON"),
    "100,000 brackets in args": (
        job()[:-1] + b',"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        "not JSON",
    ),
    "100,000 braces": (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "not JSON"),
    "no class": (job(**{"class": ...}), "'class' is missing"),
    "class null": (job(**{"class": None}), "'class' is missing"),
    "class empty": (job(**{"class": ""}), "'class' is of type str"),
    "class 7": (job(**{"class": 7}), "'class' is of type int"),
    "class array": (job(**{"class": [wire_name(NoopJob)]}), "'class' is of type list"),
    "no args": (job(args=...), "'args' is missing"),
    "args object": (job(args={"ident": "x"}), "'args' is of type dict"),
    "args string": (job(args="x"), "'args' is of type str"),
    "no jid": (job(jid=...), "'jid' is missing"),
    "jid int": (job(jid=7), "'jid' is of type int"),
    "jid empty": (job(jid=""), "'jid' is of type str"),
    "jid too long": (job(jid="x" * 65), "'jid' is of type str"),
    "a jid that is overwritten": (job()[:-1] + b',"jid":null}', "'jid' is missing"),
    "a gigabyte announced": (b"$1073741824\r\n" + b"x" * 100, "not JSON"),
    "a Redis command": (b"*1\r\n$8\r\nFLUSHALL\r\n", "not JSON"),
    "a pickle": (pickle.dumps({"class": "os.system"}), "not UTF-8"),
    "Marshal of Ruby": (b"\x04\x08{\x06:\x0aclassI", "not JSON"),
    "every byte": (bytes(range(256)) * 400, "not UTF-8"),
    "an escape sequence": (b"\x1b[2J\x1b[31mred\r\n2024-01-01 all is well", "not JSON"),
}


@pytest.mark.parametrize(("raw", "problem"), NO_JOBS.values(), ids=NO_JOBS)
def test_what_is_no_job_dies_with_its_bytes_and_can_be_pushed_again(
    yard: Site, raw: bytes, problem: str
) -> None:
    push_raw(yard, raw)
    (dead,) = await_entries(yard, "dead")
    assert dead.fields["error_class"] == "InvalidPayload"
    assert dead.fields["error_message"].startswith(f"Not a job: {problem}")
    assert dead.queue == "default"
    assert dead.time("failed_at") is not None
    kept = unwrap_invalid(dead)
    assert kept == raw
    yard.store.queues.push_raw(dead.queue, kept)
    assert [unwrap_invalid(each) for each in await_entries(yard, "dead", 2)] == [raw, raw]
    assert yard.store.sets.sizes()["retry"] == 0


@pytest.mark.parametrize("name", ["schedule", "retry"])
def test_what_is_no_job_in_a_set_dies_with_its_bytes_when_it_is_due(yard: Site, name: str) -> None:
    junk = [b"", b"null", b"\xff", b"[" * 100_000]
    key = {"schedule": yard.keys.schedule, "retry": yard.keys.retry}[name]
    yard.redis.zadd(key, {raw: float("-inf") for raw in junk})
    good = payload(NoopJob, ident := new_jid())
    yard.redis.zadd(key, {good.encode(): 1})
    yard.await_finished(ident)
    dead = await_entries(yard, "dead", len(junk))
    assert {unwrap_invalid(each) for each in dead} == set(junk)
    assert yard.redis.zcard(key) == 0


def test_no_line_of_the_log_is_made_by_a_payload(yard: Site) -> None:
    said = len(yard.output())
    marks = [f"{new_jid()}\n\x1b[2Jall is well", "\ud800\u2028", "y" * HUGE]
    push_raw(yard, *(job(**{"class": mark}) for mark in marks))
    push_raw(yard, *(job(jid=mark[-40:], args=["never", 2]) for mark in marks))
    push_raw(yard, *(mark.encode(errors="replace") for mark in marks))
    await_entries(yard, "dead", 9)
    lines = yard.output()[said:].splitlines()
    assert not any("\x1b" in line or line.startswith("all is well") for line in lines)
    assert max(map(len, lines)) < LONGEST_LINE
    assert "--- Logging error ---" not in lines


def test_the_log_of_a_stop_is_not_made_by_a_payload_either(site: Site, tmp_path: Path) -> None:
    worker = site.run_ready("--timeout", "0.1")
    path = str(tmp_path / "never")
    push_raw(site, job(**{"class": wire_name(WaitJob)}, args=["x", path], jid="a\x1b[2J"))
    site.await_started("x")
    worker.term()
    assert worker.wait() == 0
    assert worker.wait_for_line("requeued 1 running job").isprintable()
    assert "--- Logging error ---" not in worker.output()


def test_an_entry_that_only_looks_like_kept_bytes_keeps_none() -> None:
    for raw in ("é", "a", "not base64", "====", "\ud800"):
        assert unwrap_invalid(payload("InvalidPayload", raw=raw)) is None


# Names that are no job ------------------------------------------------------------------

#: Names that lead somewhere for whoever imports or looks up what he reads.
HOSTILE = [
    "os.system",
    "posix.system",
    "subprocess.run",
    "builtins.eval",
    "builtins.exec",
    "builtins.__import__",
    "eval",
    "__import__",
    "importlib.import_module",
    "django.core.management.call_command",
    "django.utils.module_loading.import_string",
    "canary",
    "canary.touch",
    "canary.Job",
    "this.s",
    "__class__",
    "__class__.__mro__",
    "__builtins__",
    "__main__",
    "__dict__",
    "tests.jobsite.jobs",
    "tests.jobsite.jobs.journal",
    "tests.jobsite.jobs._recurse",
    "tests.jobsite.jobs.FAILURES",
    "tests.jobsite.jobs.os.system",
    "tests.jobsite.jobs.UserAbort",
    "tests.jobsite.jobs.NoopJob.perform",
    "tests.jobsite.jobs.NoopJob.__init__",
    "tests.jobsite.jobs.NoopJob.__subclasses__",
    "tests.jobsite.jobs.NoopJob()",
    "tests.jobsite.jobs.NoopJob ",
    "tests.jobsite.jobs.NoopJob\x00",
    "tests.jobsite.jobs.noopjob",
    "tests.jobsite.jobs:NoopJob",
    "NoopJob",
    "Job",
    "django_jobqueue.Job",
    "django_jobqueue.job.base.Job",
    "InvalidPayload",
    "Sidekiq::ActiveJob::Wrapper",
    "../../../etc/passwd",
    "file:///etc/passwd",
    "\ud800",
    "😀",
    "%s%n",
    "{0.__class__}",
]


def names_and_arguments(sung: Path) -> Iterator[bytes]:
    """Yield each hostile name with arguments that would leave a file, if anybody called it."""
    for name, args in itertools.product(
        HOSTILE, ([f"touch {sung}"], [["touch", str(sung)]], [f"open({str(sung)!r}, 'w')"], [])
    ):
        yield job(**{"class": name}, args=args)


def test_a_name_that_is_no_job_is_never_imported_or_called(yard: Site, canary: Path) -> None:
    pushed = list(names_and_arguments(canary))
    push_raw(yard, *pushed)
    dead = await_entries(yard, "dead", len(pushed))
    told = {(each.job_class, each.fields["error_class"]) for each in dead}
    assert told == {(name, "UnknownJob") for name in HOSTILE}
    for each in dead:
        message = each.fields["error_message"]
        assert message.startswith(f"{each.job_class!r} is not a registered job: deploy the app")
    before = {each.jid: each.fields for each in map(Payload.decode, pushed)}
    after = {each.jid: each.fields for each in dead}
    assert before.keys() == after.keys()
    assert all(after[jid].items() >= fields.items() for jid, fields in before.items())
    assert not canary.exists()
    assert "Zen of Python" not in yard.output()


def test_a_canary_that_is_imported_would_have_been_heard(canary: Path) -> None:
    # The proof that the silence above means something.
    program = compile(CANARY, str(canary.with_name("canary.py")), "exec")
    exec(program, {"__file__": str(canary)})  # noqa: S102 - its own text
    assert canary.exists()
    canary.unlink()


def test_with_no_time_for_unknown_jobs_they_die_at_once_whatever_they_say(yard: Site) -> None:
    claims = [..., None, "now", -1, 0, stamp(), 253_402_300_799_000, 1e300, 10**300]
    push_raw(yard, *(job(**{"class": "not.here"}, unknown_since=each) for each in claims))
    dead = await_entries(yard, "dead", len(claims))
    assert {each.fields["error_class"] for each in dead} == {"UnknownJob"}
    assert yard.store.sets.sizes() == {"schedule": 0, "retry": 0, "dead": len(claims)}


def test_an_unknown_job_is_tried_again_until_its_time_is_up_and_then_dead(site: Site) -> None:
    site.run_ready(UNKNOWN_JOB_RETRY_FOR=2)
    pushed = site.push("not.here.yet", "x", retry=3, extra={"kept": True})
    (waiting,) = await_entries(site, "schedule")
    assert waiting.fields["error_class"] == "UnknownJob"
    assert waiting.retry_count is None
    (dead,) = await_entries(site, "dead")
    since, died = dead.time("unknown_since"), dead.time("failed_at")
    assert since is not None
    assert died is not None
    assert died - since >= 2 - 0.01
    assert since == waiting.time("unknown_since")
    assert dead.retry_count is None
    for name in ("class", "args", "jid", "queue", "retry", "extra", "created_at"):
        assert dead.fields[name] == pushed.fields[name]


def test_a_job_of_the_next_release_waits_for_a_worker_that_knows_it(
    site: Site, tmp_path: Path
) -> None:
    release = tmp_path / "release"
    (release / "newer").mkdir(parents=True)
    (release / "newer" / "__init__.py").touch()
    (release / "newer" / "jobs.py").write_text(
        textwrap.dedent("""
            from tests.jobsite.jobs import NoopJob

            class NewJob(NoopJob):
                pass
            """)
    )
    (release / "newer_settings.py").write_text(
        "from tests.jobsite.settings import *\nINSTALLED_APPS = [*INSTALLED_APPS, 'newer']\n"
    )
    old = site.run_ready()
    site.push("newer.jobs.NewJob", "young")
    minutes_ago = stamp(time.time() - 601)
    site.push("newer.jobs.NewJob", "late", unknown_since=minutes_ago)
    (dead,) = await_entries(site, "dead")
    (waiting,) = await_entries(site, "schedule")
    assert (waiting.args, dead.args) == (["young"], ["late"])
    old.term()
    assert old.wait() == 0

    site.run_ready(env={"DJANGO_SETTINGS_MODULE": "newer_settings", "PYTHONPATH": str(release)})
    push_raw(site, dead.encode())  # by an operator, as it stands there
    site.redis.zadd(site.keys.schedule, {waiting.encode(): 1}, xx=True)  # some seconds later
    site.await_finished("young", "late")
    site.await_settled()
    assert site.journal.starts == {"young": 1, "late": 1}


# Odd fields -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "fate"),
    [
        ({"queue": ...}, "retry"),
        ({"queue": None}, "retry"),
        ({"queue": 7}, "retry"),
        ({"queue": "a:b"}, "retry"),
        ({"queue": "\ud800"}, "retry"),
        ({"queue": "x" * 1024}, "retry"),
        ({"retry_queue": "two words"}, "retry"),
        ({"retry_queue": ["default"]}, "retry"),
        ({"retry": ...}, "retry"),
        ({"retry": None}, "retry"),
        ({"retry": "yes"}, "retry"),
        ({"retry": 2.5}, "retry"),
        ({"retry": {}}, "retry"),
        ({"retry": 10**300}, "retry"),
        ({"retry": 0}, "dead"),
        ({"retry": -5}, "dead"),
        ({"retry_for": "1 h"}, "retry"),
        ({"retry_for": -1}, "retry"),
        ({"retry_for": 10**400}, "retry"),
        ({"dead": "no", "retry": 0}, "dead"),
        ({"dead": None, "retry": 0}, "dead"),
        ({"backtrace": "all"}, "retry"),
        ({"backtrace": -1}, "retry"),
        ({"backtrace": 10**300}, "retry"),
        ({"tags": 7}, "retry"),
        ({"tags": [[], {}, None]}, "retry"),
        ({"cattr": "x"}, "retry"),
        ({"created_at": "yesterday"}, "retry"),
        ({"created_at": -(10**400)}, "retry"),
        ({"expires_in": "1"}, "retry"),
        ({"expires_in": -1}, "retry"),
        ({"expires_in": 10**400, "created_at": 0}, "retry"),
        ({"crashes": -2}, "retry"),
        ({"crashes": 99}, "retry"),
        ({"crashes": "often"}, "retry"),
        ({"crashed_at": []}, "retry"),
        ({"bid": "b-1", "unique_for": "x", "at": 0, "raw": "e30=", "__proto__": 1}, "retry"),
    ],
    ids=lambda value: str(value)[:40].encode(errors="replace").decode(),
)
def test_an_odd_field_has_its_default_and_stays_as_it_was(
    yard: Site, fields: dict[str, Any], fate: str
) -> None:
    raw = job(**{"class": wire_name(FailJob), "args": [new_jid(), "ValueError"], **fields})
    push_raw(yard, raw)
    found, entry = await_fate(yard)
    assert found == fate
    assert entry.queue == "default"
    assert entry.retry_count == 0
    assert entry.fields["error_class"] == "ValueError"
    # Tried again where it was found, whatever its field said.
    kept = {**json.loads(raw), "queue": "default"}
    assert {name: entry.fields[name] for name in kept} == kept
    # The traceback is only kept for a yes or a number of lines.
    assert ("error_backtrace" in entry.fields) == (fields.get("backtrace") == 10**300)


@pytest.mark.parametrize(
    ("fields", "fate", "count"),
    [
        ({"retry_count": -5}, "retry", 0),
        ({"retry_count": "3"}, "retry", 0),
        ({"retry_count": True}, "retry", 0),
        ({"retry_count": 1.5}, "retry", 0),
        ({"retry_count": 3}, "retry", 4),
        ({"retry_count": 3, "failed_at": "x", "retried_at": {}}, "retry", 4),
        ({"retry_count": 10**300}, "dead", 10**300 + 1),
        ({"retry_count": 10**300, "retry": 10**301}, "retry", 10**300 + 1),
        ({"retry_count": 0, "failed_at": 0, "retry_for": 1}, "dead", 1),
    ],
    ids=lambda value: str(value)[:40],
)
def test_an_odd_history_is_counted_from_its_default(
    yard: Site, fields: dict[str, Any], fate: str, count: int
) -> None:
    push_raw(yard, job(**{"class": wire_name(FailJob), "args": ["x", "ValueError"], **fields}))
    found, entry = await_fate(yard)
    assert (found, entry.retry_count) == (fate, count)
    assert entry.time("failed_at") is not None


def test_a_number_that_cannot_grow_any_more_ends_its_job_and_nothing_else(yard: Site) -> None:
    most = int("9" * sys.get_int_max_str_digits())
    raw = job(**{"class": wire_name(FailJob)}, args=["x", "ValueError"], retry_count=most)
    push_raw(yard, raw)
    (dead,) = await_entries(yard, "dead")
    assert unwrap_invalid(dead) == raw
    assert dead.fields["error_class"] == "ValueError"


def test_what_others_wrote_into_a_job_is_still_there_after_two_failures(yard: Site) -> None:
    extra = {
        "wrapped": "TheirJob",
        "": "no name",
        "ключ": ["значение", "\ud800", "\x00", 1.0, -0.0, 1e-7, 10**30, {"z": 1, "a": [None]}],
        "class ": "os.system",
    }
    raw = job(**{"class": wire_name(FailJob), "args": ["x", "ValueError"], **extra})
    push_raw(yard, raw)
    (once,) = await_entries(yard, "retry")
    yard.redis.zadd(yard.keys.retry, {once.encode(): 1}, xx=True)

    def failed_again() -> Payload | None:
        found = yard.entries("retry")
        return found[0] if found and found[0].retry_count == 1 else None

    twice = wait_until(failed_again, SOON, "the second failure")
    before = json.loads(raw)
    kept = {name: twice.fields[name] for name in before}
    # As text: 1 and 1.0, 0.0 and -0.0 would be equal.
    assert json.dumps(kept) == json.dumps(before)
    assert list(twice.fields)[: len(before)] == list(before)


@pytest.mark.parametrize(
    "text",
    ["", "\x00", "a\x00b", "😀👩\u200d👩\u200d👧", "\u202e\u05d0\u05d1\u202c", "\ud800",
     "\udfff\ud800",
     "\u2028\u2029\x85", "\ufeff", "\uffff", "\\u0000", "'\"`$(touch x)", "e\u0301", "ﬀ" * 10_000],
    ids=ascii,
)  # fmt: skip
@pytest.mark.parametrize("escaped", [True, False], ids=["escaped", "raw"])
def test_any_text_reaches_the_job_and_its_retry_exactly(
    yard: Site, text: str, escaped: bool
) -> None:
    made = payload(FailJob, "x", text)
    # The raw form is what we write ourselves: it escapes what UTF-8 cannot hold.
    push_raw(yard, dump(made.fields) if escaped else made.encode())
    (entry,) = await_entries(yard, "retry")
    assert entry.args == ["x", text]
    assert entry.fields["error_class"] == "KeyError"
    assert entry.fields["error_message"] == repr(text)[:10_000]


@pytest.mark.parametrize(
    "spell",
    [
        lambda ident: job(args=[ident]),
        lambda ident: b"\n\t " + job(args=[ident]) + b" \r\n",
        lambda ident: json.dumps(json.loads(job(args=[ident])), indent=8).encode(),
        lambda ident: b'{"class":"os.system","args":7,' + job(args=[ident])[1:],
        lambda ident: job(args=[ident]).replace(b"tests", b"\\u0074ests"),
        lambda ident: job(args=[ident], jid="x"),
        lambda ident: job(args=[ident], jid="x" * 64),
        lambda ident: job(args=[ident], jid="😀"),
        lambda ident: job(args=[ident], x=json.loads("[" * 500 + "]" * 500)),
        lambda ident: job(args=[ident], x=10**4_000),
        lambda ident: job(args=[ident], x="y" * HUGE),
        lambda ident: job(args=[ident], **{f"key{n}": n for n in range(100_000)}),
    ],
    ids=["plain", "spaces around", "indented", "duplicate keys", "escapes in the name",
         "a short jid", "a long jid", "an emoji for a jid", "500 brackets", "4,000 digits",
         "10 MB", "100,000 keys"],
)  # fmt: skip
def test_a_job_in_odd_bytes_is_a_job(yard: Site, spell: Callable[[str], bytes]) -> None:
    push_raw(yard, spell(ident := new_jid()))
    yard.await_finished(ident)
    yard.await_settled()
    assert yard.journal.finishes[ident] == 1
    assert not any(yard.store.sets.sizes().values())


@pytest.mark.parametrize(
    ("cls", "args", "words"),
    [
        (NoopJob, [], "missing a required argument: 'ident'"),
        (NoopJob, ["a", 2, 3], "too many positional arguments"),
        (SleepJob, ["a"], "missing a required argument: 'seconds'"),
        (NoopJob, [0] * 100_000, "too many positional arguments"),
    ],
    ids=["none", "three", "one", "100,000"],
)
def test_arguments_that_do_not_fit_kill_the_job_at_once(
    yard: Site, cls: type[NoopJob | SleepJob], args: list[Any], words: str
) -> None:
    raw = job(**{"class": wire_name(cls), "args": args, "retry": 25})
    started = yard.journal.starts.total()
    push_raw(yard, raw)
    (dead,) = await_entries(yard, "dead")
    assert dead.fields["error_class"] == "InvalidArguments"
    assert (
        f"{cls.__name__}.perform() cannot take these arguments: {words}"
        in (dead.fields["error_message"])
    )
    assert dead.retry_count is None
    assert dead.fields.items() >= json.loads(raw).items()
    assert yard.journal.starts.total() == started


# Twice, too big, too many -----------------------------------------------------------------


def test_the_same_payload_pushed_twice_runs_twice(yard: Site) -> None:
    pushed = payload(NoopJob, ident := new_jid()).encode()
    before = yard.counter("processed")
    push_raw(yard, pushed, pushed)
    push_raw(yard, pushed)
    wait_until(lambda: yard.journal.finishes[ident] == 3, SOON, "the end of all three")
    yard.await_settled()
    assert yard.journal.starts[ident] == 3
    assert yard.counter("processed") == before + 3
    assert yard.counter("fenced") == 0


def test_payloads_of_10_mb_run_or_die_and_hold_nobody_up(yard: Site) -> None:
    idents = [new_jid() for _ in range(16)]
    junk = b"\xff" * HUGE
    for number, ident in enumerate(idents):
        big = "y" * HUGE if number % 2 else ""
        push_raw(yard, job(args=[ident], big=big))
    push_raw(yard, junk, job(**{"class": "y" * HUGE}), job(jid="y" * HUGE))
    yard.await_finished(*idents)
    dead = await_entries(yard, "dead", 3)
    yard.await_settled()
    assert sorted(each.fields["error_class"] for each in dead) == [
        "InvalidPayload", "InvalidPayload", "UnknownJob",
    ]  # fmt: skip
    assert junk in [unwrap_invalid(each) for each in dead]
    assert {yard.journal.starts[ident] for ident in idents} == {1}


FOREIGN = ["a:b", "{x}", "two words", "new\nline", "😀", "k" * 1024, "", "default ", "Default",
           "*", "valid-but-not-ours"]  # fmt: skip


def test_queues_of_foreign_names_are_left_alone(yard: Site) -> None:
    raw = payload(NoopJob, ident := new_jid()).encode()
    yard.redis.sadd(yard.keys.queues, *FOREIGN, b"\xff")
    for name in FOREIGN:
        push_raw(yard, raw, queue=name)
    # What a job says of its queue does not lead there either.
    named = [payload(NoopJob, f"{ident}-{n}", queue=name) for n, name in enumerate(FOREIGN)]
    push_raw(yard, *(each.encode() for each in named))
    yard.await_finished(*(each.args[0] for each in named))
    assert ident not in yard.journal.starts
    assert {yard.redis.llen(yard.keys.queue(name)) for name in FOREIGN} == {1}
    yard.redis.delete(*map(yard.keys.queue, FOREIGN))
    yard.redis.srem(yard.keys.queues, *FOREIGN, b"\xff")


def test_a_worker_is_not_started_for_a_queue_that_cannot_be(site: Site) -> None:
    names = ["a:b", "two words", "😀", "k" * 65]
    workers = [site.run("--queue", name) for name in names]
    for worker, name in zip(workers, names, strict=True):
        assert worker.wait() == 1
        assert f"{name!r} is not a queue name" in worker.output()
        assert "Traceback" not in worker.output()


def test_among_ten_thousand_queues_only_those_of_the_worker_are_asked(yard: Site) -> None:
    names = [f"q{number}" for number in range(10_000)]
    raw = payload(NoopJob, "nobody's").encode()
    with yard.redis.pipeline(transaction=False) as pipe:
        pipe.sadd(yard.keys.queues, *names)
        for name in names:
            pipe.lpush(yard.keys.queue(name), raw)
        pipe.execute()
    idents = [new_jid() for _ in range(50)]
    yard.push_all(payload(NoopJob, ident) for ident in idents)
    yard.await_finished(*idents)
    assert sum(yard.store.queues.sizes(names).values()) == len(names)
    assert "nobody's" not in yard.journal.starts
    yard.redis.unlink(*map(yard.keys.queue, names))
    yard.redis.srem(yard.keys.queues, *names)


# Taken back from the dead -------------------------------------------------------------------


def test_bad_data_in_the_claims_of_a_dead_process_do_not_keep_its_jobs_there(yard: Site) -> None:
    digits = "9" * sys.get_int_max_str_digits()
    held = [
        *(raw for raw, _ in NO_JOBS.values()),
        job(args=["x"])[:-1] + b',"crashed_at":%d,"crashes":%s}' % (stamp(), digits.encode()),
        *edge_of_depth(),
        payload(NoopJob, ident := new_jid()).encode(),
    ]
    identity = f"gone:1:{new_jid()}"
    yard.store.claims.join(identity, 60)
    fields = {Field.name("1", number, "default"): raw for number, raw in enumerate(held, 1)}
    fields[Field.SUSPECT.decode()] = Field.name("1", len(NO_JOBS) + 1, "default").encode()
    yard.redis.hset(yard.keys.claims(identity), mapping=dict(fields.items()))
    yard.store.claims.declare_dead(identity)
    yard.await_finished(ident)
    dead = await_entries(yard, "dead", len(NO_JOBS) + 1)
    assert {unwrap_invalid(each) for each in dead} >= set(held[: len(NO_JOBS) + 1])
    assert identity not in yard.held()


def edge_of_depth() -> Sequence[bytes]:
    """Return jobs nested about as deep as they can be read here, each a level deeper."""

    def nested(depth: int) -> bytes:
        return job(args=["x"])[:-1] + b',"x":' + b"[" * depth + b"]" * depth + b"}"

    low, high = 1, 200_000
    while high - low > 1:
        middle = (low + high) // 2
        try:
            Payload.decode(nested(middle))
        except InvalidPayload:
            high = middle
        else:
            low = middle
    return [nested(depth) for depth in range(max(low - 60, 1), low + 10)]


def test_no_depth_of_nesting_and_no_number_is_too_much_for_the_judge_of_crashes() -> None:
    digits = b"9" * sys.get_int_max_str_digits()
    worst = [b'{"class":"A","args":[],"jid":"1","crashed_at":1e300,"crashes":' + digits + b"}"]
    for raw in (*edge_of_depth(), *worst):
        for suspect in ("", "1:1:low"):
            move = CrashPolicy().judge(Claim("1:1:low", "low", raw), suspect)
            if move.verb == BURY:
                assert unwrap_invalid(Payload.decode(move.payload)) == raw


# Fuzz -------------------------------------------------------------------------------------

KINDS = ["ValueError", "SystemExit", "KeyboardInterrupt", "GeneratorExit", "MemoryError", "?"]
FIELDS = """class args jid queue retry retry_count retry_for retry_queue dead backtrace tags cattr
    created_at enqueued_at failed_at retried_at crashed_at crashes unknown_since expires_in
    error_class error_message error_backtrace wrapped raw at bid x""".split()

#: Values that most fields should not have.
ODD: list[Any] = [
    None, True, False, 0, -1, 1, 7, 2**63, 10**400, -(10**400), 1.5, -0.0, 1e308, "", "x", "\x00",
    "\ud800", "😀", "default", "a:b", [], [[]], {}, {"a": 1}, ["x", "?"], ["x"], *HOSTILE,
]  # fmt: skip

text = st.text(st.characters(exclude_categories=()), max_size=8) | st.sampled_from(HOSTILE)
numbers = (
    st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from([10**400, -(10**400), 10**4_299, 1e308, -0.0, 2**63, stamp()])
)
values = st.recursive(
    st.none() | st.booleans() | numbers | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=6,
)
valid = st.builds(
    lambda cls, kind, jid, retry: payload(cls, *(["x", kind] if cls is FailJob else ["x"]),
                                          jid=jid, retry=retry).fields,
    st.sampled_from([NoopJob, FailJob]),
    st.sampled_from(KINDS) | values,
    st.just("0" * 24) | text.filter(bool),
    st.booleans() | st.integers(-2, 30),
)  # fmt: skip
odd = st.builds(
    lambda base, changes, gone: {
        name: value for name, value in {**base, **changes}.items() if name not in gone
    },
    valid,
    st.dictionaries(st.sampled_from(FIELDS) | text, values, max_size=4),
    st.sets(st.sampled_from(FIELDS[:5]), max_size=1),
)
pieces = st.binary(max_size=4) | st.sampled_from(
    [b'"', b"\\", b"{", b"}", b"[" * 3_000, b"NaN", b"1e999", b"\\ud800", b"\xed\xa0\x80", b"\x00"]
)


def cut(raw: bytes, at: float, length: int, piece: bytes) -> bytes:
    """Put other bytes in the place of some, where ``at`` is from 0 to 1."""
    start = int(at * len(raw))
    return raw[:start] + piece + raw[start + length :]


tampered = st.builds(
    lambda changes, *args: {**payload(FailJob, *args).fields, **changes},
    st.dictionaries(st.sampled_from(FIELDS), st.sampled_from(ODD), max_size=3),
    st.just("x"),
    st.sampled_from(KINDS),
)
mutated = st.builds(
    cut, tampered.map(dump), st.floats(0, 1), st.integers(0, 6) | st.just(10_000), pieces
)


@pytest.fixture
def spy() -> Iterator[ImportSpy]:
    """Who sees each import of this test that is not in ``sys.modules``."""
    with spied_imports() as made:
        yield made


@pytest.fixture
def executor(jobqueue_settings: JobqueueSettings, journal: Journal) -> Executor:
    """An executor in this process."""
    jobqueue_settings()
    return Executor(get_settings(), lambda: False)


def run_and_check(executor: Executor, spy: ImportSpy, raw: bytes) -> None:
    """Run bytes; nothing of them is imported, and what comes out can be read again."""
    spy.asked.clear()
    outcome = executor.run(raw, "default")
    asked = set(spy.asked)
    for name in asked:
        assert name.encode() not in raw
        assert dump(name)[1:-1] not in raw
    try:
        Payload.decode(raw)
    except InvalidPayload:
        assert outcome is not None
        assert unwrap_invalid(Payload.decode(outcome.raw)) == raw
    if outcome is None:
        return
    assert 0 <= outcome.delay < float("inf")
    if outcome.raw:
        again = Payload.decode(outcome.raw)
        # As bytes: to compare such depths as objects is beyond Python.
        assert Payload.decode(again.encode()).encode() == outcome.raw


fuzzed = hypothesis_settings(
    deadline=None,
    suppress_health_check=[
        HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large,
    ],
)  # fmt: skip


@hypothesis_settings(fuzzed, max_examples=700)
@given(raw=odd.map(dump) | values.map(dump))
def test_no_json_imports_anything_or_gets_out_of_the_executor(
    executor: Executor, spy: ImportSpy, raw: bytes
) -> None:
    run_and_check(executor, spy, raw)


@hypothesis_settings(fuzzed, max_examples=1_300)
@given(raw=mutated | st.binary(max_size=200))
def test_no_bytes_import_anything_or_get_out_of_the_executor(
    executor: Executor, spy: ImportSpy, raw: bytes
) -> None:
    run_and_check(executor, spy, raw)


def test_no_depth_of_nesting_gets_out_of_the_executor(executor: Executor, spy: ImportSpy) -> None:
    for raw in edge_of_depth():
        run_and_check(executor, spy, raw)
        failing = raw.replace(wire_name(NoopJob).encode(), wire_name(FailJob).encode())
        run_and_check(executor, spy, failing.replace(b'["x"]', b'["x", "ValueError"]'))


def test_after_a_thousand_fuzzed_payloads_the_same_process_runs_good_jobs(
    yard: Site, canary: Path
) -> None:
    chance = random.Random(SEED)
    idents = [new_jid() for _ in range(FUZZED // 4)]
    everything = [fuzz(chance) for _ in range(FUZZED)]
    everything += [payload(NoopJob, ident).encode() for ident in idents]
    chance.shuffle(everything)
    before = yard.counter("processed")
    push_raw(yard, *everything)
    yard.await_finished(*idents)
    yard.await_settled()
    assert {yard.journal.starts[ident] for ident in idents} == {1}
    # Each was judged; a retry may have come round meanwhile.
    assert yard.counter("processed") >= before + len(everything)
    kept = {unwrap_invalid(each) for each in yard.entries("dead")}
    assert kept >= {raw for raw in everything if not is_job(raw)}
    assert yard.counter("fenced") == 0
    assert not canary.exists()
    assert "--- Logging error ---" not in yard.output()
    assert "The fetcher failed" not in yard.output()


def is_job(raw: bytes) -> bool:
    """Return whether these bytes can be read."""
    try:
        Payload.decode(raw)
    except InvalidPayload:
        return False
    return True


def fuzz(chance: random.Random) -> bytes:
    """Return a payload that somebody has tampered with."""
    if chance.random() < 0.1:
        return dump(chance.choice(ODD))
    if chance.random() < 0.1:
        return chance.randbytes(chance.randrange(300))
    cls, args = chance.choice([(NoopJob, ["x"]), (FailJob, ["x", chance.choice(KINDS)])])
    fields = {**payload(cls, *args).fields, "jid": chance.randbytes(12).hex()}
    for _ in range(chance.randrange(4)):
        fields[chance.choice(FIELDS)] = chance.choice(ODD)
    if chance.random() < 0.2:
        fields.pop(chance.choice(FIELDS), None)
    raw = dump(fields)
    for _ in range(chance.choice([0, 0, 1, 3])):
        piece = chance.choice([b"", b'"', b"\\", b"}", b"[" * 2_000, chance.randbytes(2)])
        raw = cut(raw, chance.random(), chance.choice([0, 1, 5, 1_000]), piece)
    return raw
