"""Stories of what is no job: orders over many jobs, switches, rates, leaders, what is due."""

from __future__ import annotations

import time

from django_jobqueue.exceptions import StoreRefused
from django_jobqueue.store.bulk import BUSY, GONE, LISTED, OK, OVER, STOP
from django_jobqueue.store.locks import Lock, lock_in
from django_jobqueue.store.queues import Push
from django_jobqueue.store.sets import PUSH, RETRY, SCHEDULE, Promotion, Revival
from django_jobqueue.store.switches import Replaced
from tests.store.actors import ONCE, payload_of
from tests.store.cellar import FAR, LEASE, PAST
from tests.store.faults import wrong_type
from tests.store.stories.play import Play

#: Long enough ago that nobody waits for it any more.
_LONG_AGO = "1"


def _state(play: Play, order: str) -> str:
    return play.machine.store.bulk.get(order, ["state"])["state"].decode()


# Orders over many jobs --------------------------------------------------------


def two_work_at_one_order(play: Play) -> None:
    bulk = play.machine.store.bulk
    bulk.open("a", {"order": "first"})
    assert bulk.begin("a", "one") == OK
    bulk.open("a", {"order": "again"})
    assert bulk.get("a", ["order"]) == {"order": b"first"}
    assert _state(play, "a") == "running"
    assert bulk.begin("a", "two") == BUSY
    assert bulk.note("a", "two", {"found": "9"}) == BUSY
    assert bulk.tell("a", "two", {"found": "9"}) == BUSY
    assert bulk.tell("a", "one", {"found": "1"}) == OK
    assert bulk.get("a", ["found"]) == {"found": b"1"}
    assert bulk.note("a", "one", {"state": "waiting"}) == OK
    assert bulk.begin("a", "two") == OK


def a_worker_of_an_order_dies(play: Play) -> None:
    machine, bulk = play.machine, play.machine.store.bulk
    bulk.open("a", {})
    assert bulk.begin("a", "one") == OK
    machine.client.hset(machine.store.keys.bulk("a"), "seen", _LONG_AGO)
    assert bulk.begin("a", "two") == OK
    assert bulk.tell("a", "one", {"found": "9"}) == BUSY
    assert bulk.get("a", ["found"]) == {}
    assert bulk.tell("a", "two", {"state": "done"}) == OK
    for answer in (bulk.begin("a", "three"), bulk.stop("a"), bulk.note("a", "three", {})):
        assert answer == OVER
    assert _state(play, "a") == "done"


def an_order_is_stopped(play: Play) -> None:
    machine, bulk = play.machine, play.machine.store.bulk
    bulk.open("nobody works at it", {})
    assert bulk.stop("nobody works at it") == OK
    assert _state(play, "nobody works at it") == "stopped"
    bulk.open("one works at it", {})
    assert bulk.begin("one works at it", "one") == OK
    assert bulk.stop("one works at it") == OK
    assert bulk.tell("one works at it", "one", {}) == STOP
    assert _state(play, "one works at it") == "running"
    # Its worker dies before it has ended it.
    machine.client.hset(machine.store.keys.bulk("one works at it"), "seen", _LONG_AGO)
    assert bulk.begin("one works at it", "two") == OVER
    assert _state(play, "one works at it") == "stopped"
    bulk.open("it is put off", {})
    assert bulk.begin("it is put off", "one") == OK
    assert bulk.stop("it is put off") == OK
    assert bulk.tell("it is put off", "one", {"state": "waiting"}) == STOP
    assert _state(play, "it is put off") == "stopped"


def records_of_orders_come_and_go(play: Play) -> None:
    machine, bulk = play.machine, play.machine.store.bulk
    for answer in (bulk.begin("gone", "one"), bulk.stop("gone"), bulk.note("gone", "one", {})):
        assert answer == GONE
    assert not machine.client.exists(machine.store.keys.bulk("gone"))
    for number in range(LISTED + 2):
        bulk.open(str(number), {})
    assert len(bulk.recent(2 * LISTED, ["state"])) == LISTED
    assert machine.client.ttl(machine.store.keys.bulk("5")) > 0


# Switches ---------------------------------------------------------------------


def switches_are_thrown(play: Play) -> None:
    switches = play.machine.store.switches
    early = switches.version()
    assert switches.replace(early, {"a": "on", "b": "30.0"}) is Replaced.DONE
    assert switches.replace(early, {}) is Replaced.LOST
    first = switches.version()
    assert switches.replace(first, {"a": "on", "b": "30.0"}) is Replaced.SAME
    assert switches.version() == first
    assert switches.replace(first, {"a": "on", "b": "50.0"}) is Replaced.DONE
    assert switches.read() == {"a": "on", "b": "50.0"}
    assert switches.replace(first, {}) is Replaced.LOST
    assert switches.replace(switches.version(), {"b": "50.0"}) is Replaced.DONE
    assert switches.read() == {"b": "50.0"}


# Rates ------------------------------------------------------------------------


def held_jobs_go_no_faster(play: Play) -> None:
    machine, held = play.machine, play.machine.store.held

    def allowed(last: float, began: float, *, full: float, ramp: float, wanted: int) -> int:
        """Ask once, with a state of so many seconds ago."""
        now = machine.client.time()[0] * 1000
        state = f"{now - last * 1000:.0f}:{now - began * 1000:.0f}:0.000"
        machine.client.hset(machine.store.keys.releases, "C", state)
        return held.allow("C", rate=full, ramp=ramp, wanted=wanted)

    # A rate so low that no machine is slow enough to see the next.
    assert held.allow("C", rate=1e-6, ramp=0.0, wanted=5) == 1
    assert held.allow("C", rate=1e-6, ramp=0.0, wanted=5) == 0
    assert held.allow("other", rate=1e-6, ramp=0.0, wanted=5) == 1
    # What was not used: no more than a tenth of a second's, at a tenth of the speed at first.
    assert allowed(5, 5, full=1e6, ramp=1e9, wanted=10**9) <= 10_001
    assert allowed(5, 10**6, full=1e6, ramp=1.0, wanted=10**9) <= 100_001
    assert allowed(5, 10**6, full=1e6, ramp=1.0, wanted=7) == 7
    # After a pause it begins anew.
    assert allowed(100, 10**6, full=1e6, ramp=1e9, wanted=10**9) == 1


