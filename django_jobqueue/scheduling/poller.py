"""Bring jobs whose time has come to their queues, within a second whatever the fleet's size."""

from __future__ import annotations

import logging
import random
from collections.abc import Mapping, Sequence
from contextlib import nullcontext

from django_jobqueue import databases
from django_jobqueue.client.middleware import Push
from django_jobqueue.exceptions import InvalidPayload
from django_jobqueue.job.disabled import count_stopped, held, policy_of
from django_jobqueue.payload import Payload, printable, stamp
from django_jobqueue.service import Outage, Service
from django_jobqueue.signals import job_refused, tell
from django_jobqueue.signing import carried
from django_jobqueue.store.locks import lock_of
from django_jobqueue.store.sets import DROP, HOLD, LATER, PUSH, Promotion
from django_jobqueue.store.store import Store
from django_jobqueue.store.tally import DROPPED, HELD
from django_jobqueue.switches.switches import switches

logger = logging.getLogger("django_jobqueue.worker")

#: Entries of each set that one round promotes.
PAGE = 100

#: Seconds that a leader sleeps at most, and that its term lasts without a new round.
NAP = 1.0
TERM = 3.0

#: Seconds before a job whose middleware raised is tried again.
HELD_BACK = 60.0


class Poller(Service):
    """
    Promote due entries of ``schedule`` and ``retry``.

    Every process has one. The leader looks at the earliest score and sleeps
    until then; the others only ask whether there is still a leader. Entries are
    read, decided on here, and moved by a script that moves each once, so two
    leaders or a crash do no harm. The client middleware is asked again. ``inline``
    is for a caller of ``promote_due`` whose transactions are to stay as they are.
    """

    name = "poller"

    def __init__(
        self,
        store: Store,
        token: str,
        chain: Push,
        outage: Outage | None = None,
        *,
        unit: str = "milliseconds",
        inline: bool = False,
    ) -> None:
        super().__init__(outage)
        self._store = store
        self._token = token
        self._chain = chain
        self._unit = unit
        self._inline = inline
        #: Whether we led in the last round, and whether it found nothing due.
        self.leads = True
        self.nothing_due = False
        self._broken: set[str] = set()

    def tick(self) -> float:
        """Promote what is due, if we lead; return the seconds to wait."""
        self.leads = self._store.sets.lead(self._token, TERM)
        if not self.leads:
            return random.uniform(NAP, 2 * NAP)
        return self.promote_due()

    def promote_due(self) -> float:
        """Promote one page of each set; return the seconds until the next look."""
        due = self._store.sets.due(PAGE)
        found = False
        for name in due.broken.keys() - self._broken:
            logger.error("the set %s cannot be read: %s", name, due.broken[name])
        self._broken = set(due.broken)
        for name, entries in due.entries.items():
            if entries:
                found = True
                self._promote(name, entries)
        self.nothing_due = not found
        if found:
            return 0.0
        if due.earliest is None:
            return NAP
        return min(NAP, max(0.0, due.earliest))

    def _promote(self, name: str, entries: list[bytes]) -> None:
        tidy = nullcontext() if self._inline else databases.fresh("A client middleware")
        # Asked twice, here and by the chain: the same answer.
        with tidy, switches().pinned():
            promotions = [self._decide(name, entry) for entry in entries]
        _, refused = self._store.sets.promote(name, promotions)
        self._count(promotions, refused)
        if not refused:
            return
        logger.error(
            "%d due job(s) of %s could not be promoted, they stay: %s",
            len(refused), name, next(iter(refused.values())),
        )  # fmt: skip
        # Out of the way of the others, or the first page would be these for ever.
        later = [
            Promotion(LATER, promotions[n].old, promotions[n].old, delay=HELD_BACK) for n in refused
        ]
        self._store.sets.promote(name, later)

    def _count(self, promotions: Sequence[Promotion], refused: Mapping[int, str]) -> None:
        """Count what kill switches stopped."""
        for verb, word in ((HOLD, HELD), (DROP, DROPPED)):
            stopped = [
                promotion.job_class
                for index, promotion in enumerate(promotions)
                if promotion.verb == verb and promotion.job_class and index not in refused
            ]
            count_stopped(self._store.tally, word, stopped)

    def _decide(self, name: str, entry: bytes) -> Promotion:
        try:
            payload = Payload.decode(entry)
        except InvalidPayload:
            # A worker will bury it, with its bytes.
            return Promotion(PUSH, entry, entry, queue="default")
        lock = lock_of(payload)
        try:
            if switches().refuses(payload):
                stopped = self._disabled(name, entry, payload)
                if stopped is not None:
                    return stopped
                with switches().allowing():
                    accepted = self._chain(payload)
            else:
                accepted = self._chain(payload)
            if accepted is None:
                logger.warning(
                    "%s jid=%s is due, and a client middleware dropped it",
                    printable(payload.job_class), printable(payload.jid),
                )  # fmt: skip
                tell(job_refused, None, payload=payload)
                return Promotion(DROP, entry, lock=lock)
            new = carried(payload, accepted).replace(enqueued_at=stamp(unit=self._unit))
            return Promotion(PUSH, entry, new.encode(), queue=accepted.queue, lock=lock)
        except BaseException:
            logger.exception(
                "%s jid=%s: a client middleware failed, the job is held for %.0f s",
                printable(payload.job_class), printable(payload.jid), HELD_BACK,
            )  # fmt: skip
            return Promotion(LATER, entry, entry, delay=HELD_BACK, lock=lock)

    def _disabled(self, place: str, entry: bytes, payload: Payload) -> Promotion | None:
        """Return where a job goes that a kill switch stops; None where it is promoted."""
        policy, name = policy_of(payload), payload.job_class
        if policy == "run":
            return None
        lock = lock_of(payload)
        if policy == "drop":
            return Promotion(DROP, entry, job_class=name, lock=lock)
        return Promotion(HOLD, entry, held(payload, place).encode(), job_class=name, lock=lock)
