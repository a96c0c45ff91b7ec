"""The beat keeps the lease alive and tells the world, in Sidekiq's words, what the process does."""

from __future__ import annotations

import json
import signal
from typing import Any, cast

import pytest

from django_jobqueue import Payload
from django_jobqueue.connection import store
from django_jobqueue.exceptions import StoreFull, StoreUnavailable
from django_jobqueue.service import Outage
from django_jobqueue.store.claims import Claim
from django_jobqueue.store.locks import Lock, lock_in
from django_jobqueue.store.metrics import Metrics
from django_jobqueue.store.processes import RECORD_TTL, Processes
from django_jobqueue.worker.heartbeat import BEAT, Heartbeat, beat_interval
from django_jobqueue.worker.held import Held
from django_jobqueue.worker.lease import Lease
from django_jobqueue.worker.options import QueueOrder, WorkerOptions
from django_jobqueue.worker.tracker import Tracker
from tests.conftest import JobqueueSettings
from tests.support.clocks import FrozenClock, freeze
from tests.support.inside import Inside

IDENTITY = "host.example:7:aaaaaaaaaaaa"
LEASE = 60.0


class Fetcher:
    """As much of a fetcher as a heartbeat sees."""

    def __init__(self) -> None:
        self.jobs: list[Held] = []
        self.is_quiet = False
        self.doubts = 0

    def running(self) -> list[Held]:
        return self.jobs

    def locks(self) -> list[Lock]:
        return [lock for held in self.jobs if (lock := lock_in(held.claim.raw))]

    def doubt(self) -> None:
        self.doubts += 1


class Rig:
    """A heartbeat with what is around it."""

    def __init__(
        self, queues: QueueOrder | None = None, lease: float = LEASE, **options_of_worker: Any
    ) -> None:
        self.fetcher = cast(Any, Fetcher())
        self.lease = Lease(lease)
        self.sent: list[int] = []
        options = WorkerOptions(
            queues or QueueOrder({"default": 1}), concurrency=5, lease=lease, **options_of_worker
        )
        self.tracker = Tracker()
        self.beat = Heartbeat(
            store(), IDENTITY, options, self.lease, self.fetcher, Outage(), self.sent.append,
            self.tracker,
        )  # fmt: skip


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> FrozenClock:
    """Our clock stands still."""
    return freeze(monkeypatch)


@pytest.fixture
def rig(jobqueue_settings: JobqueueSettings, clock: FrozenClock) -> Rig:
    """A heartbeat of a process that has just joined."""
    jobqueue_settings()
    store().claims.join(IDENTITY, LEASE)
    return Rig()


def record(inside: Inside) -> dict[str, str]:
    found = inside.client.hgetall(inside.key(IDENTITY))
    return {name.decode(): value.decode() for name, value in found.items()}


def work(inside: Inside) -> dict[str, dict[str, Any]]:
    found = inside.client.hgetall(inside.key(f"{IDENTITY}:work"))
    return {name.decode(): json.loads(value) for name, value in found.items()}


def held(raw: bytes, clock: FrozenClock, ago: float = 0.0, field: str = "1:1:low") -> Held:
    found = Held(Claim(field, "low", raw), clock.monotonic - ago)
    found.started = clock.monotonic - ago
    return found


def job(**fields: Any) -> bytes:
    return Payload({"class": "HardJob", "args": [1], "jid": "b" * 24, **fields}).encode()


# The lease --------------------------------------------------------------------


@pytest.mark.parametrize(("lease", "seconds"), [(60, 10), (40, 10), (20, 5), (15, 3.75)])
def test_beats_are_ten_seconds_apart_and_closer_for_a_short_lease(
    lease: float, seconds: float
) -> None:
    assert beat_interval(lease) == seconds
    assert BEAT == 10


