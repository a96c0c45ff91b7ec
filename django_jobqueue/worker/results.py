"""The results on their way to Redis, from the end of a job to the word that it was taken down."""

from __future__ import annotations

import logging
from collections.abc import Callable

from django_jobqueue.job.disabled import count_stopped
from django_jobqueue.store.claims import DROPPED, HELD, MOVE_LIMIT, Move, Step
from django_jobqueue.store.tally import Tally
from django_jobqueue.worker.held import Held

logger = logging.getLogger("django_jobqueue.worker")

#: Seconds before a result that Redis refused is sent again.
REFUSED_WAIT = 1.0


class Parcel:
    """What one step delivers: jobs that are done, and moves for the others."""

    def __init__(self, fresh: list[Held], again: list[Held]) -> None:
        self.fresh = fresh
        self.again = again
        self.done: list[str] = []
        self.moves: list[Move] = []
        for held in (*fresh, *again):
            if held.outcome is None:
                self.done.append(held.claim.field)
            else:
                self.moves.append(held.outcome.move(held.claim))


class Results:
    """
    Jobs that have ended and whose claims still stand. For the fetcher's thread.

    ``waiting`` are those that were never sent; those that Redis refused are sent
    again after a while, and disturb nobody meanwhile.
    """

    def __init__(self) -> None:
        self.waiting: list[Held] = []
        self._refused: list[Held] = []
        self._again_at = 0.0

    def add(self, held: Held) -> None:
        """Take a job whose outcome is known."""
        self.waiting.append(held)

    @property
    def oldest(self) -> float:
        """When the first of those that wait ended."""
        return self.waiting[0].ended or 0.0

    def again_in(self, now: float) -> float | None:
        """Return the seconds until refused ones are due; None where there are none."""
        return max(0.0, self._again_at - now) if self._refused else None

    def hurry(self) -> None:
        """Let refused ones go at once."""
        self._again_at = 0.0

    def pack(self, now: float) -> Parcel:
        """Return what goes with the next step."""
        fresh = self.waiting[:MOVE_LIMIT]
        is_due = self._refused and now >= self._again_at
        return Parcel(fresh, self._refused[: MOVE_LIMIT - len(fresh)] if is_due else [])

    def settle(self, parcel: Parcel, step: Step, now: float) -> list[str]:
        """Return the fields of what was delivered; keep what Redis refused for another try."""
        self.waiting = self.waiting[len(parcel.fresh) :]
        self._refused = self._refused[len(parcel.again) :]
        delivered = [*parcel.done, *(move.field for move in parcel.moves)]
        if step.refused:
            sent = (*parcel.fresh, *parcel.again)
            self._refused += [held for held in sent if held.claim.field in step.refused]
            delivered = [field for field in delivered if field not in step.refused]
            self._again_at = now + REFUSED_WAIT
            logger.error(
                "Redis refused the result of %d job(s), kept to try again: %s",
                len(step.refused), next(iter(step.refused.values())),
            )  # fmt: skip
        if step.fenced:
            logger.warning(
                "%d result(s) came too late: the lease had ended, and the jobs were taken back",
                step.fenced,
            )
        return delivered

    def keep(self, is_held: Callable[[str], bool]) -> None:
        """Forget those whose field is not held any more."""
        self.waiting = [held for held in self.waiting if is_held(held.claim.field)]
        self._refused = [held for held in self._refused if is_held(held.claim.field)]


def count_stops(tally: Tally, parcel: Parcel, step: Step) -> None:
    """Count the jobs that a kill switch held or dropped, by their class."""
    for verb in (HELD, DROPPED):
        stopped = [
            move.job_class
            for move in parcel.moves
            if move.verb == verb and move.field not in step.refused
        ]
        count_stopped(tally, verb, stopped)
