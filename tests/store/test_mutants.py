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

from django_jobqueue.store.claims import BACK, BURY, HELD, RETRY, SNOOZE
from django_jobqueue.store.sets import DROP, HOLD, LATER, PUSH
from django_jobqueue.store.store import Store
from tests.store.actors import AGAIN, ONCE, START
from tests.store.chance import HIGH, LOW, PLACES, RESULTS
from tests.store.machine import CellarMachine
from tests.store.model import ACK, HELD_SET
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

    def run(self, kind: str) -> None:
        """Enqueue a unique job and let the first worker have it."""
        self.push_unique(HIGH, [kind])
        self.step(0, wanted=1)
        self.start(0)

    def wipe(self) -> None:
        """Remove everything that waits; then nothing is locked."""
        for name in PLACES:
            self.machine.clear(name)
        self.machine.look()
        assert not self.machine.model.locks


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


# Of unique jobs ---------------------------------------------------------------


def a_lock_follows_every_result(play: Play) -> None:
    for kind in (ONCE, AGAIN, START):
        for verb in RESULTS:
            play.run(kind)
            play.push_unique(LOW, [kind])
            play.push_unique(LOW, [kind])
            play.step(0, verbs=[verb])
            play.push_unique(LOW, [kind])
            play.wipe()


def a_page_with_repeats(play: Play) -> None:
    play.push_unique(HIGH, [ONCE, "", ONCE, AGAIN, AGAIN, AGAIN, START])
    play.push_unique(LOW, [ONCE, AGAIN, "", START], later=True)


def a_page_is_sent_again(play: Play) -> None:
    play.push_unique(HIGH, [ONCE, AGAIN, AGAIN], twice=True)
    play.push_unique(LOW, [START, ONCE, AGAIN], twice=True, later=True)


def a_page_that_is_refused(play: Play) -> None:
    play.push_unique(HIGH, [ONCE, ""], broken=HIGH)
    play.push_unique(HIGH, [ONCE, AGAIN], later=True, broken="schedule")
    play.push_unique(HIGH, [AGAIN, ONCE])


def a_row_cools_down(play: Play) -> None:
    for kind, other in ((ONCE, AGAIN), (AGAIN, ONCE)):
        for _ in range(5):
            play.run(kind)
            play.step(0, verbs=[BURY])
            play.push_unique(HIGH, [kind], healing=True)
            play.push_unique(HIGH, [kind, kind, other], healing=True)
            play.wipe()
        play.run(kind)
        play.step(0, verbs=[ACK])
        play.push_unique(HIGH, [kind], healing=True)
        play.wipe()


def an_old_copy_moves(play: Play) -> None:
    """Each time the lock runs out, a newer job takes it, and then the old one moves."""

    def overtake() -> None:
        play.lapse_lock()
        play.push_unique(LOW, [ONCE])

    for verb in (ACK, BURY, RETRY):
        play.run(ONCE)
        overtake()
        play.step(0, verbs=[verb])
        play.wipe()
    for verb in (BURY, BACK):
        play.run(ONCE)
        overtake()
        play.crash(0, is_declared=True)
        play.read_expired(0)
        play.recover(verbs=[verb])
        play.wipe()
    for verb in (DROP, PUSH):
        play.run(ONCE)
        play.step(0, verbs=[RETRY], is_due=True)
        overtake()
        play.promote(verbs=[verb])
        play.wipe()
    play.push_unique(HIGH, [ONCE])
    play.view(HIGH)
    overtake()
    play.remove()


def a_recovered_job_is_locked(play: Play) -> None:
    for kind in (ONCE, AGAIN):
        for verb in (BACK, SNOOZE, BURY):
            play.run(kind)
            play.push_unique(LOW, [kind])
            play.crash(0, is_declared=True)
            play.read_expired(0)
            play.recover(verbs=[verb])
            play.push_unique(LOW, [kind])
            play.wipe()


def a_promoted_job_is_locked(play: Play) -> None:
    for verb in (LATER, PUSH, HOLD, DROP):
        play.run(ONCE)
        play.step(0, verbs=[RETRY], is_due=True)
        play.push_unique(LOW, [ONCE])
        play.promote(verbs=[verb])
        play.push_unique(LOW, [ONCE])
        play.wipe()