def test_a_beat_renews_the_lease_at_the_server_and_in_memory(
    rig: Rig, inside: Inside, clock: FrozenClock
) -> None:
    inside.client.zadd(inside.key("jq:leases"), {IDENTITY: 9e15})
    clock.advance(40)
    assert rig.beat.tick() == 10
    seconds, _ = inside.client.time()
    assert abs(store().claims.leases()[IDENTITY] - (seconds + LEASE)) < 30
    clock.advance(40)
    assert rig.lease.is_safe
    assert not rig.lease.audit_due


def test_a_lease_that_had_lapsed_has_the_claims_compared(rig: Rig, inside: Inside) -> None:
    inside.client.delete(inside.key("jq:leases"))
    rig.beat.tick()
    assert rig.lease.audit_due
    assert not rig.lease.is_safe


def test_each_beat_makes_the_fetcher_compare_its_claims(rig: Rig) -> None:
    rig.beat.tick()
    rig.beat.tick()
    assert rig.fetcher.doubts == 2


def test_a_beat_that_fails_breaks_the_lease_and_is_the_business_of_the_loop(
    settings: Any, clock: FrozenClock
) -> None:
    settings.JOBQUEUE = {"REDIS_URL": "redis://127.0.0.1:1/0"}
    rig = Rig()
    clock.advance(5)
    with pytest.raises(StoreUnavailable):
        rig.beat.tick()
    assert rig.lease.unbroken_for == 0
    assert rig.fetcher.doubts == 0


# The record -------------------------------------------------------------------


def test_the_record_is_what_sidekiq_reads(rig: Rig, inside: Inside, clock: FrozenClock) -> None:
    rig.fetcher.jobs = [held(job(), clock), held(job(), clock, field="1:2:low")]
    rig.beat.tick()
    found = record(inside)
    assert set(found) == {"info", "concurrency", "busy", "beat", "rtt_us", "quiet", "rss"}
    assert (found["concurrency"], found["busy"], found["quiet"]) == ("5", "2", "false")
    assert float(found["beat"]) == clock.now
    assert int(found["rtt_us"]) >= 0
    assert int(found["rss"]) > 1000
    assert set(inside.client.smembers(inside.key("processes"))) == {IDENTITY.encode()}
    assert 0 < inside.client.ttl(inside.key(IDENTITY)) <= RECORD_TTL == 60


def test_the_info_is_complete_for_sidekiq_7_and_8(
    rig: Rig, inside: Inside, clock: FrozenClock
) -> None:
    clock.advance(100)
    queues = QueueOrder({"critical": 6, "default": 3})
    Rig(queues).beat.tick()
    assert json.loads(record(inside)["info"]) == {
        "hostname": "host.example",
        "started_at": clock.now,
        "pid": 7,
        "tag": "",
        "concurrency": 5,
        # 7.3: a list of the weights of each capsule
        "queues": ["critical", "default"],
        "weights": [{"critical": 6, "default": 3}],
        "labels": [],
        "identity": IDENTITY,
        "version": "django-jobqueue",
        "embedded": False,
        # 8.x: queues and weights are read from here
        "capsules": {
            "default": {
                "concurrency": 5,
                "mode": "weighted",
                "weights": {"critical": 6, "default": 3},
            }
        },
    }


def test_the_slots_of_an_event_loop_are_a_capsule_of_their_own(rig: Rig, inside: Inside) -> None:
    Rig(async_concurrency=100).beat.tick()
    found = record(inside)
    info = json.loads(found["info"])
    assert (found["concurrency"], info["concurrency"]) == ("105", 105)
    assert info["weights"] == [{"default": 1}] * 2
    slots = {name: capsule["concurrency"] for name, capsule in info["capsules"].items()}
    assert slots == {"default": 5, "async": 100}


def test_a_quiet_process_says_so_in_the_word_that_sidekiq_compares(
    rig: Rig, inside: Inside
) -> None:
    rig.fetcher.is_quiet = True
    rig.beat.tick()
    assert record(inside)["quiet"] == "true"


