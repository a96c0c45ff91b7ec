"""Signals at random moments to processes that hold jobs, and the record of what they held."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.acceptance.site import SOON
from tests.chaos.crew import Crew, Group
from tests.chaos.ledger import Ledger
from tests.support import procfs
from tests.support.polling import wait_until

#: Children of one group that are killed before the whole group is: its supervisor waits longer
#: and longer before it starts another one.
CHILDREN_A_GROUP = 3

#: How often a whole group is killed where the dice decide.
WHOLE = 0.2

#: Seconds within which the moment of a kill is drawn.
MOMENT = 0.02


@dataclass(slots=True)
class Kill:
    """
    One process that was killed, and the jobs that it held then, as the ledger calls them.

    ``of_a_group`` when its supervisor was killed too, with it or before it could do
    anything. Times are monotonic seconds; ``recovered`` when its claims were gone.
    """

    identity: str
    group: Group
    of_a_group: bool
    held: list[str]
    #: Those of them that it had started, and how many of these had not finished.
    begun: list[str]
    running: int
    at: float
    recovered: float | None = None


@dataclass(slots=True)
class Target:
    """Who is to be killed: processes, and the identities of those that may hold claims, by pid."""

    group: Group
    children: dict[int, str]
    pids: list[int]

    @property
    def is_group(self) -> bool:
        """Tell whether the supervisor is killed as well."""
        return self.group.worker.pid in self.pids


@dataclass(slots=True)
class Killer:
    """Kills children and groups of a crew. A kill counts when the killed held claims."""

    crew: Crew
    ledger: Ledger
    chance: random.Random
    kills: list[Kill] = field(default_factory=list)
    hits: int = 0
    group_hits: int = 0
    #: How often each job had started and finished when it was last held by somebody killed.
    _before: dict[str, tuple[int, int]] = field(default_factory=dict)

    def choose(self, whole: bool | None = None) -> Target | None:
        """Choose a child, or a whole group (None: the dice say); None when nobody works there."""
        group = self.chance.choice(self.crew.groups)
        children = self.crew.ready_children(group, self.gone())
        if not children:
            return None
        if whole is None:
            worn = group.children_killed >= CHILDREN_A_GROUP
            whole = worn or self.chance.random() < WHOLE
        if whole:
            return Target(group, children, group.worker.members())
        pid, identity = self.chance.choice(list(children.items()))
        return Target(group, {pid: identity}, [pid])

    def strike(self, target: Target) -> bool:
        """Kill it at a random moment; return whether it held claims, else it lives on."""
        time.sleep(self.chance.uniform(0, MOMENT))
        # Frozen for the few milliseconds that it takes to see what it holds.
        send(target.pids, signal.SIGSTOP)
        if target.is_group:  # somebody may have been born meanwhile; from here on nobody is
            target.pids = target.group.worker.members()
            send(target.pids, signal.SIGSTOP)
            target.children = self.crew.ready_children(target.group, self.gone())
        # A signal takes a moment: what was under way must have come to its end.
        wait_until(lambda: all(map(procfs.is_stopped, alive(target.pids))), SOON, "them to stop")
        caught = [self._look(identity, target) for identity in target.children.values()]
        if not any(kill.held for kill in caught):
            send(target.pids, signal.SIGCONT)
            return False
        self.kills += caught
        self.hits += 1
        for ident in (ident for kill in caught for ident in kill.held):
            self._before[ident] = (self.ledger.starts[ident], self.ledger.finishes[ident])
        if target.is_group:
            self._kill_group(target.group)
        else:
            send(target.pids, signal.SIGKILL)
            target.group.children_killed += 1
        return True

    def try_to_strike(self, whole: bool | None = None) -> bool:
        """Choose somebody and strike; return whether it hit."""
        target = self.choose(whole)
        return target is not None and self.strike(target)

    def gone(self) -> set[str]:
        """Return the identities of everybody who was killed."""
        return {kill.identity for kill in self.kills}

    def outstanding(self) -> list[Kill]:
        """Return the kills whose claims have not all been taken back."""
        return [kill for kill in self.kills if kill.recovered is None]

    def begun(self) -> Counter[str]:
        """Return how often each job was cut off, or not delivered, by somebody's death."""
        return Counter(ident for kill in self.kills for ident in kill.begun)

    def _kill_group(self, group: Group) -> None:
        group.worker.kill9_group()
        self.group_hits += 1
        # Whom of it was killed before, and has not recovered, has no supervisor any more.
        for kill in self.outstanding():
            kill.of_a_group |= kill.group is group
        self.crew.replace(group)

    def _look(self, identity: str, target: Target) -> Kill:
        # What it had sent before it froze is done before this is answered.
        self.crew.site.redis.ping()
        claims, _ = self.crew.site.store.claims.held(identity)
        self.ledger.read()
        held = [self.ledger.name_of(claim.raw) for claim in claims]
        # A job may have been started before, by one who was killed as well.
        before = [self._before.get(ident, (0, 0)) for ident in held]
        pairs = list(zip(held, before, strict=True))
        begun = [ident for ident, (starts, _) in pairs if self.ledger.starts[ident] > starts]
        ended = sum(self.ledger.finishes[ident] > finishes for ident, (_, finishes) in pairs)
        return Kill(
            identity,
            target.group,
            target.is_group,
            held=held,
            begun=begun,
            running=len(begun) - ended,
            at=time.monotonic(),
        )


def alive(pids: Sequence[int]) -> list[int]:
    """Return those of these processes that live: one may have been killed a moment before."""
    return [pid for pid in pids if procfs.is_alive(pid)]


def send(pids: Sequence[int], number: int) -> None:
    """Send a signal to each of these processes that still lives."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):  # killed before
            os.kill(pid, number)
