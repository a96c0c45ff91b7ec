"""Jobs whose time has come reach their queues: each once, asked again, none in another's way."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from django_jobqueue import Job, Payload
from django_jobqueue.client.middleware import Push
from django_jobqueue.connection import store
from django_jobqueue.exceptions import StoreUnavailable
from django_jobqueue.job.declaration import wire_name
from django_jobqueue.scheduling.poller import NAP, PAGE, Poller
from django_jobqueue.signals import job_refused
from django_jobqueue.store.sets import Promotion, Sets
from django_jobqueue.switches.switches import switches
from django_jobqueue.testing import disable_job
from tests.conftest import JobqueueSettings
from tests.support.clocks import FrozenClock, freeze
from tests.support.inside import Inside

SETS = ("schedule", "retry")

each_set = pytest.mark.parametrize("name", SETS)


def accept(payload: Payload) -> Payload | None:
    return payload


@pytest.fixture(autouse=True)
def _configured(jobqueue_settings: JobqueueSettings, freshened: list[str]) -> None:
    jobqueue_settings()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> FrozenClock:
    """Our clock stands still; that of Redis does not."""
    return freeze(monkeypatch)


def poller(chain: Push = accept, who: str = "host:1:a", **options: Any) -> Poller:
    return Poller(store(), who, chain, **options)


def job(number: int = 0, **fields: Any) -> bytes:
    return Payload(
        {"class": "HardJob", "args": [number], "jid": f"{number:024x}", "queue": "low", **fields}
    ).encode()


def now(inside: Inside) -> float:
    seconds, micro = inside.client.time()
    return float(seconds + micro / 1e6)


# Promotion --------------------------------------------------------------------


@each_set
def test_what_is_due_comes_to_its_queue_and_what_is_not_stays(inside: Inside, name: str) -> None:
    inside.put(name, job(1), now(inside) - 1)
    inside.put(name, job(2), now(inside) + 1000)
    poller().promote_due()
    assert inside.args("low") == [[1]]
    assert inside.entry(name)[0]["args"] == [2]
    assert set(inside.client.smembers(inside.key("queues"))) == {b"low"}


def test_the_longest_overdue_runs_first(inside: Inside) -> None:
    for number in (3, 1, 2):
        inside.put("schedule", job(number), now(inside) - 100 + number)
    poller().promote_due()
    assert inside.args("low") == [[1], [2], [3]]


def test_nothing_but_the_time_is_added(inside: Inside, clock: FrozenClock) -> None:
    raw = b'{"x":{"y":[]},"class":"A","args":[12345678901234567890],"jid":"1","bid":"\xc3\xa4"}'
    inside.put("schedule", raw, 1)
    poller().promote_due()
    stamp = str(int(clock.now * 1000)).encode()
    assert inside.raw("default") == [raw[:-1] + b',"enqueued_at":' + stamp + b"}"]


def test_the_time_is_written_as_the_settings_say(inside: Inside, clock: FrozenClock) -> None:
    inside.put("schedule", job(1), 1)
    poller(unit="seconds").promote_due()
    assert inside.jobs("low")[0]["enqueued_at"] == clock.now


def test_a_retry_keeps_what_it_carries(inside: Inside) -> None:
    failed = {"retry_count": 3, "error_class": "ValueError", "error_message": "x", "failed_at": 5}
    inside.put("retry", job(1, **failed), 1)
    poller().promote_due()
    (promoted,) = inside.jobs("low")
    assert {name: promoted[name] for name in failed} == failed


def test_one_round_promotes_a_page_of_each_set_and_asks_for_the_next_at_once(
    inside: Inside,
) -> None:
    for number in range(250):
        inside.put("schedule", job(number), number + 1)
    inside.put("retry", job(1000), 1)
    duty = poller()
    waits, sizes, idle = [], [], []
    for _ in range(4):
        waits.append(duty.promote_due())
        sizes.append(len(inside.raw("low")))
        idle.append(duty.nothing_due)
    assert PAGE == 100
    assert sizes == [101, 201, 251, 251]
    assert waits == [0.0, 0.0, 0.0, NAP]
    assert idle == [False, False, False, True]


def test_the_next_look_is_when_the_earliest_is_due_and_within_a_second(inside: Inside) -> None:
    assert poller().promote_due() == NAP
    inside.put("retry", job(1), now(inside) + 1000)
    assert poller().promote_due() == NAP
    inside.put("schedule", job(2), now(inside) + 0.9)
    assert 0 <= poller().promote_due() <= 0.9


# Asking again -----------------------------------------------------------------


def test_client_middleware_is_asked_again_and_may_change_the_job(inside: Inside) -> None:
    asked: list[list[Any]] = []

    def chain(payload: Payload) -> Payload | None:
        asked.append(payload.args)
        return payload.replace(queue="other", cattr={"tenant": 7})

    inside.put("schedule", job(1), 1)
    inside.put("retry", job(2), 1)
    poller(chain).promote_due()
    assert asked == [[1], [2]]
    assert sorted((j["args"], j["cattr"]) for j in inside.jobs("other")) == [
        ([1], {"tenant": 7}),
        ([2], {"tenant": 7}),
    ]
    assert set(inside.client.smembers(inside.key("queues"))) == {b"other"}


@each_set
def test_a_middleware_that_refuses_drops_the_job_and_says_so(
    inside: Inside, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    heard: list[str] = []

    def refused(payload: Payload, **_: Any) -> None:
        heard.append(payload.jid)

    inside.put(name, job(1, jid="a\nb"), 1)
    inside.put(name, job(2), 1)
    job_refused.connect(refused)
    try:
        poller(lambda payload: None if payload.args == [1] else payload).promote_due()
    finally:
        job_refused.disconnect(refused)
    assert inside.args("low") == [[2]]
    assert inside.entries(name) == []
    assert heard == ["a\nb"]
    assert caplog.messages == [r"HardJob jid=a\nb is due, and a client middleware dropped it"]


@each_set
@pytest.mark.parametrize("kind", [RuntimeError, SystemExit, KeyboardInterrupt])
def test_a_middleware_that_raises_holds_its_job_for_a_minute_and_the_others_go_on(
    inside: Inside, name: str, kind: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    def chain(payload: Payload) -> Payload | None:
        if payload.args == [2]:
            raise kind("broken")
        return payload

    for number in (1, 2, 3):
        inside.put(name, job(number), number)
    before = now(inside)
    poller(chain).promote_due()
    assert inside.args("low") == [[1], [3]]
    member, score = inside.entry(name)
    assert inside.client.zrange(inside.key(name), 0, -1) == [job(2)]
    assert member["args"] == [2]
    assert before + 60 <= score <= now(inside) + 60
    (record,) = caplog.records
    assert "a client middleware failed, the job is held for 60 s" in record.getMessage()
    assert record.exc_info is not None
    assert record.exc_info[0] is kind


def test_a_middleware_that_makes_the_job_unwritable_holds_it_too(inside: Inside) -> None:
    inside.put("schedule", job(1), 1)
    poller(lambda payload: payload.replace(cattr=object())).promote_due()
    assert inside.args("low") == []
    assert inside.entry("schedule")[1] > now(inside) + 50


@each_set
@pytest.mark.parametrize("junk", [b"junk", b"\xff\x00", b"null", b"", b'{"class":7}'])
def test_a_junk_entry_goes_as_it_is_to_where_a_worker_will_bury_it(
    inside: Inside, name: str, junk: bytes
) -> None:
    inside.put(name, junk, 1)
    inside.put(name, job(1), 2)
    poller(lambda payload: payload).promote_due()
    assert inside.raw("default") == [junk]
    assert inside.args("low") == [[1]]
    assert inside.client.zcard(inside.key(name)) == 0


def test_middleware_is_asked_with_fresh_database_connections(
    inside: Inside, freshened: list[str]
) -> None:
    def chain(payload: Payload) -> Payload | None:
        freshened.append("asked")
        return payload

    inside.put("schedule", job(1), 1)
    poller(chain).promote_due()
    assert freshened == ["fresh", "asked", "settled"]


# Several pollers, and faults --------------------------------------------------


def test_two_pollers_that_read_the_same_entries_move_each_once(inside: Inside) -> None:
    for number in range(20):
        inside.put("schedule", job(number), number + 1)
    inside.put("retry", job(100), 1)
    rival = poller(who="host:2:b")
    raced: list[bool] = []

    def chain(payload: Payload) -> Payload | None:
        if not raced:
            raced.append(True)  # after our read, before our move
            rival.promote_due()
        return payload

    poller(chain).promote_due()
    assert sorted(inside.args("low")) == [[number] for number in (*range(20), 100)]
    assert inside.entries("schedule") == inside.entries("retry") == []


def test_a_job_that_a_rival_dropped_or_held_is_not_brought_back(inside: Inside) -> None:
    inside.put("schedule", job(1), 1)
    rival = poller(lambda payload: None, who="host:2:b")

    def chain(payload: Payload) -> Payload | None:
        rival.promote_due()
        return payload

    poller(chain).promote_due()
    assert inside.args("low") == []
    assert inside.entries("schedule") == []


@each_set
def test_a_crash_before_the_move_leaves_every_job_in_its_set(
    inside: Inside, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside.put(name, job(1), 1)
    with monkeypatch.context() as patched:
        patched.setattr(Sets, "promote", away)
        with pytest.raises(StoreUnavailable):
            poller().promote_due()
    assert inside.args("low") == []
    poller().promote_due()
    assert inside.args("low") == [[1]]


def away(self: Sets, name: str, promotions: list[Promotion]) -> Any:
    raise StoreUnavailable("gone")


@each_set
def test_a_reply_that_was_lost_moves_nothing_twice(
    inside: Inside, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    promote = Sets.promote

    def promote_and_lose(self: Sets, name: str, promotions: list[Promotion]) -> Any:
        promote(self, name, promotions)
        return away(self, name, promotions)

    inside.put(name, job(1), 1)
    with monkeypatch.context() as patched:
        patched.setattr(Sets, "promote", promote_and_lose)
        with pytest.raises(StoreUnavailable):
            poller().promote_due()
    poller().promote_due()
    assert inside.args("low") == [[1]]


@each_set
def test_jobs_for_a_queue_that_redis_refuses_stay_and_give_way_to_the_others(
    inside: Inside, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    inside.client.set(inside.key("queue:low"), "somebody's own")
    for number in range(PAGE):
        inside.put(name, job(number), 1)
    inside.put(name, job(1000, queue="sound"), 2)
    duty = poller()
    duty.promote_due()
    duty.promote_due()
    assert inside.args("sound") == [[1000]]
    assert inside.client.zcard(inside.key(name)) == PAGE
    assert inside.client.zcount(inside.key(name), now(inside) + 50, "+inf") == PAGE
    assert f"{PAGE} due job(s) of {name} could not be promoted, they stay: " in caplog.messages[0]


def test_a_set_that_cannot_be_read_is_told_once_and_the_other_goes_on(
    inside: Inside, caplog: pytest.LogCaptureFixture
) -> None:
    inside.client.set(inside.key("retry"), "somebody's own")
    duty = poller()
    for number in range(3):
        inside.put("schedule", job(number), 1)
        duty.promote_due()
    assert inside.args("low") == [[0], [1], [2]]
    assert [line.partition(":")[0] for line in caplog.messages] == ["the set retry cannot be read"]
    inside.client.delete(inside.key("retry"))
    inside.put("retry", job(9), 1)
    duty.promote_due()
    assert inside.args("low")[-1] == [9]


# The leader -------------------------------------------------------------------


def test_only_the_leader_promotes_and_the_others_look_on(inside: Inside) -> None:
    leader, other = poller(who="host:1:a"), poller(who="host:2:b")
    leader.tick()
    inside.put("schedule", job(1), 1)
    waits = {other.tick() for _ in range(20)}
    assert not other.leads
    assert inside.args("low") == []
    assert all(NAP <= wait <= 2 * NAP for wait in waits)
    assert len(waits) > 10
    leader.tick()
    assert leader.leads
    assert inside.args("low") == [[1]]


def test_another_takes_over_when_nobody_leads(inside: Inside) -> None:
    leader, other = poller(who="host:1:a"), poller(who="host:2:b")
    leader.tick()
    inside.client.delete(inside.key("jq:leader"))  # as when its term is over
    inside.put("schedule", job(1), 1)
    other.tick()
    assert other.leads
    assert inside.args("low") == [[1]]
    leader.tick()
    assert not leader.leads


def test_a_term_ends_by_itself(inside: Inside) -> None:
    poller().tick()
    assert 0 < inside.client.pttl(inside.key("jq:leader")) <= 3000


def test_an_outage_is_the_business_of_the_loop(settings: Any) -> None:
    settings.JOBQUEUE = {"REDIS_URL": "redis://127.0.0.1:1/0"}
    with pytest.raises(StoreUnavailable):
        poller().tick()


def test_arguments_are_never_logged(inside: Inside, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)

    def chain(payload: Payload) -> Payload | None:
        if payload.jid == "1":
            return None
        raise ValueError("broken")

    inside.put("schedule", job(0, args=["secret"], jid="1"), 1)
    inside.put("schedule", job(0, args=["secret"], jid="2"), 1)
    poller(chain).promote_due()
    assert len(caplog.records) == 2
    assert "secret" not in caplog.text


# Kill switches and locks ---------------------------------------------------------

DIGEST = "c" * 32


class StoppedJob(Job):
    """Its switch is thrown in these tests."""

    def perform(self, number: int) -> None:
        """Do nothing."""


def stopped(number: int, **fields: Any) -> bytes:
    return (
        Payload.decode(job(number)).replace(**{"class": wire_name(StoppedJob), **fields}).encode()
    )


def middleware(payload: Payload) -> Payload | None:
    """Ask the switches as the client middleware does."""
    return None if switches().refuses(payload) else payload


@each_set
def test_what_is_due_while_its_switch_is_on_is_held_with_its_lock(
    inside: Inside, name: str
) -> None:
    raw = stopped(1, unique_for=60.0, unique_digest=DIGEST)
    inside.put(name, raw, 1)
    inside.put(name, job(2), 2)
    lock = inside.key(f"jq:unique:{DIGEST}")
    inside.client.set(lock, Payload.decode(raw).jid, px=5000)
    with disable_job(StoppedJob):
        poller(middleware).promote_due()
    assert inside.args("low") == [[2]]
    ((entry, _),) = store().held.page(wire_name(StoppedJob))
    held = Payload.decode(entry)
    assert (held.held_from, held.args) == (name, [1])
    assert inside.client.ttl(lock) == -1
    assert store().tally.last()[wire_name(StoppedJob)] == {"held": 1}
    assert {"dead", name}.isdisjoint(inside.names())


def test_what_is_due_while_its_switch_is_on_is_dropped_where_the_settings_say_so(
    inside: Inside, jobqueue_settings: JobqueueSettings
) -> None:
    jobqueue_settings(KILL_SWITCH={"QUEUED_JOBS": "drop"})
    raw = stopped(1, unique_for=60.0, unique_digest=DIGEST)
    inside.put("schedule", raw, 1)
    inside.client.set(inside.key(f"jq:unique:{DIGEST}"), Payload.decode(raw).jid)
    with disable_job(StoppedJob):
        poller(middleware).promote_due()
    assert store().tally.last()[wire_name(StoppedJob)] == {"dropped": 1}
    assert not any("unique" in name or "queue:" in name for name in inside.names())


def test_what_is_due_while_its_switch_is_on_goes_on_where_the_settings_say_so(
    inside: Inside, jobqueue_settings: JobqueueSettings
) -> None:
    jobqueue_settings(KILL_SWITCH={"QUEUED_JOBS": "run"})
    inside.put("schedule", stopped(1), 1)
    with disable_job(StoppedJob):
        poller(middleware).promote_due()
    assert inside.args("low") == [[1]]


def test_a_switch_thrown_between_two_questions_destroys_nothing(inside: Inside) -> None:
    """The middleware is not asked what the poller has asked already: its None would drop a job."""
    asked = []

    def throw_and_ask(payload: Payload) -> Payload | None:
        with disable_job(StoppedJob):
            asked.append(payload.jid)
            return middleware(payload)

    inside.put("schedule", stopped(1), 1)
    poller(throw_and_ask).promote_due()
    assert len(asked) == 1
    assert inside.args("low") == [[1]]


def test_the_lock_of_a_promoted_job_lasts_as_long_as_before(inside: Inside) -> None:
    raw = stopped(1, unique_for=60.0, unique_digest=DIGEST)
    inside.put("retry", raw, 1)
    lock = inside.key(f"jq:unique:{DIGEST}")
    inside.client.set(lock, Payload.decode(raw).jid, px=5)
    poller().promote_due()
    assert 55 < inside.client.ttl(lock) <= 60


def test_a_job_that_a_middleware_drops_gives_its_lock_up(inside: Inside) -> None:
    raw = stopped(1, unique_for=60.0, unique_digest=DIGEST)
    inside.put("schedule", raw, 1)
    inside.client.set(inside.key(f"jq:unique:{DIGEST}"), Payload.decode(raw).jid)
    poller(lambda payload: None).promote_due()
    assert not any("unique" in name for name in inside.names())