def test_what_runs_is_told_with_its_payload_as_text(
    rig: Rig, inside: Inside, clock: FrozenClock
) -> None:
    raw = job(args=["ä", 12345678901234567890])
    rig.fetcher.jobs = [held(raw, clock, ago=90)]
    rig.beat.tick()
    assert work(inside) == {
        "1:1:low": {"queue": "low", "payload": raw.decode(), "run_at": int(clock.now - 90)}
    }
    assert 0 < inside.client.ttl(inside.key(f"{IDENTITY}:work")) <= RECORD_TTL


def test_what_runs_no_more_is_told_no_more(rig: Rig, inside: Inside, clock: FrozenClock) -> None:
    rig.fetcher.jobs = [held(job(), clock), held(job(), clock, field="1:2:low")]
    rig.beat.tick()
    rig.fetcher.jobs = rig.fetcher.jobs[1:]
    rig.beat.tick()
    assert list(work(inside)) == ["1:2:low"]
    rig.fetcher.jobs = []
    rig.beat.tick()
    assert work(inside) == {}


@pytest.mark.parametrize(
    "raw",
    [b"junk", b"\xff", b'{"class":"A","args":["\\ud800"],"jid":"1"}', b"[" * 5000],
    ids=["no JSON", "no UTF-8", "surrogate", "deep"],
)
def test_junk_that_is_about_to_be_buried_does_not_stop_the_beat(
    rig: Rig, inside: Inside, clock: FrozenClock, raw: bytes
) -> None:
    rig.fetcher.jobs = [held(raw, clock)]
    rig.beat.tick()
    assert isinstance(json.loads(work(inside)["1:1:low"]["payload"]), dict)


