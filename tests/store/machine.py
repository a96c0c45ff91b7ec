"""
The state machine: workers, recoverers, pollers, operators and a reconciler, in every order.

It calls the real scripts on a real server, one at a time. What interleaves are
the halves of a move: reading and moving, sending and learning the answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import initialize, rule

from tests.store import chance
from tests.store.chance import QUEUES, WORKERS
from tests.store.healers import Healers
from tests.store.rescuers import Rescuers
from tests.store.workers import Workers


class CellarMachine(Workers, Rescuers, Healers):
    """
    Drive the store, say beforehand what must come of it, and look at all of Redis after each rule.

    Asserted after every rule, by reading everything (the names are those of
    the protocol):

    I1  an accepted job stands somewhere, or is finished;
    I2  never in two places;
    I3  a finished job does not come back;
    I4  a claims hash that is not empty has a lease;
    I5  a live lease is never recovered;
    I6  the owner of a lock is a job that stands somewhere and has neither ended nor died (the
        locks of the machine do not run out by themselves);
    I7  nobody but the claimant, or the recovery of its expired lease, moves a claimed job, and
        a result moves the job that it is the result of;
    I8  starts <= 1 + retries + recoveries (+ snoozes, + running jobs given back at a stop);
    I9  after a reconcile every row that needs work has a job, or died and cools down (asserted
        there); a flush ends all that was accepted before, and none of it comes back;

    and that Redis holds exactly what the model says.

    Time is simulated: leases lapse by writing an old end, locks by their removal,
    jobs are due because they were written so. A step that was given up may arrive
    at any time later, once. What is not simulated: a *second* copy of a step that
    arrives after its process has lapsed, or after a later step of that process; no
    client sends those. Nor that a page of pushes is sent again after one of its
    jobs has ended: nobody can know then that it was there.
    """

    @initialize(counts=st.tuples(chance.some, chance.some))
    def begin(self, counts: Sequence[int] = (0, 0)) -> None:
        """Let the workers start, with some jobs waiting."""
        self.workers = [self.new_worker() for _ in range(WORKERS)]
        for queue, count in zip(QUEUES, counts, strict=True):
            self.push(queue, count)

    @rule(happening=st.deferred(chance.happenings))
    def happen(self, happening: tuple[str, dict[str, Any]]) -> None:
        """Let one thing happen."""
        name, arguments = happening
        getattr(self, name)(**arguments)
