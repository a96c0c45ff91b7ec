"""``manage.py jobqueue``: what changes something, for one job, many, queues and processes."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.core.management import CommandError

from django_jobqueue import bulk
from django_jobqueue.api import DeadEntry, DeadSet, HeldSet, Queue, RetrySet, ScheduledSet
from django_jobqueue.connection import store
from django_jobqueue.exceptions import StoreUnavailable
from django_jobqueue.store.removal import Removal
from tests.api.samples import NAME, enqueue, jid_of, owner_of, payload, put, throw
from tests.conftest import JobqueueSettings
from tests.management.shell import Shell
from tests.support.inside import Inside

KILL_SWITCH = "django_jobqueue.middleware.kill_switch.KillSwitch"

FAILURE: dict[str, Any] = {"retry_count": 1, "retry": 5, "error_class": "TimeoutError"}


@pytest.fixture(autouse=True)
def _configured(jobqueue_settings: JobqueueSettings) -> None:
    jobqueue_settings(CLIENT_MIDDLEWARE=[KILL_SWITCH])


def hold(inside: Inside, *numbers: int) -> None:
    jobs = (payload(n, held_at=1, held_from="queue") for n in numbers)
    put(inside, f"jq:held:{NAME}", *jobs)
    inside.client.sadd(inside.key("jq:held"), NAME)


# One job, by its id -----------------------------------------------------------------------


def test_a_job_is_found_by_its_id_wherever_it_waits(shell: Shell, inside: Inside) -> None:
    put(inside, "retry", payload(1, **FAILURE))
    put(inside, "dead", payload(2, **FAILURE))
    put(inside, "schedule", payload(3))
    hold(inside, 4)
    enqueue(payload(5), payload(6))
    assert shell("retry", jid_of(1)) == f"{jid_of(1)} (retry): retried\n"
    assert shell("retry", jid_of(2)) == f"{jid_of(2)} (dead): retried\n"
    assert shell("enqueue", jid_of(3)) == f"{jid_of(3)} (schedule): enqueued\n"
    assert shell("release", jid_of(4)) == f"{jid_of(4)} (held:{NAME}): released\n"
    assert shell("kill", jid_of(5)) == f"{jid_of(5)} (queue:low): killed\n"
    assert shell("delete", jid_of(6), "--yes") == f"{jid_of(6)} (queue:low): deleted\n"
    assert {job["jid"] for job in inside.jobs("low")} == {jid_of(n) for n in (1, 2, 3, 4)}
    assert [entry.jid for entry in DeadSet()] == [jid_of(5)]


def test_many_ids_are_taken_in_one_go_and_each_is_answered_for(
    shell: Shell, inside: Inside
) -> None:
    put(inside, "dead", *(payload(n, **FAILURE) for n in range(10)))
    ids = [jid_of(n) for n in range(9)]
    out = shell("retry", "dead", *ids, ids[0], "nobody")
    assert shell.code == 3
    assert out.count("retried") == 10
    assert out.endswith("nobody: not retried: it is not in dead\n")
    assert len(DeadSet()) == 1
    found = shell.json("retry", jid_of(9))
    assert (shell.code, found["done"]) == (0, 1)
    assert found["jobs"] == [{"jid": jid_of(9), "place": "dead", "done": True, "reason": ""}]


def test_what_stays_is_told_with_its_reason(shell: Shell, inside: Inside) -> None:
    throw("on")
    put(inside, "dead", payload(1, **FAILURE))
    out = shell("retry", jid_of(1))
    assert out == f"{jid_of(1)} (dead): not retried: the kill switch of the job is on\n"
    assert shell.code == 3
    facts = {"queue": "low", "payload": payload(7).encode().decode(), "run_at": 1_700_000_000}
    store().processes.record("host:1:0123456789ab", {"info": "{}"}, {"t": json.dumps(facts)})
    assert "it runs, in process host:1:0123456789ab" in shell("kill", jid_of(7))
    assert (
        shell("kill", "a\x1b[2J") == "a\\x1b[2J: not killed: it is nowhere where that can be done\n"
    )


def test_a_deletion_by_id_is_asked_about_first(shell: Shell, inside: Inside) -> None:
    put(inside, "dead", payload(1, **FAILURE))
    with pytest.raises(CommandError, match="Nothing was done"):
        shell("delete", jid_of(1), types=["yes"])
    with pytest.raises(CommandError, match="give --yes"):
        shell("delete", jid_of(1))
    assert len(DeadSet()) == 1
    assert "dry run" in shell("delete", jid_of(1), "--dry-run")
    assert len(DeadSet()) == 1
    assert "This deletes 1 job for good." in shell("delete", jid_of(1), types=["delete"])
    assert len(DeadSet()) == 0


# Many -----------------------------------------------------------------------------------


def test_all_that_meet_the_conditions_are_retried_and_no_others(
    shell: Shell, inside: Inside
) -> None:
    put(inside, "dead", *(payload(n, **FAILURE) for n in range(30)), payload(90))
    words = ["retry", "dead", "--class", "LookJob", "--error", "TimeoutError"]
    told = f"(class {NAME}, error TimeoutError)"
    assert shell(*words, "--dry-run") == f"dead: 30 jobs would be retried {told}.\n"
    assert len(DeadSet()) == 31
    assert shell(*words, "--limit", "1") == "dead: 1 job retried.\n"
    assert shell(*words) == "dead: 29 jobs retried.\n"
    assert [entry.jid for entry in DeadSet()] == [jid_of(90)]
    assert len(Queue("low")) == 30
    assert shell(*words) == "dead: 0 jobs retried.\n"
    assert shell.code == 0


@pytest.mark.parametrize(
    ("words", "meant", "left"),
    [
        (["retry", "retries", "--all"], "retry: 3 jobs retried.", RetrySet),
        (["enqueue", "retry", "--all"], "retry: 3 jobs enqueued.", RetrySet),
        (["enqueue", "scheduled", "--all"], "schedule: 3 jobs enqueued.", ScheduledSet),
        (["release", "held:LookJob", "--all"], f"held:{NAME}: 3 jobs released.", None),
    ],
)
def test_each_place_has_its_verb(
    shell: Shell, inside: Inside, words: list[str], meant: str, left: Any
) -> None:
    put(inside, "schedule", *(payload(n) for n in range(3)))
    put(inside, "retry", *(payload(n, **FAILURE) for n in range(3)))
    hold(inside, 0, 1, 2)
    assert shell(*words) == f"{meant}\n"
    assert len(HeldSet(NAME) if left is None else left()) == 0
    assert len(Queue("low")) == 3


def test_what_stays_of_many_is_counted_by_its_reason(shell: Shell, inside: Inside) -> None:
    put(inside, "dead", payload(1, **FAILURE), payload(2, once=True, **FAILURE))
    newer = payload(2, once=True, jid=jid_of(22))
    enqueue(newer)
    throw("on")
    out = shell("retry", "dead", "--all")
    assert shell.code == 3
    assert out.splitlines() == [
        "dead: 0 jobs retried of 2 that were meant.",
        "  1 stay: their kill switch is on",
        "  1 stay: a newer job with the same arguments is on its way",
    ]
    found = shell.json("retry", "dead", "--all")
    assert (found["matched"], found["disabled"], found["duplicates"]) == (2, 1, 1)


def test_a_grave_verb_over_many_has_the_place_typed(shell: Shell, inside: Inside) -> None:
    job = payload(1, once=True)
    enqueue(job, payload(2))
    for words in (["delete", "queue:low", "--all"], ["kill", "queue:low", "--class", "LookJob"]):
        with pytest.raises(CommandError, match="Nothing was done"):
            shell(*words, types=["low"])
    assert len(Queue("low")) == 2
    out = shell("kill", "queue:low", "--class", "LookJob", types=["queue:low"])
    assert "This moves 1 job of queue:low to the dead set" in out
    assert out.endswith("queue:low: 1 job killed.\n")
    assert owner_of(job) == job.jid
    assert shell("delete", "queue:low", "--all", "--yes") == "queue:low: 1 job deleted.\n"
    assert owner_of(job) is None
    assert len(DeadSet()) == 1


def test_a_place_is_cleared_with_its_locks(shell: Shell, inside: Inside) -> None:
    job = payload(1, once=True)
    enqueue(job, payload(2))
    assert shell("clear", "queue:low", "--dry-run") == "queue:low: 2 jobs would be deleted.\n"
    with pytest.raises(CommandError, match="Nothing was done"):
        shell("clear", "queue:low", types=["low"])
    out = shell("clear", "queue:low", types=["queue:low"])
    assert out.splitlines()[0] == "This deletes all 2 jobs of queue:low for good."
    assert out.endswith("queue:low: 2 jobs deleted.\n")
    assert (len(Queue("low")), owner_of(job)) == (0, None)
    assert shell.json("clear", "dead", "--yes")["done"] == 0


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["retry"], "Say which jobs to retry"),
        (["retry", "dead"], "Say which jobs to retry"),
        (["retry", "--all"], "Say where: one of dead, retry"),
        (["retry", "--class", "LookJob"], "Say where: one of dead, retry"),
        (["retry", "dead", "jid", "--all"], "not both"),
        (["retry", "jid", "--class", "LookJob"], "not both"),
        (["retry", "nowhere", "--all"], "'nowhere' is no place"),
        (["retry", "schedule", "--all"], "cannot be told to retry: there is enqueue, kill"),
        (["kill", "dead", "--all"], "cannot be told to kill: there is retry, delete"),
        (["delete", "queue:", "--all"], "lacks a name"),
        (["delete", "low", "--all"], "'low' is a queue: say queue:low"),
        (["clear", "low"], "'low' is a queue: say queue:low"),
        (["clear", "nothing"], "'nothing' is no place"),
        (["retry", "dead", "--all", "--limit", "1", "--background"], "--limit is a probe"),
        (["retry", "dead", "--all", "--dry-run", "--background"], "not allowed with"),
        (["pause"], "Name the queues, or say --all"),
        (["pause", "low", "--all"], "Name the queues, or say --all"),
        (["pause", "no such name"], "is not a queue name"),
        (["quiet"], "Name the processes, or say --all"),
        (["stop", "nobody"], "No process 'nobody' works"),
        (["stop", "--all"], "No process works"),
        (["bulk", "--stop"], "give the ID"),
        (["bulk", "*"], "24 hex digits"),
    ],
)
def test_what_cannot_be_meant_is_refused_and_nothing_is_done(
    shell: Shell, inside: Inside, words: list[str], complaint: str
) -> None:
    enqueue(payload(1))
    put(inside, "dead", payload(2, **FAILURE))
    with pytest.raises(CommandError, match=complaint):
        shell(*words)
    assert (len(Queue("low")), len(DeadSet())) == (1, 1)


def test_what_is_done_is_logged_with_who_did_it(
    shell: Shell, inside: Inside, caplog: pytest.LogCaptureFixture
) -> None:
    put(inside, "dead", payload(1, args=["sesame"], **FAILURE), payload(2, **FAILURE))
    with caplog.at_level(logging.INFO, "django_jobqueue.management"):
        shell("retry", jid_of(1))
        shell("retry", "dead", "--all")
        shell("pause", "low")
    told = [r for r in caplog.records if r.name == "django_jobqueue.management"]
    assert [(r.act, r.target, r.count) for r in told] == [  # type: ignore[attr-defined]
        ("retry", f"{jid_of(1)} in dead", 1),
        ("retry", "dead: all jobs", 1),
        ("pause", "queue low", 1),
    ]
    assert all(r.actor for r in told)  # type: ignore[attr-defined]
    assert "sesame" not in caplog.text


# In the background -------------------------------------------------------------------------


def test_a_verb_is_handed_to_a_worker_shown_stopped_and_carried_out(
    shell: Shell, inside: Inside
) -> None:
    put(inside, "dead", payload(1, **FAILURE), payload(2, **FAILURE))
    words = ["retry", "dead", "--error", "TimeoutError", "--background"]
    id = shell(*words).partition(":")[0]
    assert len(DeadSet()) == 2
    assert "retry dead: error TimeoutError" in shell("bulk")
    assert "state  waiting" in shell("bulk", id)
    assert shell.json("bulk", id, "--stop")["state"] == "stopped"
    assert shell("bulk", id, "--stop")
    assert shell.code == 3
    other = shell.json(*words)["id"]
    assert shell.json("bulk", other, "--run")["done"] == 2
    assert (shell.code, len(DeadSet())) == (0, 0)
    assert shell("bulk", other, "--run")
    assert shell.code == 3
    assert [each["id"] for each in shell.json("bulk")["orders"]] == [other, id]
    assert bulk.standing(other) is not None
    assert "is no bulk action" in shell("bulk", "0" * 24)
    assert shell.code == 3


# Queues and processes ----------------------------------------------------------------------


def test_queues_are_paused_and_go_on(shell: Shell) -> None:
    enqueue(payload(1))
    enqueue(payload(2), queue="high")
    assert shell("pause", "low") == "low: paused\n"
    assert shell("pause", "queue:low", "hihg").splitlines() == [
        "low: was paused already",
        "hihg: paused (nothing was ever pushed to it: is that its name?)",
    ]
    assert Queue("low").paused
    assert shell.json("pause", "--all") == [
        {"queue": "high", "paused": True, "changed": True},
        {"queue": "low", "paused": True, "changed": False},
    ]
    assert shell("resume", "--all").splitlines() == ["high: resumed", "low: resumed"]
    assert shell("resume", "low") == "low: was not paused\n"
    assert not Queue("low").paused


def record(identity: str, **more: Any) -> None:
    host, pid, _ = identity.split(":")
    info = {"hostname": host, "pid": int(pid), "identity": identity, **more}
    store().processes.record(identity, {"info": json.dumps(info)}, {})


def signals(identity: str) -> Iterator[str]:
    while (taken := store().processes.take_signal(identity)) is not None:
        yield taken


def test_processes_are_told_by_identity_host_and_pid_or_host(shell: Shell) -> None:
    one, two, far = "host:1:0123456789ab", "host:2:ba9876543210", "far:1:0123456789ab"
    for identity in (one, two, far):
        record(identity)
    assert shell("quiet", one) == f"{one} is told, and obeys with its next beat\n"
    assert [each["process"] for each in shell.json("stacks", "host")] == [one, two]
    assert [each["process"] for each in shell.json("stop", "host:2", "far")] == [two, far]
    told = [(identity, taken) for identity in (one, two, far) for taken in signals(identity)]
    assert sorted(told) == [
        (far, "TERM"), (one, "TSTP"), (one, "TTIN"), (two, "TERM"), (two, "TTIN"),
    ]  # fmt: skip


def test_an_order_to_all_is_typed_and_the_embedded_take_none(shell: Shell) -> None:
    record("host:1:0123456789ab")
    record("web:2:ba9876543210", embedded=True)
    with pytest.raises(CommandError, match="Nothing was done"):
        shell("stop", "--all", types=["yes"])
    out = shell("stop", "--all", types=["all"])
    assert "This is for all 2 worker processes: stop." in out
    assert "web:2:ba9876543210 takes no orders" in out
    assert shell.code == 3
    assert "web" in shell("stacks", "--all")


def test_what_was_done_until_redis_failed_is_logged(
    shell: Shell, inside: Inside, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(inside, "dead", *(payload(n, args=["sesame"], **FAILURE) for n in range(250)))
    delete = Removal.delete

    def delete_a_page(removal: Removal, *given: Any) -> int:
        if len(DeadSet()) < 250:
            raise StoreUnavailable("127.0.0.1:1 is away")
        return delete(removal, *given)

    monkeypatch.setattr(Removal, "delete", delete_a_page)
    with caplog.at_level(logging.INFO, "django_jobqueue.management"):
        with pytest.raises(CommandError):
            shell("delete", "dead", "--text", "sesame", "--yes")
        with pytest.raises(CommandError):
            shell("clear", "dead", "--yes")
        monkeypatch.undo()
        monkeypatch.setattr(DeadEntry, "retry", _fail_for(jid_of(249)))
        with pytest.raises(CommandError):
            shell("retry", jid_of(248), jid_of(249))
    told = [r for r in caplog.records if r.name == "django_jobqueue.management"]
    assert [(r.target, r.count) for r in told] == [  # type: ignore[attr-defined]
        ("dead: all jobs, with a certain text, broken off", 100),
        ("dead, broken off", 0),
        (f"{jid_of(248)} in dead", 1),
    ]


def _fail_for(jid: str) -> Callable[[DeadEntry], object]:
    retry = DeadEntry.retry

    def act(entry: DeadEntry) -> object:
        if entry.jid == jid:
            raise StoreUnavailable("127.0.0.1:1 is away")
        return retry(entry)

    return act
