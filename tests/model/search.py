"""Breadth first through all states: the first one that breaks a promise is found by the least."""

from __future__ import annotations

import gc
import time
from array import array
from collections.abc import Iterator
from dataclasses import dataclass

from tests.model.protocol import Label, Protocol, Violation, canonical
from tests.model.state import (
    ACCEPTED,
    DELETED,
    FINISHED,
    FREE,
    NONE,
    REFUSED,
    Call,
    State,
    describe,
)


@dataclass(frozen=True, slots=True)
class Failure:
    """A promise that was broken: which, and the shortest way there."""

    promise: str
    trace: tuple[tuple[Label, State], ...]

    def __str__(self) -> str:
        lines = [f"{self.promise}, after {len(self.trace)} moves:"]
        for number, (label, state) in enumerate(self.trace, 1):
            lines.append(f"{number:4}  {said(label)}")
            lines.append(f"      {describe(state)}")
        return "\n".join(lines)


@dataclass(slots=True)
class Found:
    """What a search has seen."""

    states: int = 0
    transitions: int = 0
    depth: int = 0
    seconds: float = 0.0
    failure: Failure | None = None


class Search:
    """
    Visit every state that can be reached, and keep the way to each.

    In each state the promises I1 to I8 are looked at. At the end liveness: without any
    further fault every run from every state ends, whatever the order, and where it ends each job
    is finished, dead, or was deleted or refused.
    """

    def __init__(self, protocol: Protocol) -> None:
        self.protocol = protocol
        self.states: list[State] = []
        self._numbers: dict[State, int] = {}
        self._parents = array("l")
        self._labels: list[Label | None] = []
        self._sources, self._targets = array("l"), array("l")

    def run(self, limit: int = 5_000_000) -> Found:
        """Search until a promise is broken or everything was seen."""
        began = time.process_time()
        found = Found()
        collects = gc.isenabled()
        gc.disable()  # there are no circles, and to look for some takes a quarter of the time
        try:
            found.failure = self._search(found, limit) or self._stuck()
        finally:
            if collects:
                gc.enable()
            found.states = len(self.states)
            found.seconds = time.process_time() - began
        return found

    def edges(self) -> Iterator[tuple[State, Label, State]]:
        """Yield every transition of every state that was visited."""
        for state in self.states:
            for label, after in self.protocol.moves(state):
                yield state, label, after

    def _search(self, found: Found, limit: int) -> Failure | None:
        states, numbers = self.states, self._numbers
        digests = self.protocol.setting.digests
        self._add(self.protocol.initial(), -1, None)
        edge, at = 0, 0
        while at < len(states):
            if at == edge:  # the next layer begins
                edge, found.depth = len(states), found.depth + 1
            state = states[at]
            moves = self.protocol.moves(state)
            while True:
                try:
                    label, after = next(moves)
                except StopIteration:
                    break
                except Violation as violation:
                    return Failure(str(violation), self._trace(at))
                found.transitions += 1
                after = canonical(after, state)
                number = numbers.get(after)
                if number is None:
                    number = self._add(after, at, label)
                    if (broken := broken_promise(after, digests)) is not None:
                        return Failure(broken, self._trace(number))
                    if number >= limit:
                        raise AssertionError(f"more than {limit} states")
                if not label.fault:
                    self._sources.append(at)
                    self._targets.append(number)
            at += 1
        return None

    def _add(self, state: State, parent: int, label: Label | None) -> int:
        number = len(self.states)
        self._numbers[state] = number
        self.states.append(state)
        self._parents.append(parent)
        self._labels.append(label)
        return number

    def _stuck(self) -> Failure | None:
        """
        Return a state from which the work does not end although nothing more goes wrong.

        States are taken away that have no way on left, again and again, from the end: what
        stays lies on a circle or leads into one.
        """
        count = len(self.states)
        ways = array("l", bytes(8 * count))
        first = array("l", bytes(8 * (count + 1)))
        for source, target in zip(self._sources, self._targets, strict=True):
            ways[source] += 1
            first[target + 1] += 1
        for number in range(count):
            first[number + 1] += first[number]
        before, free = array("l", bytes(8 * len(self._sources))), first[:]
        for source, target in zip(self._sources, self._targets, strict=True):
            before[free[target]] = source
            free[target] += 1
        ends = [number for number in range(count) if not ways[number]]
        for number in ends:
            if (why := unfinished(self.states[number])) is not None:
                return Failure(f"Stuck: {why}", self._trace(number))
        done = 0
        while ends:
            number = ends.pop()
            done += 1
            for source in before[first[number] : first[number + 1]]:
                ways[source] -= 1
                if not ways[source]:
                    ends.append(source)
        if done < count:
            number = next(n for n in range(count) if ways[n])
            return Failure("Livelock: it may go on for ever without a fault", self._trace(number))
        return None

    def _trace(self, number: int) -> tuple[tuple[Label, State], ...]:
        """Return the way to a state. In it everybody keeps his name."""
        numbers = []
        while self._labels[number] is not None:
            numbers.append(number)
            number = self._parents[number]
        state, way = self.states[0], []
        for number in reversed(numbers):
            label, state = next(
                (label, after)
                for label, after in self.protocol.moves(state)
                if canonical(after) == self.states[number]
            )
            way.append((label, state))
        return tuple(way)


