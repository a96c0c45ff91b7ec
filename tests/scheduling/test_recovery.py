"""What dead processes held is taken back, each job once, and the jobs that kill them are found."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest

from django_jobqueue import Job, Payload
from django_jobqueue.connection import store
from django_jobqueue.exceptions import PoisonPill, StoreUnavailable
from django_jobqueue.payload import unwrap_invalid
from django_jobqueue.scheduling import recovery
from django_jobqueue.scheduling.recovery import CrashPolicy, Recovery, take_back
from django_jobqueue.signals import job_died
from django_jobqueue.store.claims import BACK, BURY, SNOOZE, Claim, Claims, Move
from django_jobqueue.store.claims import Recovery as Recovered
from django_jobqueue.store.locks import lock_of
from django_jobqueue.store.server import Server, ServerFacts
from django_jobqueue.worker.chores import tell_of_poison
from tests.conftest import JobqueueSettings
from tests.support.clocks import FrozenClock, freeze
from tests.support.inside import Inside

GONE = "host:7:aaaaaaaaaaaa"
OURS = "host:8:bbbbbbbbbbbb"
LEASE = 30.0

#: What the hooks of ``MournedJob`` were told.
MOURNED: list[Any] = []


class MournedJob(Job):
    """Tells of its end."""

    def perform(self) -> None:
        """Do nothing."""

    def on_exhausted(self, error: BaseException) -> None:
        """Tell who and why."""
        MOURNED.append((self.jid, self.payload.crashes, type(error)))
        if self.payload.fields.get("hook") == "fail":
            raise SystemExit(1)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> FrozenClock:
    """Time stands still."""
    return freeze(monkeypatch)


@pytest.fixture(autouse=True)
def _clean(freshened: list[str]) -> Iterator[None]:
    MOURNED.clear()
    yield
    MOURNED.clear()


def payload(number: int = 0, **fields: Any) -> Payload:
    return Payload({"class": "HardJob", "args": [number], "jid": f"{number:024x}", **fields})


def claim(job: Payload | bytes, field: str = "1:1:low") -> Claim:
    raw = job if isinstance(job, bytes) else job.encode()
    return Claim(field, "low", raw)


# The policy -------------------------------------------------------------------


def test_the_first_crash_sends_a_job_back_and_is_counted(clock: FrozenClock) -> None:
    job = payload(1, retry_count=2, x={"y": []})
    move = CrashPolicy().judge(claim(job), "")
    expected = job.replace(crashes=1, crashed_at=int(clock.now * 1000))
    assert move == Move(BACK, "1:1:low", expected.encode(), queue="low")


def crash(job: Payload, policy: CrashPolicy) -> tuple[Move, Payload]:
    """Let a job crash, as the one to blame."""
    move = policy.judge(claim(job), "1:1:low")
    return move, Payload.decode(move.payload)


def test_the_second_crash_delays_a_job_and_the_third_buries_it(clock: FrozenClock) -> None:
    policy = CrashPolicy(limit=3, delay=60)
    first, job = crash(payload(1, enqueued_at=1), policy)
    clock.advance(3600)
    second, job = crash(job, policy)
    assert (second.verb, second.delay) == (SNOOZE, 60)
    assert job.fields["error_class"] == "PoisonPill"
    assert "enqueued_at" not in job.fields
    clock.advance(3600)
    third, job = crash(job, policy)
    assert [first.verb, third.verb] == [BACK, BURY]
    assert job.crashes == 3
    assert job.fields["error_message"] == "killed its worker 3 times"
    assert job.fields["failed_at"] == int(clock.now * 1000)
    assert job.args == [1]


def test_crashes_spend_no_attempt(clock: FrozenClock) -> None:
    job = payload(1, retry_count=4)
    for _ in range(3):
        job = crash(job, CrashPolicy())[1]
        assert job.retry_count == 4


@pytest.mark.parametrize(("limit", "verbs"), [(1, [BURY]), (2, [BACK, BURY])])
def test_the_limit_is_the_crash_that_kills(
    clock: FrozenClock, limit: int, verbs: list[str]
) -> None:
    job, policy = payload(1), CrashPolicy(limit=limit)
    found = []
    for _ in verbs:
        move, job = crash(job, policy)
        found.append(move.verb)
    assert found == verbs


def test_crashes_are_counted_within_a_window_from_the_first(clock: FrozenClock) -> None:
    policy = CrashPolicy(window=72 * 3600)
    first, job = crash(payload(1), policy)
    clock.advance(71 * 3600)
    second, job = crash(job, policy)
    clock.advance(2 * 3600)
    third, job = crash(job, policy)
    assert [first.verb, second.verb, third.verb] == [BACK, SNOOZE, BACK]
    assert job.crashes == 1
    assert job.time("crashed_at") == pytest.approx(clock.now, abs=0.001)


def test_a_crash_without_a_time_is_an_old_one(clock: FrozenClock) -> None:
    move, job = crash(payload(1, crashes=2), CrashPolicy())
    assert (move.verb, job.crashes) == (BACK, 1)


def test_times_are_written_as_the_settings_say(clock: FrozenClock) -> None:
    _, job = crash(payload(1), CrashPolicy(unit="seconds"))
    assert job.fields["crashed_at"] == clock.now
    assert crash(job, CrashPolicy(unit="seconds"))[0].verb == SNOOZE


def test_the_suspect_that_ran_is_charged_alone() -> None:
    policy = CrashPolicy()
    suspect = claim(payload(1, crashes=1, crashed_at=4_000_000_000_000), "2:1:low")
    innocent = claim(payload(2), "2:2:low")
    waiting = claim(payload(3, crashes=1), "2:3:low")
    assert policy.judge(suspect, "2:1:low").verb == SNOOZE
    for other in (innocent, waiting):
        assert policy.judge(other, "2:1:low") == Move(BACK, other.field, other.raw, queue="low")


def test_without_a_suspect_all_that_were_never_charged_are() -> None:
    policy = CrashPolicy()
    new, waiting = claim(payload(1)), claim(payload(2, crashes=1))
    assert Payload.decode(policy.judge(new, "").payload).crashes == 1
    assert policy.judge(waiting, "") == Move(BACK, waiting.field, waiting.raw, queue="low")


@pytest.mark.parametrize(
    "raw",
    [
        b"junk",
        b"\xff",
        payload(1).encode()[:-1] + b',"crashes":' + b"9" * 4300 + b',"crashed_at":4000000000000}',
        payload(1).encode()[:-1] + b',"x":' + b"[" * 900 + b"]" * 900 + b"}",
    ],
    ids=["no JSON", "no UTF-8", "a number too long to grow", "deep"],
)
def test_what_is_no_job_or_cannot_be_marked_loses_no_byte(raw: bytes) -> None:
    move = CrashPolicy().judge(claim(raw), "1:1:low")
    if move.verb == BURY:
        assert unwrap_invalid(Payload.decode(move.payload)) == raw
    else:
        assert move.verb == BACK
        assert move.payload == raw or raw[:-1] in move.payload


def test_a_unique_job_that_cannot_be_marked_gives_its_lock_up_with_its_life() -> None:
    unique = payload(1, unique_for=60.0, unique_digest="a" * 32)
    raw = unique.encode()[:-1] + b',"crashes":' + b"9" * 4300 + b',"crashed_at":4000000000000}'
    move = CrashPolicy().judge(claim(raw), "1:1:low")
    assert move.verb == BURY
    assert move.lock == lock_of(unique)


# Taking back ------------------------------------------------------------------


@pytest.fixture
def claims(jobqueue_settings: JobqueueSettings) -> Claims:
    """The claims under the prefix of this test."""
    jobqueue_settings()
    return store().claims


def hold(claims: Claims, jobs: list[Payload], queue: str = "low", batch: str = "1") -> None:
    """Have the process that will be gone claim jobs."""
    store().queues.push({queue: [job.encode() for job in jobs]})
    taken = 0
    while taken < len(jobs):
        step = claims.step(GONE, lease=LEASE, batch=f"{batch}{taken}", wanted=100, queues=[queue])
        taken += len(step.claimed)


def test_all_claims_of_a_dead_process_are_moved_and_its_lease_ends(
    claims: Claims, inside: Inside
) -> None:
    hold(claims, [payload(n) for n in range(3)])
    claims.declare_dead(GONE)
    assert take_back(claims, GONE, CrashPolicy()) == 3
    assert sorted(inside.args("low")) == [[0], [1], [2]]
    assert [job["crashes"] for job in inside.jobs("low")] == [1, 1, 1]
    assert inside.names() == {"queue:low", "queues", "jq:counters"}
    assert store().stats.counters()["recovered"] == 3


def test_jobs_taken_back_are_next_in_line(claims: Claims, inside: Inside) -> None:
    hold(claims, [payload(1)])
    store().queues.push({"low": [payload(2).encode()]})
    claims.declare_dead(GONE)
    take_back(claims, GONE, CrashPolicy())
    assert inside.args("low") == [[1], [2]]


def test_taking_back_twice_moves_nothing_more(claims: Claims, inside: Inside) -> None:
    hold(claims, [payload(1)])
    claims.declare_dead(GONE)
    assert take_back(claims, GONE, CrashPolicy()) == 1
    assert take_back(claims, GONE, CrashPolicy()) == 0
    assert inside.args("low") == [[1]]


def test_a_container_that_comes_again_with_host_and_pid_of_the_dead_is_another_process(
    claims: Claims, inside: Inside
) -> None:
    """Always pid 1: only the nonce tells the one that was killed from the one that is there."""
    before, now = "shop-worker:1:aaaaaaaaaaaa", "shop-worker:1:bbbbbbbbbbbb"
    inside.client.lpush(inside.key("queue:low"), *(payload(n).encode() for n in range(3)))
    for identity, wanted in ((before, 2), (now, 1)):
        assert claims.join(identity, LEASE)
        step = claims.step(identity, lease=LEASE, batch="b", wanted=wanted, queues=["low"])
        assert len(step.claimed) == wanted
    assert not claims.join(now, LEASE)
    claims.declare_dead(before)
    assert take_back(claims, before, CrashPolicy()) == 2
    assert take_back(claims, now, CrashPolicy()) == 0
    assert (claims.count(before), claims.count(now)) == (0, 1)


def test_a_process_that_lives_keeps_its_jobs(
    claims: Claims, inside: Inside, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    hold(claims, [payload(1)])
    assert take_back(claims, GONE, CrashPolicy()) == 0
    assert claims.count(GONE) == 1
    assert inside.args("low") == []
    assert caplog.messages == [f"process {GONE} came back, its jobs stay with it"]


def test_a_process_that_comes_back_in_the_middle_keeps_the_rest(
    claims: Claims, inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    hold(claims, [payload(n) for n in range(150)])
    claims.declare_dead(GONE)
    recover = Claims.recover

    def recover_and_let_it_come_back(self: Claims, identity: str, moves: Any) -> Recovered:
        found = recover(self, identity, moves)
        self.beat(GONE, LEASE)
        return found

    monkeypatch.setattr(Claims, "recover", recover_and_let_it_come_back)
    assert take_back(claims, GONE, CrashPolicy()) == 100
    assert claims.count(GONE) == 50
    assert len(inside.args("low")) == 100


def test_two_that_take_back_at_once_move_each_job_once(
    claims: Claims, inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    hold(claims, [payload(n) for n in range(20)])
    claims.declare_dead(GONE)
    held = Claims.held

    def held_and_taken_by_another(self: Claims, identity: str) -> Any:
        found = held(self, identity)
        monkeypatch.setattr(Claims, "held", held)
        assert take_back(self, identity, CrashPolicy()) == 20
        return found

    monkeypatch.setattr(Claims, "held", held_and_taken_by_another)
    assert take_back(claims, GONE, CrashPolicy()) == 0
    assert sorted(inside.args("low")) == [[n] for n in range(20)]


def test_pages_have_at_most_100_jobs_and_four_megabytes(
    claims: Claims, monkeypatch: pytest.MonkeyPatch
) -> None:
    pages: list[tuple[int, int]] = []
    recover = Claims.recover

    def spy(self: Claims, identity: str, moves: list[Move]) -> Recovered:
        pages.append((len(moves), sum(len(move.payload) for move in moves)))
        return recover(self, identity, moves)

    monkeypatch.setattr(Claims, "recover", spy)
    hold(claims, [payload(n) for n in range(250)])
    claims.declare_dead(GONE)
    assert take_back(claims, GONE, CrashPolicy()) == 250
    assert [count for count, _ in pages] == [100, 100, 50]
    pages.clear()
    hold(claims, [payload(n, x="x" * 900_000) for n in range(10)], queue="large", batch="b")
    claims.declare_dead(GONE)
    assert take_back(claims, GONE, CrashPolicy()) == 10
    assert [count for count, _ in pages] == [4, 4, 2]
    assert all(size <= 4_000_000 for _, size in pages)


def test_a_job_larger_than_a_page_is_a_page_of_its_own(claims: Claims, inside: Inside) -> None:
    hold(claims, [payload(n, x="x" * 4_500_000) for n in range(2)])
    claims.declare_dead(GONE)
    assert take_back(claims, GONE, CrashPolicy()) == 2
    assert sorted(inside.args("low")) == [[0], [1]]


def test_a_dead_process_without_claims_is_taken_out_of_the_leases(
    claims: Claims, inside: Inside
) -> None:
    claims.join(GONE, LEASE)
    claims.declare_dead(GONE)
    assert take_back(claims, GONE, CrashPolicy()) == 0
    assert inside.names() == set()


def test_a_poison_pill_is_buried_after_its_death_was_told(claims: Claims, inside: Inside) -> None:
    told: list[tuple[str, bool]] = []
    hold(claims, [payload(1, crashes=2, crashed_at=4_000_000_000_000), payload(2)])
    mark_suspect(inside, number=1)
    claims.declare_dead(GONE)

    def on_death(job: Payload) -> None:
        told.append((job.jid, bool(inside.entries("dead"))))

    assert take_back(claims, GONE, CrashPolicy(), on_death) == 2
    assert told == [(f"{1:024x}", False)]
    dead, _ = inside.entry("dead")
    assert (dead["args"], dead["error_class"], dead["crashes"]) == ([1], "PoisonPill", 3)
    assert inside.args("low") == [[2]]
    assert "crashes" not in inside.jobs("low")[0]


def mark_suspect(inside: Inside, number: int) -> None:
    """Mark a claim of the dead process as the suspect that was running."""
    found: dict[bytes, bytes] = inside.client.hgetall(inside.key(f"jq:claims:{GONE}"))
    (field,) = (f for f, raw in found.items() if json.loads(raw)["args"] == [number])
    inside.client.hset(inside.key(f"jq:claims:{GONE}"), "suspect", field)


def test_who_runs_no_user_code_leaves_a_poison_pill_to_those_who_do(
    claims: Claims, inside: Inside
) -> None:
    hold(claims, [payload(1, crashes=2, crashed_at=4_000_000_000_000), payload(2)])
    mark_suspect(inside, number=1)
    claims.declare_dead(GONE)
    assert take_back(claims, GONE, CrashPolicy()) == 1
    assert inside.args("low") == [[2]]
    assert inside.entries("dead") == []
    # The mark is still there for whoever comes next, and the job is still charged.
    assert take_back(claims, GONE, CrashPolicy(), lambda job: None) == 1
    assert inside.entry("dead")[0]["args"] == [1]
    assert claims.count(GONE) == 0
    assert claims.leases() == {}


def test_a_job_delayed_for_a_crash_stands_in_the_schedule(claims: Claims, inside: Inside) -> None:
    hold(claims, [payload(1, crashes=1, crashed_at=4_000_000_000_000)])
    mark_suspect(inside, number=1)
    claims.declare_dead(GONE)
    seconds, _ = inside.client.time()
    take_back(claims, GONE, CrashPolicy(delay=60))
    job, due = inside.entry("schedule")
    assert (job["args"], job["crashes"]) == ([1], 2)
    assert seconds + 59 < due < seconds + 120


def test_what_redis_refuses_stays_claimed_and_is_told(
    claims: Claims, inside: Inside, caplog: pytest.LogCaptureFixture
) -> None:
    hold(claims, [payload(1)], queue="bad")
    hold(claims, [payload(2)], queue="low", batch="b")
    inside.client.delete(inside.key("queue:bad"))
    inside.client.set(inside.key("queue:bad"), "somebody's own")
    claims.declare_dead(GONE)
    assert take_back(claims, GONE, CrashPolicy()) == 1
    assert inside.args("low") == [[2]]
    assert [held.queue for held in claims.held(GONE)[0]] == ["bad"]
    assert "1 job(s) of dead process" in caplog.messages[0]
    assert "WRONGTYPE" in caplog.messages[0]


def test_junk_in_a_claim_goes_back_to_its_queue_for_a_worker_to_bury(
    claims: Claims, inside: Inside
) -> None:
    store().queues.push({"low": [b"junk", b"\xff\x00"]})
    claims.step(GONE, lease=LEASE, batch="1", wanted=10, queues=["low"])
    claims.declare_dead(GONE)
    assert take_back(claims, GONE, CrashPolicy()) == 2
    assert sorted(inside.raw("low")) == [b"junk", b"\xff\x00"]


# The duty ---------------------------------------------------------------------


@pytest.fixture
def uptime(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Say how long the server is up: a list with one number of seconds."""
    seconds = [10_000]
    monkeypatch.setattr(
        Server, "facts", lambda self: ServerFacts("7.0", "standalone", "noeviction", seconds[0])
    )
    return seconds


