"""The protocol keeps its promises in every interleaving of a few processes and faults."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from django_jobqueue.store.store import Store
from tests.model.mutants import MUTANTS, Mutant
from tests.model.protocol import LOSE, Label, Protocol, Rules, Setting, canonical
from tests.model.reality import Reality
from tests.model.replay import edges_of, try_edges, walk
from tests.model.search import Search
from tests.model.settings import FLUSHED, HESITANT, RIVALS, SETTINGS, TWINS
from tests.store.mutants import MUTANTS as SCRIPT_MUTANTS
from tests.support.prefixes import new_prefix
from tests.support.server import RedisServer

#: Settings of which each move that Redis can tell from another is tried on the real scripts.
TINY = (
    Setting("one job", (0,), RIVALS.kinds, faults=1),
    Setting("twins", (0, 0), TWINS.kinds, faults=0, orders=1, hesitant=True),
    Setting("a flush", (0,), FLUSHED.kinds, faults=1),
)


@contextmanager
def _reality(server: RedisServer, setting: Setting, mutant: str = "") -> Iterator[Reality]:
    store = Store(server.socket_url, prefix=new_prefix("m"), timeout=10.0)
    for each in SCRIPT_MUTANTS:
        if each.name == mutant:
            each.infect(store)
    with server.client() as client:
        reality = Reality(client, store, setting)
        try:
            yield reality
        finally:
            reality.clear()
            store.close()


@pytest.mark.timeout(300)
@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)
def test_no_interleaving_breaks_a_promise(setting: Setting) -> None:
    found = Search(Protocol(setting)).run()
    assert found.failure is None, str(found.failure)
    assert found.transitions > found.states > 2_000


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_broken_rule_is_found_and_the_way_there_is_told(mutant: Mutant) -> None:
    if mutant.setting.faults <= 1:  # with more there is too much to see
        assert Search(Protocol(mutant.setting)).run().failure is None
    failure = Search(Protocol(mutant.setting, mutant.rules)).run().failure
    assert failure is not None
    lines = str(failure).splitlines()
    assert lines[0] == f"{failure.promise}, after {len(failure.trace)} moves:"
    assert len(lines) == 1 + 2 * len(failure.trace)


def test_every_rule_has_a_mutant() -> None:
    broken = {
        rule for mutant in MUTANTS for rule in Rules.__slots__ if not getattr(mutant.rules, rule)
    }
    assert broken == set(Rules.__slots__)


def test_a_state_and_its_mirror_are_one() -> None:
    search = Search(Protocol(TINY[0]))
    search.run()
    for state in search.states:
        assert canonical(state) == state
        swapped = state._replace(
            workers=state.workers[::-1],
            wire=tuple(w._replace(worker=1 - w.worker) for w in state.wire),
            readings=tuple(r._replace(worker=1 - r.worker) for r in state.readings),
        )
        assert canonical(swapped) == state


@pytest.mark.timeout(120)
@pytest.mark.parametrize("setting", TINY, ids=lambda setting: setting.name)
def test_every_move_of_a_small_setting_is_what_the_scripts_do(
    redis_server: RedisServer, setting: Setting
) -> None:
    search = Search(Protocol(setting))
    assert search.run().failure is None
    edges = edges_of(search)
    with _reality(redis_server, setting) as reality:
        assert try_edges(reality, edges) == len(edges) > 100


@pytest.mark.timeout(120)
@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)
def test_the_scripts_go_the_ways_of_the_model(redis_server: RedisServer, setting: Setting) -> None:
    seed = random.randrange(10**6)
    sys.stdout.write(f"seed {seed}\n")
    with _reality(redis_server, setting) as reality:
        chance = random.Random(seed)
        assert sum(walk(reality, Protocol(setting), chance) for _ in range(8)) > 40


@pytest.mark.parametrize(
    ("mutant", "setting"),
    [
        ("no fence", TINY[0]),
        (
            "a batch is claimed again when it is sent again",
            Setting("", (0, None), frozenset({LOSE}), faults=1),
        ),
        ("a recovery does not look at the lease", TINY[0]),
        ("a promotion does not look whether the entry is still there", TINY[0]),
        ("a lock is not looked at", TINY[1]),
    ],
)
def test_scripts_that_do_other_than_the_model_are_noticed(
    redis_server: RedisServer, mutant: str, setting: Setting
) -> None:
    search = Search(Protocol(setting))
    assert search.run().failure is None
    edges = edges_of(search)
    random.shuffle(edges)
    with _reality(redis_server, setting, mutant) as reality, pytest.raises(AssertionError):
        try_edges(reality, edges)


def test_the_hesitant_operator_meets_a_job_that_has_moved() -> None:
    search = Search(Protocol(replace(HESITANT, faults=0)))
    search.run()
    vain = [
        before
        for before, label, after in search.edges()
        if label == Label("delete", -1, "", before.order) and after.jobs == before.jobs
    ]
    assert vain