def held_jobs_go_again(play: Play) -> None:
    play.push_unique(HIGH, [ONCE, AGAIN, "", START])
    play.step(0, wanted=4)
    play.step(0, verbs=[HELD] * 4)
    play.forget_class()
    play.poll()
    play.promote(verbs=[HOLD], rewritten=False, keeps=True)
    play.promote(verbs=[PUSH, PUSH, LATER, DROP], broken=LOW, keeps=True)
    play.promote(verbs=[PUSH, PUSH, LATER, DROP], keeps=True)
    play.promote(verbs=[PUSH])
    play.clear(HELD_SET)
    play.forget_class()
    play.run(ONCE)
    play.step(0, verbs=[HELD], broken=HELD_SET)


def a_due_job_is_held(play: Play) -> None:
    play.run(ONCE)
    play.step(0, verbs=[RETRY], is_due=True)
    play.poll()
    play.promote(verbs=[HOLD], broken=HELD_SET, keeps=True)
    play.promote(verbs=[HOLD])


def a_renewal_comes_late(play: Play) -> None:
    for verb in (ACK, RETRY, HELD):
        play.run(ONCE)
        play.renew(0)
        play.step(0, verbs=[verb], is_lost=True)
        play.renew(0)
        play.step(0)
        play.wipe()
    play.run(ONCE)
    play.lapse_lock()
    play.push_unique(LOW, [ONCE])
    play.renew(0)


def a_job_starts(play: Play) -> None:
    play.push_unique(HIGH, [AGAIN, AGAIN, START])
    play.step(0, wanted=2)
    play.start(0)
    play.push_unique(LOW, [AGAIN, START])
    play.step(0, verbs=[ACK, ACK])


def the_older_of_two_starts(play: Play) -> None:
    for kind in (START, AGAIN):
        play.push_unique(HIGH, [kind])
        play.step(0, wanted=1)
        play.lapse_lock()
        play.push_unique(LOW, [kind])
        play.push_unique(LOW, [kind])
        play.start(0)
        play.step(0, verbs=[ACK])
        play.wipe()


def jobs_are_removed(play: Play) -> None:
    for is_killed in (False, True):
        for kind in (ONCE, AGAIN, ""):
            play.push_unique(HIGH, [kind])
            play.push_unique(HIGH, [kind])
            play.view(HIGH)
            play.remove(is_killed=is_killed, broken="dead", keeps=True)
            play.remove(is_killed=is_killed, keeps=True)
            play.remove(is_killed=is_killed)
            play.push_unique(HIGH, [kind])
            play.wipe()


def removed_jobs_have_moved_meanwhile(play: Play) -> None:
    for is_killed in (False, True):
        play.push_unique(HIGH, [ONCE])
        play.view(HIGH)
        play.step(0, wanted=1)
        play.remove(is_killed=is_killed)
        play.step(0, verbs=[RETRY], is_due=True)
        play.view("retry")
        play.promote(verbs=[PUSH])
        play.remove(is_killed=is_killed)
        play.wipe()


def dead_jobs_are_revived(play: Play) -> None:
    for kind in (ONCE, AGAIN, START, ""):
        play.push_unique(HIGH, [kind])
        play.step(0, wanted=1)
        play.start(0)
        play.step(0, verbs=[BURY])
        play.view("dead")
        play.revive(broken="dead", keeps=True)
        play.revive(broken=LOW, keeps=True)
        play.revive(keeps=True)
        play.revive(keeps=True)  # it stands in its queue by now
        play.push_unique(HIGH, [kind])
        play.wipe()


