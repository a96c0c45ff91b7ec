"""What is due by a timetable is pushed once a slot, whoever lives, dies or is away."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from django.db import OperationalError

from django_jobqueue import Job, Payload, exceptions
from django_jobqueue.client.middleware import Push
from django_jobqueue.connection import forget
from django_jobqueue.exceptions import StoreUnavailable
from django_jobqueue.models import Schedule
from django_jobqueue.scheduling import firing, slots
from django_jobqueue.scheduling.ticker import AHEAD, LOOK, PATIENCE, SPREAD, Ticker, wanted
from django_jobqueue.signals import job_refused
from django_jobqueue.timetable import Timetable
from tests.conftest import JobqueueSettings
from tests.support.clocks import FrozenClock, freeze
from tests.support.inside import Inside
from tests.support.polling import wait_until

pytestmark = pytest.mark.django_db

MINUTE = 60


class Chore(Job):
    """Is due now and then."""

    queue = "chores"
    self_healing = False

    def perform(self, *args: Any) -> None:
        """Do nothing."""


class UniqueChore(Chore):
    """Is never on its way twice."""

    unique_for = timedelta(minutes=10)


class Heal(Chore):
    """Stands for a reconciler."""

    queue = "reconcilers"


class Refusing:
    """A client middleware that lets nothing pass."""

    def __init__(self, push: Push) -> None:
        """Forget the next call."""

    def __call__(self, payload: Payload) -> Payload | None:
        return None


class Failing:
    """A client middleware that fails for what is named so."""

    broken = True

    def __init__(self, push: Push) -> None:
        self._push = push

    def __call__(self, payload: Payload) -> Payload | None:
        if self.broken and payload.args == ["broken"]:
            raise ValueError("a bug")
        return self._push(payload)


@pytest.fixture(autouse=True)
def _configured(jobqueue_settings: JobqueueSettings, request: pytest.FixtureRequest) -> None:
    jobqueue_settings(CLIENT_MIDDLEWARE=[])
    if "transactional_db" not in request.fixturenames:
        request.getfixturevalue("freshened")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> FrozenClock:
    """Our clock stands still."""
    return freeze(monkeypatch)


def entry(name: str = "often", job: type[Job] = Chore, **options: Any) -> Timetable:
    options = {"every": MINUTE, **options}
    return Timetable(name, f"{__name__}.{job.__qualname__}", **options)


def ticker(*entries: Timetable, reconcilers: tuple[Timetable, ...] = ()) -> Ticker:
    return Ticker(entries, reconcilers)


def started(clock: FrozenClock, *entries: Timetable) -> Ticker:
    """Return a ticker whose entries have their rows, shortly after a slot of the first one."""
    clock.now = float(entries[0].latest(clock.now) or 0) + 0.25
    duty = ticker(*entries)
    duty.tick()
    return duty


def row(name: str = "often") -> Schedule:
    return Schedule.objects.get(name=name)


def errors(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.levelno >= logging.ERROR]


# A slot -----------------------------------------------------------------------


def test_a_new_entry_begins_with_the_next_slot(inside: Inside, clock: FrozenClock) -> None:
    duty = started(clock, entry())
    assert inside.raw("chores") == []
    assert row().last_tick == row().pushed_tick == int(clock.now)
    clock.advance(MINUTE - 0.5)
    duty.tick()
    assert inside.raw("chores") == []
    clock.advance(0.5)
    duty.tick()
    assert len(inside.raw("chores")) == 1


def test_each_slot_is_pushed_once(inside: Inside, clock: FrozenClock) -> None:
    duty = started(clock, entry(args=(7, "x")))
    for _ in range(10):
        clock.advance(MINUTE)
        for _ in range(3):
            duty.tick()
    jobs = inside.jobs("chores")
    assert [job["args"] for job in jobs] == [[7, "x"]] * 10
    assert len({job["jid"] for job in jobs}) == 10
    assert {job["class"] for job in jobs} == {f"{__name__}.Chore"}
    assert row().pushed_tick == row().last_tick == entry().latest(clock.now)


def test_the_job_of_a_slot_has_the_same_jid_everywhere(inside: Inside, clock: FrozenClock) -> None:
    duty = started(clock, entry())
    clock.advance(MINUTE)
    duty.tick()
    (job,) = inside.jobs("chores")
    assert job["jid"] == firing.slot_jid("often", row().last_tick)
    assert len(job["jid"]) == 24
    assert firing.slot_jid("often", 60) != firing.slot_jid("often", 120)
    assert firing.slot_jid("often", 60) != firing.slot_jid("seldom", 60)


def test_five_processes_and_ten_ticks_make_ten_runs(
    transactional_db: None, inside: Inside, clock: FrozenClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    contenders = 5
    everybody_has_read = threading.Barrier(contenders)
    won: list[bool] = []
    claim = slots.claim

    def claim_together(read: Schedule, slot: int) -> bool:
        everybody_has_read.wait(30)
        won.append(claim(read, slot))
        return won[-1]

    started(clock, entry())
    monkeypatch.setattr(slots, "claim", claim_together)
    duties = [ticker(entry()) for _ in range(contenders)]
    with ThreadPoolExecutor(contenders) as threads:
        for _ in range(10):
            clock.advance(MINUTE)
            list(threads.map(Ticker.tick, duties))
    assert won.count(True) == 10
    assert won.count(False) == 40
    assert len(inside.raw("chores")) == 10
    assert len({job["jid"] for job in inside.jobs("chores")}) == 10


def test_the_next_look_is_at_the_next_slot_or_in_ten_seconds(clock: FrozenClock) -> None:
    duty = started(clock, entry(every=3600))
    assert 0.8 * LOOK < duty.tick() < 1.2 * LOOK
    clock.advance(3600 - 0.25 - 3)
    duty.tick()
    assert duty.tick() == pytest.approx(3.0)


def test_the_database_is_asked_once_a_slot(
    clock: FrozenClock, django_assert_num_queries: Callable[[int], Any]
) -> None:
    duty = started(clock, entry(), entry("seldom", every=86_400))
    clock.advance(MINUTE - 3)
    duty.tick()
    with django_assert_num_queries(0):
        duty.tick()
    clock.advance(3)
    with django_assert_num_queries(3):  # read, claimed, noted as pushed
        duty.tick()
    other = ticker(entry())
    other.tick()
    clock.advance(5)
    with django_assert_num_queries(0):
        other.tick()
        duty.tick()


def test_without_timetables_the_database_is_never_asked(
    clock: FrozenClock, django_assert_num_queries: Callable[[int], Any]
) -> None:
    duty = ticker()
    with django_assert_num_queries(0):
        for _ in range(3):
            assert duty.tick() > 0
            clock.advance(1000)


# Missed slots -----------------------------------------------------------------


def missed(inside: Inside, clock: FrozenClock, slots: float, **options: Any) -> list[str]:
    """Return the jids that are pushed when nobody has looked for so many slots."""
    started(clock, entry(**options))
    clock.advance(slots * MINUTE)
    ticker(entry(**options)).tick()
    return [job["jid"] for job in inside.jobs("chores")]


def jid(clock: FrozenClock, back: int = 0) -> str:
    return firing.slot_jid("often", int(clock.now) - back * MINUTE)


def test_missed_slots_make_one_run(inside: Inside, clock: FrozenClock) -> None:
    assert missed(inside, clock, 100) == [jid(clock)]
    assert row().pushed_tick == int(clock.now)


def test_missed_slots_may_be_skipped(inside: Inside, clock: FrozenClock) -> None:
    daily = entry(every=86_400, missed="skip")
    started(clock, daily)
    clock.advance(86_400 + 61)
    ticker(daily).tick()
    assert inside.raw("chores") == []
    assert row().pushed_tick == row().last_tick == daily.latest(clock.now)
    clock.advance(86_400 - 2)
    ticker(daily).tick()
    assert len(inside.raw("chores")) == 1


def test_a_skipping_entry_runs_the_slot_that_is_not_late(
    inside: Inside, clock: FrozenClock
) -> None:
    assert missed(inside, clock, 5, missed="skip") == [jid(clock)]


@pytest.mark.parametrize(("every", "late"), [(10, 10), (60, 60), (3600, 60), (86_400, 60)])
def test_a_slot_is_late_after_a_minute_or_one_period(every: int, late: float) -> None:
    skipping = entry(every=every, missed="skip")
    assert wanted(skipping, 0, 1_000_000, 1_000_000 + late - 0.1) == [1_000_000]
    assert wanted(skipping, 0, 1_000_000, 1_000_000 + late + 0.1) == []


def test_missed_slots_may_all_be_run_up_to_a_number(inside: Inside, clock: FrozenClock) -> None:
    ran = missed(inside, clock, 100, missed="backfill", backfill=3)
    assert ran == [jid(clock, 2), jid(clock, 1), jid(clock)]


def test_no_more_is_backfilled_than_was_missed(inside: Inside, clock: FrozenClock) -> None:
    ran = missed(inside, clock, 2, missed="backfill", backfill=24)
    assert ran == [jid(clock, 1), jid(clock)]


# Claimed and not pushed -------------------------------------------------------


def died_before_the_push(clock: FrozenClock, **options: Any) -> Ticker:
    """Return a ticker that outlives another one, which claimed a slot and died."""
    duty = started(clock, entry(**options))
    clock.advance(MINUTE)
    assert slots.claim(row(), int(clock.now))
    return duty


def test_a_slot_whose_process_died_is_pushed_by_another(inside: Inside, clock: FrozenClock) -> None:
    duty = died_before_the_push(clock)
    duty.tick()
    clock.advance(PATIENCE - 1)
    duty.tick()
    assert inside.raw("chores") == []  # its process may be at it
    clock.advance(LOOK)
    duty.tick()
    clock.advance(LOOK * 1.2)
    duty.tick()
    assert [job["jid"] for job in inside.jobs("chores")] == [
        firing.slot_jid("often", row().last_tick)
    ]
    assert row().pushed_tick == row().last_tick


@pytest.mark.parametrize("job", [Chore, UniqueChore])
def test_what_was_pushed_and_not_noted_is_not_pushed_again(
    inside: Inside, clock: FrozenClock, job: type[Job]
) -> None:
    duty = died_before_the_push(clock, job=job)
    firing.push_slot(entry(job=job), int(clock.now))
    for _ in range(3):
        clock.advance(LOOK * 1.2)
        duty.tick()
    assert len(inside.raw("chores")) == 1
    assert row().pushed_tick == row().last_tick


def test_not_even_when_it_has_run_already(inside: Inside, clock: FrozenClock) -> None:
    duty = died_before_the_push(clock)
    firing.push_slot(entry(), int(clock.now))
    assert inside.client.rpop(inside.key("queue:chores"))
    for _ in range(3):
        clock.advance(LOOK * 1.2)
        duty.tick()
    assert inside.raw("chores") == []


def test_a_backfill_is_finished_by_another(inside: Inside, clock: FrozenClock) -> None:
    options: dict[str, Any] = {"missed": "backfill", "backfill": 10}
    duty = started(clock, entry(**options))
    clock.advance(3 * MINUTE)
    assert slots.claim(row(), int(clock.now))
    firing.push_slot(entry(**options), int(clock.now) - 2 * MINUTE)
    expected = [jid(clock, 2), jid(clock, 1), jid(clock)]
    for _ in range(3):
        clock.advance(LOOK * 1.2)
        duty.tick()
    assert [job["jid"] for job in inside.jobs("chores")] == expected


def test_what_another_one_notes_meanwhile_is_left_alone(inside: Inside, clock: FrozenClock) -> None:
    duty = died_before_the_push(clock)
    duty.tick()
    slots.settle("often", row().last_tick)
    clock.advance(LOOK * 2)
    duty.tick()
    assert inside.raw("chores") == []


# Somebody is away -------------------------------------------------------------


@pytest.fixture
def redis_away(
    jobqueue_settings: JobqueueSettings, redis_server: Any
) -> Iterator[Callable[[], None]]:
    """Cut Redis off, until the returned function is called."""
    jobqueue_settings(CLIENT_MIDDLEWARE=[], REDIS_URL="unix:///nonexistent/redis.sock")
    yield lambda: (jobqueue_settings(CLIENT_MIDDLEWARE=[]), None)[1]
    forget()


def test_a_slot_waits_for_redis(
    inside: Inside, clock: FrozenClock, redis_away: Callable[[], None]
) -> None:
    duty = started(clock, entry())
    for _ in range(3):
        clock.advance(MINUTE)
        with pytest.raises(StoreUnavailable):
            duty.tick()
    assert row().pushed_tick < row().last_tick == int(clock.now)
    redis_away()
    duty.tick()  # at once: its claim is ours
    duty.tick()
    assert [job["jid"] for job in inside.jobs("chores")] == [jid(clock)]


def test_the_database_may_be_away(
    inside: Inside,
    clock: FrozenClock,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    duty = started(clock, entry())
    clock.advance(MINUTE)

    def refuse(names: Any) -> None:
        raise OperationalError("the server has gone away")

    with monkeypatch.context() as broken:
        broken.setattr(slots, "rows", refuse)
        waits = [duty.tick() for _ in range(5)]
    assert all(0 < wait <= 5 for wait in waits)
    assert ["has gone away" in text for text in errors(caplog)] == [True]
    duty.tick()
    assert len(inside.raw("chores")) == 1
    assert "the database is back" in caplog.messages[-2] + caplog.messages[-1]


def test_a_push_that_could_not_be_noted_is_not_repeated(
    inside: Inside, clock: FrozenClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    duty = started(clock, entry(job=UniqueChore))
    clock.advance(MINUTE)

    def refuse(name: str, slot: int) -> None:
        raise OperationalError("the server has gone away")

    with monkeypatch.context() as broken:
        broken.setattr(slots, "settle", refuse)
        duty.tick()
    assert row().pushed_tick < row().last_tick
    # It has run, and its lock is gone.
    assert inside.client.delete(inside.key("queue:chores")) == 1
    inside.client.delete(*inside.client.keys(inside.key("jq:unique:*")))
    duty.tick()
    assert inside.raw("chores") == []
    assert row().pushed_tick == row().last_tick


def test_an_entry_that_cannot_be_pushed_keeps_no_other_waiting(
    inside: Inside,
    clock: FrozenClock,
    jobqueue_settings: JobqueueSettings,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    jobqueue_settings(CLIENT_MIDDLEWARE=[f"{__name__}.Failing"])
    duty = started(clock, entry("a", args=("broken",)), entry("b"))
    clock.advance(2 * MINUTE - 1)
    for _ in range(3):
        clock.advance(LOOK * 1.2)
        duty.tick()
    assert {tuple(args) for args in inside.args("chores")} == {()}
    assert errors(caplog) == ["a is due and cannot be pushed; trying on"]
    monkeypatch.setattr(Failing, "broken", False)
    clock.advance(LOOK * 1.2)
    duty.tick()
    assert ["broken"] in inside.args("chores")


def test_a_class_that_cannot_be_imported_is_told_once_and_left_to_others(
    inside: Inside, clock: FrozenClock, caplog: pytest.LogCaptureFixture
) -> None:
    gone = Timetable("gone", "nowhere.jobs.Gone", every=MINUTE)
    no_job = Timetable("no-job", f"{__name__}.Refusing", every=MINUTE)
    duty = started(clock, entry(), gone, no_job)
    for _ in range(3):
        clock.advance(MINUTE)
        duty.tick()
    assert len(inside.raw("chores")) == 3
    assert [text.partition(" cannot be run here")[0] for text in errors(caplog)] == [
        "gone",
        "no-job",
    ]
    assert not Schedule.objects.filter(name__in=["gone", "no-job"]).exists()


def test_what_a_middleware_refuses_is_claimed_and_not_tried_again(
    inside: Inside, clock: FrozenClock, jobqueue_settings: JobqueueSettings
) -> None:
    jobqueue_settings(CLIENT_MIDDLEWARE=[f"{__name__}.Refusing"])
    refused: list[Payload] = []

    def hear(*, payload: Payload, **facts: Any) -> None:
        refused.append(payload)

    job_refused.connect(hear)
    try:
        duty = started(clock, entry())
        clock.advance(MINUTE)
        for _ in range(3):
            duty.tick()
            clock.advance(LOOK * 1.2)
    finally:
        job_refused.disconnect(hear)
    assert len(refused) == 1
    assert row().pushed_tick == row().last_tick
    jobqueue_settings(CLIENT_MIDDLEWARE=[])
    duty.tick()
    assert inside.raw("chores") == []


# Wrong clocks, pauses ---------------------------------------------------------


def test_a_last_slot_a_year_ahead_is_taken_back_and_it_runs(
    inside: Inside, clock: FrozenClock, caplog: pytest.LogCaptureFixture
) -> None:
    started(clock, entry())
    ahead = int(clock.now) + 365 * 86_400
    Schedule.objects.update(last_tick=ahead, pushed_tick=ahead)
    clock.advance(MINUTE)
    duties = [ticker(entry()) for _ in range(3)]
    for duty in duties:
        duty.tick()
    assert [job["jid"] for job in inside.jobs("chores")] == [jid(clock)]
    assert row().last_tick == row().pushed_tick == int(clock.now)
    assert len(errors(caplog)) == 1
    clock.advance(MINUTE)
    for duty in duties:
        duty.tick()
    assert len(inside.raw("chores")) == 2


def test_a_clock_that_is_a_little_wrong_is_waited_for(inside: Inside, clock: FrozenClock) -> None:
    duty = started(clock, entry())
    Schedule.objects.update(last_tick=int(clock.now + AHEAD), pushed_tick=int(clock.now + AHEAD))
    clock.advance(AHEAD - 1)
    duty.tick()
    assert inside.raw("chores") == []
    clock.advance(2 * MINUTE)
    duty.tick()
    assert len(inside.raw("chores")) == 1


def test_a_paused_entry_does_not_fire_and_its_slots_do_not_pile_up(
    inside: Inside, clock: FrozenClock
) -> None:
    duty = started(clock, entry(missed="backfill", backfill=24))
    assert slots.pause("often")
    assert not slots.pause("often")
    for _ in range(3):
        clock.advance(MINUTE)
        duty.tick()
    # Somebody may turn it in the database, too.
    Schedule.objects.update(paused=False)
    duty.tick()
    assert inside.raw("chores") == []
    clock.advance(MINUTE)
    duty.tick()
    assert [job["jid"] for job in inside.jobs("chores")] == [jid(clock)]


def test_slots_of_a_pause_in_which_nobody_looked_are_over(
    inside: Inside, clock: FrozenClock
) -> None:
    started(clock, entry())
    slots.pause("often")
    clock.advance(10 * MINUTE - 1)
    assert slots.resume("often")
    assert not slots.resume("often")
    duty = ticker(entry())
    duty.tick()
    assert inside.raw("chores") == []
    clock.advance(1)
    duty.tick()
    assert len(inside.raw("chores")) == 1


def test_a_pause_that_comes_between_the_look_and_the_claim_holds(
    inside: Inside, clock: FrozenClock
) -> None:
    started(clock, entry())
    clock.advance(MINUTE)
    seen = row()
    slots.pause("often")
    assert not slots.claim(seen, int(clock.now))
    assert row().last_tick < int(clock.now)


# Triggers ---------------------------------------------------------------------


def test_a_trigger_runs_it_whatever_its_slots_say(inside: Inside, clock: FrozenClock) -> None:
    duty = started(clock, entry(args=(1,)))
    slots.pause("often")
    duty.trigger("often")
    assert inside.raw("chores") == []  # the loop does it
    duty.tick()
    duty.tick()
    assert inside.args("chores") == [[1]]


def test_a_trigger_of_nothing_is_refused(clock: FrozenClock) -> None:
    duty = started(clock, entry())
    with pytest.raises(exceptions.UnknownTimetable, match="Did you mean 'often'"):
        duty.trigger("oftn")


def test_a_trigger_waits_for_redis(
    inside: Inside, clock: FrozenClock, redis_away: Callable[[], None]
) -> None:
    duty = started(clock, entry())
    duty.trigger("often")
    for _ in range(2):
        with pytest.raises(StoreUnavailable):
            duty.tick()
    redis_away()
    duty.tick()
    duty.tick()
    assert len(inside.raw("chores")) == 1


def test_all_reconcilers_are_triggered_within_ten_seconds_and_not_at_once(
    inside: Inside, clock: FrozenClock
) -> None:
    heals = tuple(entry(f"shop.Heal{number}", Heal, args=(number,)) for number in range(20))
    duty = ticker(entry(), reconcilers=heals)
    duty.trigger_all("Redis has lost its data")
    duty.tick()
    found = inside.entries("schedule")
    assert sorted(job["args"][0] for job, _ in found) == list(range(20))
    times = [score - clock.now for _, score in found]
    assert 0 <= min(times) < max(times) <= SPREAD
    assert len(set(times)) > 10
    assert inside.raw("chores") == []


def test_a_trigger_cuts_the_wait_of_the_loop_short(inside: Inside) -> None:
    duty = ticker(entry(every=86_400))
    duty._next_look = float("inf")  # no look at the database, which is this test's own
    duty.start()
    try:
        duty.trigger("often")
        wait_until(lambda: inside.raw("chores"), what="the job")
    finally:
        duty.stop()
        assert duty.join(10)
