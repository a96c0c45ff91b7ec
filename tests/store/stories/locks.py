"""Stories of unique jobs and the locks that follow them."""

from __future__ import annotations

from django_jobqueue.store.claims import BACK, BURY, HELD, RETRY, SNOOZE
from django_jobqueue.store.sets import DROP, HOLD, LATER, PUSH
from tests.store.actors import AGAIN, ONCE, START
from tests.store.chance import HIGH, LOW, RESULTS
from tests.store.model import ACK
from tests.store.stories.play import Play


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


def a_job_is_scheduled(play: Play) -> None:
    play.push_unique(HIGH, [ONCE, AGAIN], later=True)
    play.poll()
    play.promote(verbs=[PUSH])