# What is due ------------------------------------------------------------------


def some_is_due(play: Play) -> None:
    machine, sets = play.machine, play.machine.store.sets
    keys, now = machine.store.keys, time.time()
    assert sets.due().earliest is None
    machine.client.zadd(keys.schedule, {b"1": now + FAR, b"2": now + PAST})
    machine.client.zadd(keys.retry, {b"3": now + 2 * FAR, b"4": now + 2 * PAST, b"5": now + PAST})
    found = sets.due()
    assert found.entries == {SCHEDULE: [b"2"], RETRY: [b"4", b"5"]}
    assert found.earliest is not None
    assert 1.9 * PAST > found.earliest > 2.1 * PAST
    assert sets.due(limit=1).entries == {SCHEDULE: [b"2"], RETRY: [b"4"]}
    for broken, whole in ((keys.schedule, RETRY), (keys.retry, SCHEDULE)):
        with wrong_type(machine.client, broken):
            try:
                found = sets.due()
            except StoreRefused as error:
                raise AssertionError("one broken set kept the other from being read") from error
        assert found.entries[whole]
        assert len(found.broken) == 1
    machine.client.delete(keys.schedule, keys.retry)


# Queues that nobody has registered -------------------------------------------


def jobs_come_to_queues_that_nobody_knows(play: Play) -> None:
    machine, store = play.machine, play.machine.store
    keys, raws = store.keys, [payload_of(900 + number) for number in range(4)]
    lock = lock_in(payload_of(1, digest=ONCE))
    assert lock is not None
    store.queues.push_unique([Push("by a push", raws[0], lock=lock)])
    machine.client.zadd(keys.schedule, {raws[1]: 1})
    store.sets.promote(SCHEDULE, [Promotion(PUSH, raws[1], raws[1], "by a promotion")])
    machine.client.zadd(keys.dead, {raws[2]: 1})
    store.sets.revive([Revival(raws[2], raws[2], "by a revival")])
    queues = {"by a push", "by a promotion", "by a revival"}
    assert queues <= set(store.queues.names())
    assert store.queues.sizes(sorted(queues)) == dict.fromkeys(queues, 1)
    machine.client.delete(*map(keys.queue, queues), keys.unique(ONCE))


def a_process_dies_and_its_queue_is_forgotten(play: Play) -> None:
    machine = play.machine
    play.push_unique("high", [ONCE])
    play.step(0, wanted=1)
    machine.client.delete(machine.store.keys.queues)
    play.crash(0, is_declared=True)
    play.read_expired(0)
    play.recover()
    assert machine.store.queues.names() == ["high"]


def two_jobs_are_alike(play: Play) -> None:
    """The same bytes, pushed twice: an operator who deletes both leaves neither."""
    machine, store = play.machine, play.machine.store
    raw = payload_of(900)
    for indexes in ((), (-1, -2)):
        store.queues.push_raw("high", raw)
        store.queues.push_raw("high", raw)
        place = machine.place("high")
        assert store.removal.delete(place, [raw, raw], indexes) == 2
        assert store.removal.size(place) == 0


# Leaders and locks -------------------------------------------------------------


def a_term_has_an_end(play: Play) -> None:
    play.lead(0)
    assert 0 < play.machine.client.ttl(play.machine.store.keys.leader) <= LEASE


def a_tombstone_is_over(play: Play) -> None:
    machine = play.machine
    raw = payload_of(900, digest=ONCE)
    lock = lock_in(raw)
    assert lock is not None
    tombstone = machine.store.keys.tombstone(ONCE)
    machine.client.hset(tombstone, mapping={"deaths": 1, "until": _LONG_AGO})
    assert machine.store.queues.push_unique([Push("high", raw, lock=lock)], healing=True) == {}
    assert machine.store.removal.clear(machine.place("high")) == 1


def locks_are_given_up_by_hand(play: Play) -> None:
    machine = play.machine
    play.push_unique("high", [ONCE])
    play.see_lock()
    play.lapse_lock()
    play.push_unique("low", [ONCE])
    play.unlock()  # it is another's by now
    play.see_lock()
    play.unlock(keeps=True)
    play.unlock()
    play.push_unique("high", [ONCE])
    play.wipe()
    lock = Lock(ONCE, "somebody", 60.0)
    with wrong_type(machine.client, machine.store.keys.unique(ONCE)):
        assert not machine.store.locks.release(lock.digest, lock.jid)


def the_gone_are_not_declared_dead(play: Play) -> None:
    machine = play.machine
    machine.store.claims.declare_dead("nobody")
    machine.model.beat("nobody", "dead")
    machine.look()


def a_process_leaves_the_books(play: Play) -> None:
    machine, keys = play.machine, play.machine.store.keys
    identity = machine.workers[0].identity
    machine.client.sadd(keys.processes, identity)
    machine.client.hset(keys.process(identity), "info", "{}")
    play.push("high", 2)
    play.step(0, wanted=2)
    play.step(0, has_suspect=True)
    machine.acting = identity
    assert machine.store.claims.leave(identity) == machine.model.leave(identity) == 2
    machine.look()
    assert not machine.client.sismember(keys.processes, identity)
    assert not machine.client.exists(keys.process(identity))
