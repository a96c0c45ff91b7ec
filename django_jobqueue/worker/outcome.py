"""How a run ended: the word that goes from who runs a job to who delivers its result."""

from __future__ import annotations

from dataclasses import dataclass

from django_jobqueue.store.claims import Claim, Move
from django_jobqueue.store.locks import Lock


@dataclass(frozen=True, slots=True)
class Outcome:
    """
    How a run ended that was no plain success: a verb of a result, bytes and a delay in seconds.

    ``error`` is the failure that ``perform`` raised, for those who run a job in line.
    ``job_class`` names the class of a job that a kill switch stopped. ``lock`` is that
    of a unique job; after a death its row is left alone for ``cooldown`` seconds.
    """

    verb: str
    raw: bytes = b""
    delay: float = 0.0
    error: BaseException | None = None
    job_class: str = ""
    lock: Lock | None = None
    cooldown: float = 0.0

    def move(self, claim: Claim) -> Move:
        """Return what is to become of the claim of the job."""
        return Move(
            self.verb,
            claim.field,
            self.raw,
            self.delay,
            claim.queue,
            job_class=self.job_class,
            lock=self.lock,
            cooldown=self.cooldown,
        )