def duty(unbroken_for: float = 10_000.0, **options: Any) -> Recovery:
    return Recovery(store(), CrashPolicy(), LEASE, lambda: unbroken_for, **options)


def lapse(inside: Inside, identity: str = GONE) -> None:
    """Let a lease run out."""
    inside.client.zadd(inside.key("jq:leases"), {identity: 1_000.0})


@pytest.mark.parametrize("unbroken_for", [0.0, 10_000.0])
def test_a_process_declared_dead_is_taken_back_at_once_by_anybody(
    claims: Claims, inside: Inside, uptime: list[int], unbroken_for: float
) -> None:
    uptime[0] = 0
    hold(claims, [payload(1)])
    claims.declare_dead(GONE)
    duty(unbroken_for).tick()
    assert inside.args("low") == [[1]]


def test_a_lease_that_ran_out_is_taken_back_by_who_knows_well_enough(
    claims: Claims, inside: Inside, uptime: list[int]
) -> None:
    hold(claims, [payload(1)])
    lapse(inside)
    duty().tick()
    assert inside.args("low") == [[1]]


@pytest.mark.parametrize(
    ("unbroken_for", "seconds_up"), [(LEASE - 1, 10_000), (10_000.0, 29), (0.0, 10_000)]
)
def test_after_an_outage_nobody_is_taken_for_dead(
    claims: Claims, inside: Inside, uptime: list[int], unbroken_for: float, seconds_up: int
) -> None:
    uptime[0] = seconds_up
    hold(claims, [payload(1)])
    lapse(inside)
    duty(unbroken_for).tick()
    assert inside.args("low") == []
    assert claims.count(GONE) == 1


