"""Stories of a Redis that loses everything, and of jobs that kill their workers."""

from __future__ import annotations

from django_jobqueue.payload import Payload
from django_jobqueue.store.claims import BACK, BURY, RETRY
from django_jobqueue.store.sets import PUSH
from tests.store.actors import AGAIN, ONCE, START
from tests.store.chance import HIGH, LOW
from tests.store.model import ACK
from tests.store.stories.play import Play


def redis_is_flushed(play: Play) -> None:
    """All that was under way comes too late, and each row that needs work has a job again."""
    machine = play.machine
    for _ in range(4):
        play.enrol()
    play.watch_epoch(0)  # a first start: nobody can tell it from a flush
    play.reconcile()
    assert len(machine.model.queues[LOW]) == 4
    play.push_unique(HIGH, [ONCE, AGAIN, START, ""])
    play.step(0, wanted=4)
    play.step(1, wanted=2)
    play.start(1)
    play.crash(1, is_declared=True)
    play.read_expired(0)
    play.step(2, wanted=1)
    play.start(2)
    play.step(2, verbs=[RETRY], is_due=True)
    play.poll()
    play.view(LOW)
    play.see_lock()
    play.late_turn(2, wanted=1)
    play.step(0, wanted=1, verbs=[ACK], is_lost=True)
    play.flush()
    # What was under way: a recovery, a promotion, a removal, results, a step that was late.
    play.recover(verbs=[BACK])
    play.promote(verbs=[PUSH])
    play.remove(is_killed=True)
    play.unlock()
    play.step(0)
    play.step(0, verbs=[ACK, RETRY, BURY])
    assert machine.model.counters["fenced"] == 4
    assert not machine.model.locks
    play.arrive()
    play.beat(2)
    play.watch_epoch(1)
    assert len(machine.model.locks) == 4
    play.reconcile()
    play.watch_epoch(0)
    assert sum(map(len, machine.model.queues.values())) == 4, "a row has two jobs"
    play.step(1, wanted=4)
    play.start(1)
    play.step(1, verbs=[ACK] * 4)
    play.reconcile()
    assert all(machine.rows.values())
    assert not machine.model.locks


def redis_is_flushed_while_rows_are_healed(play: Play) -> None:
    for number in range(3):
        play.enrol()
        play.watch_epoch(number)
        play.step(0, wanted=number)
        play.flush()
        play.reconcile()
        play.step(0, verbs=[ACK])
    play.step(0, wanted=4)
    play.step(0, verbs=[ACK] * 4)
    play.reconcile()
    play.step(0, wanted=4)
    play.step(0, verbs=[ACK] * 4)
    assert all(play.machine.rows.values())


def the_marker_alone_is_lost(play: Play) -> None:
    play.enrol()
    play.watch_epoch(0)
    play.step(0, wanted=1)
    play.lose_epoch()
    play.watch_epoch(1)
    play.watch_epoch(0)
    play.step(0, verbs=[ACK])
    play.lose_epoch()
    play.watch_epoch(2)
    assert not play.machine.model.locks


def a_dead_row_cools_down_over_a_reconcile(play: Play) -> None:
    play.enrol()
    play.reconcile()
    play.step(0, wanted=1)
    play.step(0, verbs=[BURY])
    play.reconcile()
    assert not play.machine.model.locks
    play.clear_tombstone()
    play.reconcile()
    assert len(play.machine.model.locks) == 1


def a_job_kills_its_workers(play: Play) -> None:
    """It alone is to blame, and the third time it is dead; its neighbour has done nothing."""
    machine = play.machine
    for kind in (ONCE, AGAIN, START):
        play.push_unique(HIGH, [kind])
        for crashes in (1, 2, 3):
            play.push_unique(LOW, [AGAIN if kind == ONCE else ONCE])
            play.step(0, wanted=2)
            play.step(0, has_suspect=True)
            play.crash(0, is_declared=True)
            play.read_expired(0)
            play.judge()
            place = {1: HIGH, 2: "schedule", 3: "dead"}[crashes]
            standing = machine.model.sets.get(place, machine.model.queues[place])
            found = [Payload.decode(raw).crashes for raw in standing]
            assert found == [crashes], f"after {crashes} crashes it is not in {place}"
            assert [Payload.decode(raw).crashes for raw in machine.model.queues[LOW]] == [0]
            if crashes == 2:
                play.poll()
                play.promote(verbs=[PUSH], queue=HIGH, rewritten=False)
            play.clear(LOW)
        play.wipe()


def a_recovery_is_bounded_by_what_was_read(play: Play) -> None:
    play.push_unique(HIGH, [ONCE, ""])
    play.step(0, wanted=2)
    play.crash(0, is_declared=True)
    play.read_expired(0)
    play.judge()
    play.judge()
    play.step(1, wanted=2)
    play.step(1, verbs=[ACK, ACK])