def test_a_full_redis_stops_the_record_and_not_the_beat(
    rig: Rig, inside: Inside, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(self: Processes, *args: Any) -> None:
        raise StoreFull("OOM command not allowed")

    with monkeypatch.context() as full:
        full.setattr(Processes, "record", refuse)
        assert rig.beat.tick() == 10
        rig.beat.tick()
    assert len(caplog.messages) == 1
    assert "cannot be written: OOM" in caplog.messages[0]
    assert not rig.lease.audit_due
    rig.beat.tick()
    assert record(inside)["quiet"] == "false"


# Metrics ----------------------------------------------------------------------


def counted(inside: Inside) -> dict[bytes, bytes]:
    """Return what stands in Redis of the minute in which the clock stands still."""
    found: dict[bytes, bytes] = inside.client.hgetall(inside.key("j|270115|8:00"))
    return found


def test_each_beat_writes_what_was_counted_since_the_last(rig: Rig, inside: Inside) -> None:
    rig.beat.tick()
    assert counted(inside) == {}
    rig.tracker.note("A", 0.5, failed=False)
    rig.beat.tick()
    rig.tracker.note("A", 0.25, failed=False)
    rig.tracker.note("A", 0.25, failed=True)
    rig.beat.tick()
    assert counted(inside) == {b"A|p": b"3", b"A|f": b"1", b"A|ms": b"750"}
    rig.beat.finish()
    assert counted(inside)[b"A|p"] == b"3"


def test_metrics_that_a_full_redis_does_not_take_come_with_a_later_beat(
    rig: Rig, inside: Inside, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(self: Metrics, snapshot: Any) -> None:
        raise StoreFull("OOM command not allowed")

    with monkeypatch.context() as full:
        full.setattr(Metrics, "add", refuse)
        for _ in range(2):
            rig.tracker.note("A", 0.5, failed=False)
            assert rig.beat.tick() == 10
    assert len(caplog.messages) == 1
    assert "cannot be written: OOM" in caplog.messages[0]
    rig.tracker.note("B", 0.5, failed=False)
    rig.beat.tick()
    assert counted(inside) == {b"A|p": b"2", b"A|ms": b"1000", b"B|p": b"1", b"B|ms": b"500"}


def test_the_metrics_of_an_outage_come_with_the_first_beat_after_it(
    rig: Rig, inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: Metrics, snapshot: Any) -> None:
        raise StoreUnavailable("gone")

    rig.tracker.note("A", 0.5, failed=False)
    with monkeypatch.context() as away:
        away.setattr(Metrics, "add", fail)
        with pytest.raises(StoreUnavailable):
            rig.beat.tick()
    rig.beat.finish()
    assert counted(inside) == {b"A|p": b"1", b"A|ms": b"500"}


def test_metrics_that_are_lost_at_the_end_are_told_of(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(self: Metrics, snapshot: Any) -> None:
        raise StoreUnavailable("gone")

    monkeypatch.setattr(Metrics, "add", fail)
    rig.beat.finish()
    assert caplog.messages == ["the last metrics of this process are lost: gone"]


# Orders through Redis ---------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "number"),
    [("TERM", signal.SIGTERM), ("TSTP", signal.SIGTSTP), ("TTIN", signal.SIGTTIN)],
)
def test_a_signal_sent_through_redis_is_passed_on(
    rig: Rig, inside: Inside, name: str, number: int
) -> None:
    inside.client.lpush(inside.key(f"{IDENTITY}-signals"), name)
    rig.beat.tick()
    rig.beat.tick()
    assert rig.sent == [number]


@pytest.mark.parametrize("junk", [b"KILL", b"9", b"", b"term", b"SIGTERM", b"\xff", b"USR1"])
def test_anything_else_is_ignored(rig: Rig, inside: Inside, junk: bytes) -> None:
    inside.client.lpush(inside.key(f"{IDENTITY}-signals"), junk)
    rig.beat.tick()
    assert rig.sent == []
    assert inside.client.llen(inside.key(f"{IDENTITY}-signals")) == 0


def test_where_remote_signals_are_off_none_is_taken(rig: Rig, inside: Inside) -> None:
    inside.client.lpush(inside.key(f"{IDENTITY}-signals"), "TERM")
    deaf = Rig(remote_signals=False)
    deaf.beat.tick()
    assert deaf.sent == []
    assert inside.client.llen(inside.key(f"{IDENTITY}-signals")) == 1


def test_one_signal_is_taken_a_beat_in_the_order_they_were_sent(rig: Rig, inside: Inside) -> None:
    inside.client.lpush(inside.key(f"{IDENTITY}-signals"), "TSTP", "TERM")
    rig.beat.tick()
    assert rig.sent == [signal.SIGTSTP]
    rig.beat.tick()
    assert rig.sent == [signal.SIGTSTP, signal.SIGTERM]


# Locks of unique jobs -----------------------------------------------------------

DIGEST = "a" * 32


def unique(rig: Rig) -> Held:
    payload = Payload(
        {
            "class": "HardJob", "args": [], "jid": "1" * 24, "unique_for": 60.0,
            "unique_digest": DIGEST,
        }
    )  # fmt: skip
    held = Held(Claim("1:1:default", "default", payload.encode()), 0.0, started=0.0)
    rig.fetcher.jobs.append(held)
    return held


def test_the_lock_of_a_job_at_work_is_renewed_with_each_beat(rig: Rig, inside: Inside) -> None:
    unique(rig)
    lock = inside.key(f"jq:unique:{DIGEST}")
    inside.client.set(lock, "1" * 24, px=500)
    rig.beat.tick()
    assert 55 < inside.client.ttl(lock) <= 60


def test_the_lock_of_another_job_is_left_alone(rig: Rig, inside: Inside) -> None:
    unique(rig)
    lock = inside.key(f"jq:unique:{DIGEST}")
    inside.client.set(lock, "2" * 24, px=500_000)
    rig.beat.tick()
    assert inside.client.get(lock) == b"2" * 24
    assert inside.client.ttl(lock) > 400


def test_a_lock_that_is_gone_is_not_taken_again(rig: Rig, inside: Inside) -> None:
    """After a flush nobody would free it: the claim of its job is gone as well."""
    unique(rig)
    rig.beat.tick()
    assert not inside.client.exists(inside.key(f"jq:unique:{DIGEST}"))