def broken_promise(state: State, digests: tuple[int | None, ...]) -> str | None:
    """Return which promise does not hold in a state, None where all do."""
    counts = [0] * len(state.jobs)
    for payload in state.queue:
        counts[payload.job] += 1
    for payload in state.later:
        counts[payload.job] += 1
    for payload in state.dead:
        counts[payload.job] += 1
    for at, worker in enumerate(state.workers):
        for _, payload in worker.claims:
            counts[payload.job] += 1
        if worker.claims and worker.lease == NONE:
            return f"I4: worker {at} has claims and no lease"
    for number, (job, count) in enumerate(zip(state.jobs, counts, strict=True)):
        if job.status == ACCEPTED:
            if count == 0:
                return f"I1: job {number} is lost"
            if count > 1:
                return f"I2: job {number} stands in {count} places"
        elif count:
            return f"I3: job {number} has ended, or was never accepted, and is there"
        if job.credit < 0:
            return f"I8: job {number} was started too often"
    if not state.locks:
        return None
    dead = {payload.job for payload in state.dead}
    for owner in state.locks:
        if owner != FREE and (state.jobs[owner].status != ACCEPTED or owner in dead):
            return f"I6: a lock is held by job {owner}, which has ended"
    for number, job in enumerate(state.jobs):
        digest = digests[number]
        if (
            digest is not None
            and job.status == ACCEPTED
            and not job.is_lockless
            and number not in dead
            and state.locks[digest] != number
        ):
            return f"I6: job {number} is on its way, and its lock was taken from it"
    return None


def unfinished(state: State) -> str | None:
    """Return which job has not come to an end, None where all have."""
    dead = {payload.job for payload in state.dead}
    for number, job in enumerate(state.jobs):
        ended = job.status in (FINISHED, DELETED, REFUSED)
        if not ended and not (job.status == ACCEPTED and number in dead):
            return f"job {number} never comes to an end"
    return None


def said(label: Label) -> str:
    """Return one line on what happens."""
    who = {
        "push": f"a client pushes job {label.who}",
        "reconcile": f"the reconciler looks at the row of job {label.who}",
        "arrive": "a step arrives late",
        "recover": "a recoverer moves what it has read",
        "poll": "a poller reads what is due",
        "promote": "a poller moves what it has read",
        "promote refused": "a poller moves what it has read, and the queue takes nothing",
        "view": "an operator looks at a job",
        "delete": "the operator deletes the job that was seen",
        "lock ends": "a lock runs out",
        "flush": "Redis is flushed",
        "read claims": f"a recoverer reads the claims of worker {label.who}",
    }.get(label.what, f"worker {label.who}: {label.what}")
    if isinstance(label.detail, Call):
        call = label.detail
        results = ", ".join(f"{r.verb} of b{r.field.batch}:{r.field.place}" for r in call.results)
        who += f" ({results or 'no result'}; wants {call.wanted} as b{call.batch})"
    return f"{who}  [fault]" if label.fault else who
