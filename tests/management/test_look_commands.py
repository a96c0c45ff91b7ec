"""``manage.py jobqueue``: what shows and changes nothing."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from django.core.management import CommandError

from django_jobqueue.api import Queue
from django_jobqueue.connection import store
from django_jobqueue.doctor import Finding, Level
from django_jobqueue.store.stats import Stats
from tests.api.samples import NAME, ODD, enqueue, jid_of, payload, put, throw
from tests.conftest import JobqueueSettings
from tests.management.shell import Shell
from tests.support.inside import Inside

FAILURE: dict[str, Any] = {
    "retry_count": 1, "retry": 5, "failed_at": 1_700_000_000_000, "error_class": "TimeoutError",
    "error_message": "after 7 s",
}  # fmt: skip

#: What would clear a screen, ring, change colours, or turn a line around.
HOSTILE = "\x1b[2J\x07\r\n\x9b31m\u202e"

LOOKS = [
    ["stats"], ["queues"], ["queues", "low"], ["busy"], ["scheduled"], ["retries"], ["dead"],
    ["held"], ["held", "LookJob"], ["locks"], ["metrics"], ["metrics", "LookJob"], ["errors"],
    ["redis"], ["bulk"], ["job", jid_of(1)], ["top", "--count", "1"],
]  # fmt: skip


@pytest.fixture(autouse=True)
def _configured(jobqueue_settings: JobqueueSettings) -> None:
    jobqueue_settings()


def record(identity: str = "host:1:0123456789ab", **more: Any) -> None:
    info = {
        "hostname": "host", "pid": 1, "queues": ["high", "low"], "concurrency": 4,
        "weights": [{"high": 5, "low": 1}], "started_at": 1_700_000_000.0, **more,
    }  # fmt: skip
    running = {"queue": "low", "payload": payload(7).encode().decode(), "run_at": 1_700_000_000}
    facts: dict[str, str | int | float] = {"info": json.dumps(info), "concurrency": 4, "busy": 1}
    store().processes.record(identity, facts, {"t": json.dumps(running)})


def test_everything_can_be_looked_at_and_nothing_is_changed_by_it(
    shell: Shell, inside: Inside
) -> None:
    for words in LOOKS:
        assert shell(*words), words
    assert inside.names() <= {"jq:epoch"}
    _fill(inside, "x")
    before = inside.names()
    for words in LOOKS:
        shell.json(*words)
    assert inside.names() == before


def test_nothing_that_others_wrote_is_obeyed_by_a_terminal(shell: Shell, inside: Inside) -> None:
    _fill(inside, HOSTILE)
    for words in LOOKS:
        for line in shell(*words).split("\n"):
            assert not line or line.isprintable(), (words, line)


def _fill(inside: Inside, odd: str) -> None:
    job = payload(1, **FAILURE | {"error_message": odd, "error_class": odd}, tags=[odd])
    odd_job = payload(2, jid=f"j{odd}"[:60], **{"class": f"C{odd}"}, error_backtrace=[odd])
    enqueue(job, odd_job, *ODD)
    for name in ("schedule", "retry", "dead", f"jq:held:{NAME}"):
        put(inside, name, job, odd_job, *ODD)
    inside.client.sadd(inside.key("jq:held"), NAME)
    enqueue(payload(5), queue="aside")
    inside.client.sadd(inside.key("queues"), odd)
    throw("on", flag=f"disable_{odd}")
    record(f"host{odd}:1:0123456789ab", hostname=odd, queues=[odd], version=odd)


def test_stats_tell_what_wants_a_look(shell: Shell, inside: Inside) -> None:
    enqueue(payload(1), payload(2))
    put(inside, "retry", payload(3))
    Queue("low").pause()
    throw("30.0")
    out = shell("stats")
    assert "! The kill switch disable_look_job is on for 30.0 %." in out
    assert "! The queue low is paused, with 2 jobs in it." in out
    assert "! Nobody works the queue low, with 2 jobs in it." in out
    lines = [line.split() for line in out.splitlines()]
    assert ["retries", "1"] in lines
    assert lines[-1][:2] == ["low", "2"]
    assert lines[-1][-2:] == ["paused,", "unworked"]


def test_busy_shows_processes_and_what_they_run(shell: Shell) -> None:
    record()
    store().claims.join("host:2:ba9876543210", 60.0)
    out = shell("busy")
    assert "host:1:0123456789ab  1 of 4" in out
    assert "high,5 low" in out
    assert jid_of(7) in out
    assert "! host:2:ba9876543210 is silent: its jobs are taken back in" in out
    found = shell.json("busy")
    assert [each["identity"] for each in found["processes"]["processes"]] == ["host:1:0123456789ab"]


def test_lists_page_and_begin_at_either_end(shell: Shell, inside: Inside) -> None:
    put(inside, "schedule", *(payload(n) for n in range(30)))
    put(inside, "dead", *(payload(n, **FAILURE) for n in range(3)))
    out = shell("scheduled")
    assert out.splitlines()[1].startswith(jid_of(0))
    assert out.endswith("schedule: 1 to 20 of 30 jobs. Go on with --start 20.\n")
    out = shell("scheduled", "--start", "20", "--limit", "10")
    assert out.endswith("schedule: 21 to 30 of 30 jobs.\n")
    lines = shell("dead").splitlines()
    assert [line.split()[0] for line in lines[1:4]] == [jid_of(2), jid_of(1), jid_of(0)]
    assert "2 of 6" in lines[1]
    assert lines[1].endswith("TimeoutError: after 7 s")
    assert shell("dead", "--reverse").splitlines()[1].startswith(jid_of(0))
    assert shell("retries") == "retry: 0 jobs.\n"
    assert "none from there on" in shell("dead", "--start", "7")


def test_conditions_narrow_a_list_down(shell: Shell, inside: Inside) -> None:
    put(inside, "dead", *(payload(n) for n in range(30)), payload(90, **FAILURE), first=1000.0)
    for words in (
        ["--error", "TimeoutError"], ["--message", "after # s"],
        ["--since", "1970-01-01T00:17:10Z"], ["--class", "LookJob", "--text", "TimeoutError"],
    ):  # fmt: skip
        out = shell("dead", *words)
        assert out.splitlines()[1].startswith(jid_of(90)), words
        assert "1 found in dead, of 31 jobs." in out
    assert "There may be more" in shell("dead", "--class", "LookJob", "--limit", "1")
    with pytest.raises(CommandError, match="--start pages through all jobs"):
        shell("dead", "--class", "LookJob", "--start", "1")
    with pytest.raises(CommandError, match="give 1,000 at most"):
        shell("dead", "--limit", "1001")


def test_arguments_are_shown_only_when_they_are_asked_for(shell: Shell, inside: Inside) -> None:
    put(inside, "dead", payload(1, args=["visible", {"password": "sesame"}]))
    for words in (["dead"], ["job", jid_of(1)], ["dead", "--json"], ["job", jid_of(1), "--json"]):
        assert "visible" not in shell(*words)
        with_args = shell(*words, "--args")
        assert "visible" in with_args
        assert "sesame" not in with_args


def test_a_job_is_shown_with_every_field_and_its_traceback(shell: Shell, inside: Inside) -> None:
    lines = ["Traceback (most recent call last):\n", '  File "shop/jobs.py", line 7\n']
    put(inside, "retry", payload(1, once=True, **FAILURE, error_backtrace=lines))
    out = shell("job", jid_of(1))
    assert out.startswith("In retry:\n")
    assert re.search(r"^  failed_at +1700000000000 \(2023-11-1", out, re.MULTILINE)
    assert re.search("^  error_class +TimeoutError$", out, re.MULTILINE)
    assert re.search(r"^  \(lock held by\) +this job$", out, re.MULTILINE)
    assert '      File "shop/jobs.py", line 7' in out
    assert shell("job", jid_of(1), "--place", "retries") == out
    assert "it has ended, or never was" in shell("job", jid_of(2))
    assert shell.code == 3
    with pytest.raises(CommandError, match="'low' is no place"):
        shell("job", jid_of(1), "--place", "low")


def test_errors_say_how_to_retry_the_first_of_them(shell: Shell, inside: Inside) -> None:
    put(inside, "dead", *(payload(n, **FAILURE) for n in range(3)))
    out = shell("errors")
    assert f"To retry the first: jobqueue retry dead --class {NAME} --error TimeoutError" in out
    assert "3 of 3 jobs were looked at." in out
    with pytest.raises(CommandError, match="has 1 to 1,000"):
        shell("errors", "--sample", "1001")
    with pytest.raises(CommandError, match="is no place with failures"):
        shell("errors", "schedule")


def test_locks_are_listed_and_one_is_released(shell: Shell, inside: Inside) -> None:
    put(inside, "retry", payload(1, once=True))
    (lock,) = [each for each in _all_locks(shell) if each["jid"] == jid_of(1)]
    assert (lock["place"], lock["has_holder"]) == ("retry", True)
    assert shell("locks", "--release", lock["digest"]) == f"{lock['digest']}: released\n"
    assert "nobody holds it" in shell("locks", "--release", lock["digest"])
    assert shell.code == 3
    with pytest.raises(CommandError, match="give 32 hex digits"):
        shell("locks", "--release", "*")


def _all_locks(shell: Shell) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    cursor = "0"
    while cursor:
        page = shell.json("locks", "--count", "100", "--cursor", cursor)
        found, cursor = found + page["locks"], page["cursor"] or ""
    return found


def test_metrics_refuse_a_time_that_is_not_kept(shell: Shell) -> None:
    with pytest.raises(CommandError, match="kept for 1 to 72 hours"):
        shell("metrics", "--hours", "73")


def test_the_doctor_decides_the_exit_code(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    found = [Finding("clock", Level.FAULT, "It is late.", "Go to bed.")]
    monkeypatch.setattr("django_jobqueue.management.subcommands.doctor.examine", lambda **_: found)
    out = shell("doctor")
    assert (
        out
        == "FAULT clock: It is late.\n    Go to bed.\n1 at fault, 0 to look at, 0 good to know.\n"
    )
    assert shell.code == 1
    assert shell.json("doctor")["ok"] is False
    found[0] = Finding("clock", Level.NOTE, "It is late.", "")
    shell("doctor")
    assert shell.code == 0
    found.clear()
    assert shell("doctor") == "Nothing is wrong.\n"


@pytest.mark.django_db
def test_the_doctor_examines(shell: Shell) -> None:
    assert {"ok", "findings"} == set(shell.json("doctor"))


def test_a_redis_that_is_away_is_told_in_a_sentence(shell: Shell, settings: Any) -> None:
    settings.JOBQUEUE = {"REDIS_URL": "redis://127.0.0.1:1/0"}
    for words in (["stats"], ["dead"], ["retry", jid_of(1)], ["pause", "low"]):
        with pytest.raises(CommandError, match=r"127\.0\.0\.1:1"):
            shell(*words)


# top ------------------------------------------------------------------------------------


def test_top_looks_again_and_again_and_survives_an_outage(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = shell("top", "--count", "2", "--interval", "0.1")
    assert out.count("processed") == 2
    assert "Nothing runs." in out
    lines = shell("top", "--count", "2", "--interval", "0.1", "--json").splitlines()
    assert [set(json.loads(line)) for line in lines] == [{"overview", "processes", "work"}] * 2
    monkeypatch.setattr(Stats, "overview", _away)
    assert "! " in shell("top", "--count", "1")
    assert json.loads(shell("top", "--count", "1", "--json"))["error"] == "away"


def _away(*_: object) -> None:
    from django_jobqueue.exceptions import StoreUnavailable

    raise StoreUnavailable("away")


@pytest.mark.parametrize("interval", ["0", "x", "nan", "-1"])
def test_top_refuses_an_interval_that_is_none(shell: Shell, interval: str) -> None:
    with pytest.raises(CommandError, match="is no interval"):
        shell("top", f"--interval={interval}")
