"""
The tests of the store see the faults they are there for.

Each mutant of a script (see ``mutants``) is put through a story made for its
kind of fault, and has to die there. The stories are played by the state
machine's own actors, which look at all of Redis after each line. That the
stories hold on the real scripts is tested as well: a story that always fails
would kill every mutant and prove nothing.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from django_jobqueue.store.claims import BACK, BURY, SNOOZE
from django_jobqueue.store.sets import DROP, LATER, PUSH
from django_jobqueue.store.store import Store
from tests.store.chance import HIGH, LOW, RESULTS
from tests.store.machine import CellarMachine
from tests.store.model import ACK
from tests.store.mutants import MUTANTS, Mutant
from tests.support.server import RedisServer

#: Where the mutants are also hunted by chance: examples for each, see test_state_machine.
HUNT = int(os.environ.get("JOBQUEUE_EXAMPLES", "0"))


class Play:
    """The machine's actors; after each line of a story everything is looked at."""

    def __init__(self, machine: CellarMachine) -> None:
        self.machine = machine

    def __getattr__(self, name: str) -> Callable[..., None]:
        act = getattr(self.machine, name)

        def line(*args: Any, **kwargs: Any) -> None:
            act(*args, **kwargs)
            self.machine.look()

        return line

    def lapse_worker(self, at: int) -> None:
        """Let the lease of a worker run out."""
        self.machine.acting = ""
        self.machine.lapse_of(self.machine.workers[at].identity)

    def read(self, at: int) -> None:
        """Let a recoverer read the claims of a worker."""
        self.machine.read_claims(self.machine.workers[at].identity)


# The stories -----------------------------------------------------------------


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


def two_pollers(play: Play) -> None:
    play.schedule(is_due=True)
    play.poll()
    play.promote(verbs=[PUSH], keeps=True)
    play.promote(verbs=[PUSH])


def a_promotion_that_is_refused(play: Play) -> None:
    play.schedule(is_due=True)
    play.poll()
    play.promote(verbs=[PUSH], queue=LOW, broken=LOW, keeps=True)
    play.promote(verbs=[DROP])


def an_entry_is_put_off(play: Play) -> None:
    play.schedule(is_due=True)
    play.promote(verbs=[LATER], rewritten=False, is_due=True)
    play.promote(verbs=[LATER], rewritten=True)


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


Story = Callable[[Play], None]

#: The story that each mutant dies in.
STORIES: dict[str, Story] = {
    "no fence": late_results,
    "an ack counts although it was fenced": late_results,
    "a retried job stays claimed": every_result,
    "a result removes the claim before it writes the job": results_that_are_refused,
    "a job is given back to the wrong end": every_result,
    "a snooze counts as processed": every_result,
    "a step does not renew the lease": a_step_after_the_lease,
    "a batch is claimed again when it is sent again": a_reply_is_lost,
    "only the first claim tells that a batch is sent again": (
        half_of_a_batch_is_recovered_before_it_is_sent_again
    ),
    "a queue is trimmed before the jobs are claimed": claims_are_broken,
    "a claimed job stays in its queue": claims_one_after_the_other,
    "jobs are taken from the wrong end": claims_one_after_the_other,
    "a pause is not looked at": claims_one_after_the_other,
    "the suspect is not marked": a_suspect_runs,
    "a recovery does not look at the lease": the_process_comes_back,
    "a recovery does not look whether the claim is still there": two_recoverers,
    "a recovery takes what it has not read": a_recoverer_sleeps_between_its_halves,
    "a recovery removes the claim before it writes the job": a_recovery_that_is_refused,
    "a recovered job stays claimed": two_recoverers,
    "a recovery drops the mark of the suspect early": a_suspect_runs,
    "a recovery never drops the mark of the suspect": a_suspect_runs,
    "a recovery ends the lease while claims are left": a_suspect_runs,
    "a promotion does not look whether the entry is still there": two_pollers,
    "a promotion removes the entry before it writes the job": a_promotion_that_is_refused,
    "a promoted entry stays": two_pollers,
    "an entry put off as it is, is removed": an_entry_is_put_off,
    "two processes join by one name": a_name_is_taken,
    "an extension revives the dead": a_supervisor_beats_for_the_dead,
    "a beat does not tell that the lease had lapsed": a_supervisor_beats_for_the_dead,
    "a process leaves and forgets its claims": a_process_leaves,
    "a process leaves and its lease runs on": a_process_leaves,
    "anybody prolongs the term of the leader": an_election,
    "anybody takes the lead": an_election,
}

#: Stories that no mutant needs.
MORE_STORIES = (steps_that_come_late,)

#: What takes more luck than there is: a lost reply, then a recovery that is only half done, or
#: two lapses with a recoverer that sleeps over both.
TOO_RARE = {
    "only the first claim tells that a batch is sent again",
    "a recovery takes what it has not read",
}


def _machine(server: RedisServer, client: Any, mutant: Mutant | None = None) -> type[CellarMachine]:
    class Machine(CellarMachine):
        def make_store(self) -> Store:
            store = super().make_store()
            return store if mutant is None else mutant.infect(store)

    Machine.client, Machine.url = client, server.socket_url
    return Machine


@contextmanager
def _playing(server: RedisServer, mutant: Mutant | None = None) -> Iterator[Play]:
    with server.client() as client:
        machine = _machine(server, client, mutant)()
        try:
            machine.begin()
            yield Play(machine)
        finally:
            machine.teardown()


@pytest.mark.parametrize("flags", [True, False], ids=["", "without flags"])
@pytest.mark.parametrize(
    "story", dict.fromkeys((*STORIES.values(), *MORE_STORIES)), ids=lambda story: story.__name__
)
def test_each_story_holds_with_the_real_scripts(
    redis_server: RedisServer, story: Story, flags: bool
) -> None:
    with _playing(redis_server) as play:
        play.machine.store._link._flags = flags
        story(play)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_each_mutant_dies_in_its_story(redis_server: RedisServer, mutant: Mutant) -> None:
    mutant.verbs()  # a mutant that cannot be made has not been caught
    with _playing(redis_server, mutant) as play, pytest.raises(AssertionError):
        STORIES[mutant.name](play)


# A hunt by chance takes minutes: JOBQUEUE_EXAMPLES=400.
if HUNT:

    @pytest.mark.timeout(60 + 5 * HUNT)
    @pytest.mark.parametrize(
        "mutant",
        [mutant for mutant in MUTANTS if mutant.name not in TOO_RARE],
        ids=lambda mutant: mutant.name,
    )
    def test_the_machine_finds_each_mutant_by_chance(
        redis_server: RedisServer, mutant: Mutant
    ) -> None:
        mutant.verbs()
        with redis_server.client() as client, pytest.raises(AssertionError):
            run_state_machine_as_test(
                _machine(redis_server, client, mutant),
                settings=settings(
                    max_examples=HUNT,
                    stateful_step_count=40,
                    deadline=None,
                    phases=[Phase.generate],
                    report_multiple_bugs=False,
                    database=None,
                    suppress_health_check=list(HealthCheck),
                ),
            )
