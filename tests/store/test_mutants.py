"""
The tests of the store see the faults they are there for.

Each mutant of a script (see ``mutants``) is put through a story made for its
kind of fault, and has to die there. The stories (see ``stories``) are played by the state
machine's own actors, which look at all of Redis after each line. That the
stories hold on the real scripts is tested as well: a story that always fails
would kill every mutant and prove nothing.
"""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from django_jobqueue.store import scripts
from tests.store.mutants import MUTANTS, Mutant
from tests.store.stories import MORE_STORIES, NOT_ACTED, STORIES, TOO_RARE, Story
from tests.store.stories.play import machine_of, playing
from tests.support.server import RedisServer

#: Where the mutants are also hunted by chance: examples for each, see test_state_machine.
HUNT = int(os.environ.get("JOBQUEUE_EXAMPLES", "0"))


def test_every_script_has_mutants_and_every_mutant_a_story() -> None:
    assert {mutant.verb for mutant in MUTANTS} == set(scripts.load())
    names = [mutant.name for mutant in MUTANTS]
    assert len(names) == len(set(names))
    assert set(names) == STORIES.keys()
    assert STORIES.keys() >= TOO_RARE


@pytest.mark.parametrize("flags", [True, False], ids=["", "without flags"])
@pytest.mark.parametrize(
    "story", dict.fromkeys((*STORIES.values(), *MORE_STORIES)), ids=lambda story: story.__name__
)
def test_each_story_holds_with_the_real_scripts(
    redis_server: RedisServer, story: Story, flags: bool
) -> None:
    with playing(redis_server) as play:
        play.machine.store._link._flags = flags
        story(play)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_each_mutant_dies_in_its_story(redis_server: RedisServer, mutant: Mutant) -> None:
    mutant.verbs()  # a mutant that cannot be made has not been caught
    with playing(redis_server, mutant) as play, pytest.raises(AssertionError):
        STORIES[mutant.name](play)


# A hunt by chance takes minutes: JOBQUEUE_EXAMPLES=400.
if HUNT:

    @pytest.mark.timeout(60 + 5 * HUNT)
    @pytest.mark.parametrize(
        "mutant",
        [mutant for mutant in MUTANTS if mutant.name not in TOO_RARE | NOT_ACTED],
        ids=lambda mutant: mutant.name,
    )
    def test_the_machine_finds_each_mutant_by_chance(
        redis_server: RedisServer, mutant: Mutant
    ) -> None:
        mutant.verbs()
        with redis_server.client() as client, pytest.raises(AssertionError):
            run_state_machine_as_test(
                machine_of(redis_server, client, mutant),
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