def a_dead_job_has_a_successor(play: Play) -> None:
    for kind in (ONCE, AGAIN):
        play.run(kind)
        play.step(0, verbs=[BURY])
        play.push_unique(HIGH, [kind])
        play.view("dead")
        play.revive()
        play.clear(HIGH)
        play.view("dead")
        play.revive()
        play.wipe()


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
    "a held entry that is held again is removed": held_jobs_go_again,
    "a promoted job is held under a class that nobody lists": a_due_job_is_held,
    "a held job is held under a class that nobody lists": held_jobs_go_again,
    "a held job counts as processed": held_jobs_go_again,
    "a class is forgotten while some of its jobs are held": held_jobs_go_again,
    "a lock is written before its job": a_page_that_is_refused,
    "a page does not see its own repeats": a_page_with_repeats,
    "a lock is not looked at": a_page_with_repeats,
    "a page that is sent again finds its own locks held": a_page_is_sent_again,
    "who heals does not look at tombstones": a_row_cools_down,
    "everybody obeys tombstones": a_row_cools_down,
    "the first of two duplicates is run afterwards": a_page_with_repeats,
    "a job that starts gives up somebody else's lock": the_older_of_two_starts,
    "a job that starts is run again for what came before": a_job_starts,
    "a renewal takes somebody else's lock": a_renewal_comes_late,
    "a renewal takes a lock again that was given up": a_renewal_comes_late,
    "a renewal makes a lock shorter": a_renewal_comes_late,
    "a renewal ends the lock of a held job": a_renewal_comes_late,
    "a lock is freed by a job that does not own it (step)": an_old_copy_moves,
    "a lock is freed by a job that does not own it (recover)": an_old_copy_moves,
    "a lock is freed by a job that does not own it (promote)": an_old_copy_moves,
    "a lock is freed by a job that does not own it (remove)": an_old_copy_moves,
    "a lock is taken from its owner (step)": an_old_copy_moves,
    "a lock is taken from its owner (recover)": an_old_copy_moves,
    "a lock is taken from its owner (promote)": an_old_copy_moves,
    "a retry does not renew the lock": a_lock_follows_every_result,
    "a promotion does not renew the lock": a_promoted_job_is_locked,
    "a recovery frees the lock": a_recovered_job_is_locked,
    "the lock of a held job has an end (step)": held_jobs_go_again,
    "the lock of a held job has an end (promote)": a_due_job_is_held,
    "a death does not free the lock (step)": a_lock_follows_every_result,
    "a death does not free the lock (recover)": a_recovered_job_is_locked,
    "a death does not free the lock (remove)": jobs_are_removed,
    "an entry that is dropped keeps its lock": a_promoted_job_is_locked,
    "a job that is deleted keeps its lock": jobs_are_removed,
    "a success does not clear the tombstone": a_row_cools_down,
    "the second death cools down no longer than the first": a_row_cools_down,
    "a row may cool down for ever": a_row_cools_down,
    "nothing is run after a death (step)": a_lock_follows_every_result,
    "nothing is run after a death (recover)": a_recovered_job_is_locked,
    "what is run afterwards takes no lock": a_lock_follows_every_result,
    "what is run afterwards is run for ever": a_lock_follows_every_result,
    "what waits for the end of a job outlives its removal": jobs_are_removed,
    "a removal does not look whether the job is still there (list)": (
        removed_jobs_have_moved_meanwhile
    ),
    "a removal does not look whether the job is still there (zset)": (
        removed_jobs_have_moved_meanwhile
    ),
    "a job that is killed is only deleted": jobs_are_removed,
    "a job leaves its queue before the dead set is known to take it": jobs_are_removed,
    "a revival does not look whether the job is still dead": dead_jobs_are_revived,
    "a revived job stays dead": dead_jobs_are_revived,
    "a revival removes the job before its queue is known to take it": dead_jobs_are_revived,
    "a revival does not look whether a newer job holds the lock": a_dead_job_has_a_successor,
    "a revived job takes no lock": dead_jobs_are_revived,
    "a revived job leaves its row to cool down": dead_jobs_are_revived,
    "a job that stays dead clears the tombstone": a_dead_job_has_a_successor,
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

#: What takes more luck than there is: a lost reply, then a recovery that is only half done; two
#: lapses with a recoverer that sleeps over both; a lock that runs out, is taken by a newer job,
#: and then the older one is recovered, promoted or started; or one dead job that is revived twice,
#: or of which the row still cools down.
TOO_RARE = {
    "only the first claim tells that a batch is sent again",
    "a recovery takes what it has not read",
    "a held entry that is held again is removed",
    "a job that starts gives up somebody else's lock",
    "a renewal ends the lock of a held job",
    "a lock is freed by a job that does not own it (recover)",
    "a lock is freed by a job that does not own it (promote)",
    "a lock is taken from its owner (recover)",
    "the lock of a held job has an end (promote)",
    "a revival does not look whether the job is still dead",
    "a revived job leaves its row to cool down",
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
