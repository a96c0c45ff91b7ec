"""Stories of jobs that move from one place to another, by time or by hand."""

from __future__ import annotations

from django_jobqueue.store.claims import BURY, HELD, RETRY
from django_jobqueue.store.sets import DROP, HOLD, LATER, PUSH
from tests.store.actors import AGAIN, ONCE, START
from tests.store.chance import HIGH, LOW
from tests.store.model import ACK, HELD_SET
from tests.store.stories.play import Play


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


def a_queue_moves_while_an_operator_deletes(play: Play) -> None:
    for is_killed in (False, True):
        for kinds in (["", "", "", ""], ["", ONCE, "", AGAIN]):
            play.push(HIGH, 2)
            play.push_unique(HIGH, kinds)
            play.view(HIGH)
            play.step(0, wanted=2)
            play.push(HIGH, 2)
            play.remove(part=4, is_killed=is_killed, tells=True, keeps=True)
            play.remove(is_killed=is_killed, tells=True, keeps=True)
            play.remove(is_killed=is_killed, tells=True)
            play.step(0, verbs=[ACK, ACK])
            play.wipe()


def what_is_left_in_the_middle_is_deleted(play: Play) -> None:
    play.push(HIGH, 5)
    play.view(HIGH)
    play.remove(part=2, tells=True, keeps=True)
    play.push(HIGH, 1)
    play.remove(tells=True)
    play.clear(HIGH)


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


def a_promoted_job_waits_for_its_turn(play: Play) -> None:
    play.push(LOW, 2)
    play.schedule(is_due=True)
    play.poll()
    play.promote(verbs=[PUSH], queue=LOW)
    play.step(0, wanted=3)
