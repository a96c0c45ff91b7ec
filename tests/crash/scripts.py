"""What a worker does in a life that is killed, and what the one does that comes after it."""

from __future__ import annotations

from tests.crash.fuse import Fuse
from tests.crash.worker import Worker
from tests.crash.world import CHILD, World

#: Rounds of all duties that the second worker has, and the seconds between two: more than
#: anything of a dead process is waited for.
ROUNDS = 15
ROUND = 3.0

#: Seconds between the two halves of the first life: more than the watcher of the switches waits.
PAUSE = 4.0


class Restless(AssertionError):
    """The second worker does not come to an end."""


class FirstLife:
    """Everything that a worker does, in an order that shows each move; the fuse counts along."""

    def __init__(self, world: World, fuse: Fuse) -> None:
        self._world = world
        self._fuse = fuse

    def __call__(self, worker: Worker) -> None:
        """Live it."""
        worker.claim()
        worker.beat()  # with jobs in hand
        worker.look_after()
        worker.bury_child(CHILD)
        worker.run_jobs()
        worker.work(self._has_work)
        with self._fuse.aside():
            self._world.ripen()
            self._world.turn_off()
        worker.pass_by(PAUSE)
        worker.look_after()
        worker.work(self._has_work)
        worker.look_after()
        worker.work(self._has_work)
        with self._fuse.aside():
            self._world.push_late()
        worker.claim()
        worker.run_jobs()  # their results are still here when the worker stops
        worker.turn()  # and these jobs are not even started

    def _has_work(self) -> bool:
        return self._world.has_queued()


class SecondLife:
    """Whatever is left to do."""

    def __init__(self, world: World, identity: str, fuse: Fuse) -> None:
        self._world = world
        self._identity = identity
        self._fuse = fuse

    def __call__(self, worker: Worker) -> None:
        """Do it. Raises: Restless."""
        for _ in range(ROUNDS):
            worker.pass_by(ROUND)
            with self._fuse.aside():
                self._world.ripen()
            worker.look_after()
            worker.work(self._world.has_queued)
            left = self._world.left_to_do(self._identity)
            if not left:
                worker.look_for_the_lost()
                return
        raise Restless(f"left after {ROUNDS} rounds: {left}")