def test_a_live_lease_is_left_alone(claims: Claims, inside: Inside, uptime: list[int]) -> None:
    hold(claims, [payload(1)])
    duty().tick()
    assert claims.count(GONE) == 1


def test_the_next_look_is_about_a_second_away(claims: Claims, uptime: list[int]) -> None:
    waits = [duty().tick() for _ in range(20)]
    assert all(0.5 <= wait <= 1.5 for wait in waits)
    assert len(set(waits)) > 10


def test_one_process_that_cannot_be_taken_back_does_not_keep_us_from_the_others(
    claims: Claims, inside: Inside, uptime: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    inside.client.set(inside.key("jq:claims:broken\nhost:1:c"), "somebody's own")
    lapse(inside, "broken\nhost:1:c")
    hold(claims, [payload(1)])
    inside.client.zadd(inside.key("jq:leases"), {GONE: 2_000.0})
    service = duty()
    service.tick()
    assert inside.args("low") == [[1]]
    service.tick()
    (line,) = [line for line in caplog.messages if "cannot be taken back" in line]
    assert line.startswith(r"the jobs of broken\nhost:1:c cannot be taken back: ")
    assert "WRONGTYPE" in line


def test_an_outage_is_not_swallowed(uptime: list[int], settings: Any) -> None:
    settings.JOBQUEUE = {"REDIS_URL": "redis://127.0.0.1:1/0"}
    with pytest.raises(StoreUnavailable):
        duty().tick()


def test_a_death_is_told_to_who_runs_user_code(
    claims: Claims, inside: Inside, uptime: list[int]
) -> None:
    told: list[str] = []
    hold(claims, [payload(1, crashes=2, crashed_at=4_000_000_000_000)])
    mark_suspect(inside, number=1)
    claims.declare_dead(GONE)
    duty(on_death=lambda job: told.append(job.jid)).tick()
    assert told == [f"{1:024x}"]
    assert inside.entry("dead")[0]["args"] == [1]


# Orphans ----------------------------------------------------------------------


def test_claims_without_a_lease_get_one_and_are_taken_back_when_it_ends(
    claims: Claims, inside: Inside, uptime: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    hold(claims, [payload(1)])
    inside.client.zrem(inside.key("jq:leases"), GONE)
    service = duty()
    service.adopt_orphans()
    assert list(claims.leases()) == [GONE]
    assert caplog.messages == [f"claims of {GONE} have no lease; they are given one"]
    service.tick()
    assert inside.args("low") == []
    lapse(inside)
    service.tick()
    assert inside.args("low") == [[1]]


def test_orphans_are_looked_for_once_an_hour(
    claims: Claims, uptime: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = freeze(monkeypatch)
    looks: list[float] = []
    monkeypatch.setattr(Recovery, "adopt_orphans", lambda self: looks.append(clock.monotonic))
    service, began = duty(), clock.monotonic
    for _ in range(3 * 60 + 1):
        service.tick()
        clock.advance(60)
    assert len(looks) == 3
    assert looks[0] - began <= recovery.ORPHAN_LOOK
    assert [b - a for a, b in pairwise(looks)] == [3600.0, 3600.0]


def test_records_of_lost_processes_are_taken_off_the_list(
    claims: Claims, inside: Inside, uptime: list[int]
) -> None:
    inside.client.sadd(inside.key("processes"), GONE, OURS)
    inside.client.hset(inside.key(OURS), "info", "{}")
    duty().adopt_orphans()
    assert set(inside.client.smembers(inside.key("processes"))) == {OURS.encode()}


# Hooks ------------------------------------------------------------------------


@pytest.fixture
def _no_keys(settings: Any) -> None:
    """Jobs are not signed."""
    settings.JOBQUEUE = {"OUTLET": "fake"}


@pytest.mark.usefixtures("_no_keys")
def test_the_hook_of_a_poison_pill_knows_its_job_and_has_fresh_connections(
    caplog: pytest.LogCaptureFixture, freshened: list[str]
) -> None:
    heard: list[Any] = []

    def died(sender: Any, payload: Payload, error: BaseException, **_: Any) -> None:
        heard.append((sender, payload.jid, str(error)))
        freshened.append(f"{len(MOURNED)} hook ran")

    job_died.connect(died)
    name = f"{MournedJob.__module__}.MournedJob"
    try:
        tell_of_poison(payload(1, crashes=3).replace(**{"class": name, "args": []}))
    finally:
        job_died.disconnect(died)
    assert [(f"{1:024x}", 3, PoisonPill)] == MOURNED
    assert heard == [(MournedJob, f"{1:024x}", "killed its worker 3 times")]
    assert freshened == ["fresh", "1 hook ran", "closed"]
    assert caplog.messages == []


@pytest.mark.usefixtures("_no_keys")
@pytest.mark.parametrize(
    ("fields", "line"),
    [
        ({"class": "shop.NewJob\n"}, r"shop.NewJob\n killed its workers, and its class is not"),
        ({"hook": "fail"}, "on_exhausted failed"),
        ({"args": [1, 2]}, "on_exhausted failed"),
    ],
    ids=["unknown", "raises", "arity"],
)
def test_a_hook_that_cannot_run_is_told_and_the_signal_sent(
    caplog: pytest.LogCaptureFixture, fields: dict[str, Any], line: str
) -> None:
    heard: list[str] = []

    def died(payload: Payload, **_: Any) -> None:
        heard.append(payload.jid)

    job_died.connect(died)
    name = f"{MournedJob.__module__}.MournedJob"
    job = payload(1, crashes=3).replace(**{"class": name, "args": [], **fields})
    try:
        tell_of_poison(job)
    finally:
        job_died.disconnect(died)
    assert heard == [f"{1:024x}"]
    (message,) = caplog.messages
    assert line in message
