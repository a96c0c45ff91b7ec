"""Stories of claims, results, recoveries and leases."""

from __future__ import annotations

from django_jobqueue.store.claims import BACK, BURY, SNOOZE
from tests.store.chance import HIGH, LOW, RESULTS
from tests.store.model import ACK
from tests.store.stories.play import Play


def late_results(play: Play) -> None:
    play.push(HIGH, 4)
    play.step(0, wanted=4)
    play.start(0)
    play.lapse_worker(0)
    play.read(0)
    play.recover()
    play.step(1, wanted=2)
    play.step(0, verbs=[ACK, "retry", "bury", "back"])
    play.step(1, verbs=[ACK, ACK])


def every_result(play: Play) -> None:
    play.push(LOW, len(RESULTS))
    play.push(LOW, 2)
    for verb in RESULTS:
        play.step(0, wanted=1)
        play.step(0, verbs=[verb])
        play.step(0, verbs=[ACK])


def results_that_are_refused(play: Play) -> None:
    play.push(HIGH, 4)
    play.step(0, wanted=4)
    for verb, broken in (
        ("retry", "retry"),
        ("snooze", "schedule"),
        ("bury", "dead"),
        ("back", HIGH),
    ):
        play.step(0, verbs=[verb], broken=broken)
    play.step(0, verbs=[ACK] * 4, broken="counters")


def a_step_after_the_lease(play: Play) -> None:
    play.lapse_worker(0)
    play.step(0)
    play.crash(1, is_declared=True)
    play.step(0)


def a_reply_is_lost(play: Play) -> None:
    play.push(HIGH, 3)
    play.push(LOW, 3)
    play.step(0, wanted=4, is_lost=True)
    play.pause(HIGH)
    play.step(0, is_lost=True)
    play.resume()
    play.push(HIGH, 3)
    play.step(0)
    play.second_copy(0)
    play.beat(0)
    play.step(0, verbs=[ACK] * 6)


def half_of_a_batch_is_recovered_before_it_is_sent_again(play: Play) -> None:
    play.push(HIGH, 6)
    play.step(0, wanted=3, is_lost=True)
    play.lapse_worker(0)
    play.read(0)
    play.recover(verbs=[SNOOZE], part=1)
    play.step(0)
    play.beat(0)
    play.step(0, verbs=[ACK] * 3)


def a_recoverer_sleeps_between_its_halves(play: Play) -> None:
    play.push(HIGH, 3)
    play.step(0, wanted=1, is_lost=True)
    play.lapse_worker(0)
    play.read(0)
    play.read(0)
    play.recover(verbs=[SNOOZE])
    play.step(0)  # claims another job by the same name
    play.lapse_worker(0)
    play.recover(verbs=[BACK])


def claims_are_broken(play: Play) -> None:
    play.push(HIGH, 2)
    play.step(0, wanted=1, broken="claims")
    play.step(0)


def claims_one_after_the_other(play: Play) -> None:
    play.push(HIGH, 3)
    play.push(LOW, 3)
    play.pause(HIGH)
    play.step(0, wanted=1)
    play.resume()
    play.step(0, wanted=4)


def a_suspect_runs(play: Play) -> None:
    play.push(HIGH, 3)
    play.step(0, wanted=3)
    play.step(0, has_suspect=True)
    play.crash(0, is_declared=True)
    play.read_expired(0)
    play.recover(part=1, keeps=True)
    play.recover(part=2, keeps=True)
    play.recover()


def the_process_comes_back(play: Play) -> None:
    play.push(HIGH, 2)
    play.step(0, wanted=2)
    play.lapse_worker(0)
    play.read(0)
    play.beat(0)
    play.recover()
    play.step(0, verbs=[ACK, ACK])


def two_recoverers(play: Play) -> None:
    play.push(HIGH, 2)
    play.step(0, wanted=2)
    play.lapse_worker(0)
    play.read(0)
    play.recover(verbs=[BACK, BURY], keeps=True)
    play.recover(verbs=[SNOOZE])


def a_recovery_that_is_refused(play: Play) -> None:
    for verb, broken in ((BACK, HIGH), (SNOOZE, "schedule"), (BURY, "dead")):
        play.push(HIGH, 1)
        play.step(0, wanted=1)
        play.crash(0, is_declared=True)
        play.read_expired(0)
        play.recover(verbs=[verb], broken=broken, keeps=True)
        play.recover(verbs=[verb])


def a_name_is_taken(play: Play) -> None:
    play.join_again(0)
    play.lapse_worker(0)
    play.join_again(0)


def a_supervisor_beats_for_the_dead(play: Play) -> None:
    machine = play.machine
    identity = machine.workers[0].identity
    play.extend_of(identity)
    play.lapse_worker(0)
    play.extend_of(identity)
    machine.store.claims.declare_dead(identity)
    machine.model.beat(identity, "dead")
    play.extend_of(identity)
    play.beat(0)
    play.extend_of("nobody")


def a_process_leaves(play: Play) -> None:
    play.push(HIGH, 2)
    play.step(0, wanted=2)
    play.stop(0, verbs=[ACK])
    play.stop(1)


def an_election(play: Play) -> None:
    play.lead(0)
    play.lead(1)
    play.lead(0)
    play.end_term()
    play.lead(1)
    play.lead(0)


def steps_that_come_late(play: Play) -> None:
    play.push(HIGH, 3)
    play.step(0, wanted=1)
    play.late_turn(0, wanted=1, verbs=["retry"])
    play.step(0, wanted=1, verbs=[ACK])
    play.arrive()
    play.beat(0)
    play.late_turn(0, wanted=1, verbs=[ACK, ACK])
    play.crash(0)
    play.arrive()


def queues_that_cannot_be_read(play: Play) -> None:
    play.push(HIGH, 1)
    play.push(LOW, 1)
    play.step(0, wanted=2, broken=HIGH)
    play.step(0, wanted=2, broken="paused")
    play.step(0, verbs=[ACK, ACK])


def a_recovered_job_is_the_next(play: Play) -> None:
    play.push(HIGH, 3)
    play.step(0, wanted=1)
    play.crash(0, is_declared=True)
    play.read_expired(0)
    play.recover(verbs=[BACK])
    play.step(1, wanted=3)
