"""Take back what dead processes held, and find the jobs that kill them."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable
from dataclasses import dataclass, replace

from django_jobqueue import clock
from django_jobqueue.exceptions import InvalidPayload, PoisonPill, StoreRefused
from django_jobqueue.payload import Payload, printable, stamp, wrap_invalid
from django_jobqueue.retry import bury, error_message, error_name
from django_jobqueue.service import Outage, Service
from django_jobqueue.store.claims import (
    BACK,
    BURY,
    CLAIM_BYTES,
    MOVE_LIMIT,
    SNOOZE,
    Claim,
    Claims,
    Move,
)
from django_jobqueue.store.locks import lock_in
from django_jobqueue.store.store import Store

logger = logging.getLogger("django_jobqueue.worker")

#: Seconds between two looks for dead processes, more or less.
LOOK = 1.0

#: Seconds between two searches for claims without a lease.
ORPHAN_LOOK = 3600.0


def _no_cooldown(job_class: str) -> float:
    return 0.0


@dataclass(frozen=True, slots=True)
class CrashPolicy:
    """
    What becomes of a job that was running when its process died. Durations in seconds.

    The first time it goes back to its queue, then it waits ``delay``, and after
    ``limit`` crashes within ``window`` it is dead. Crashes spend no attempt.
    """

    limit: int = 3
    delay: float = 60.0
    window: float = 72 * 3600.0
    unit: str = "milliseconds"
    #: How long the row of a dead job of this class is left alone.
    cooldown: Callable[[str], float] = _no_cooldown

    def judge(self, claim: Claim, suspect: str) -> Move:
        """
        Return where a claim of a dead process goes; ``suspect`` is the field it had marked.

        With a suspect running, that one is to blame and no other. Without one,
        all that crash for the first time are.
        """
        try:
            move = self._judge(claim, suspect)
            lock = lock_in(claim.raw)
            if lock is None:
                return move
            name = Payload.decode(claim.raw).job_class
            cooldown = self.cooldown(name) if move.verb == BURY else 0.0
            return replace(move, queue=claim.queue, lock=lock, cooldown=cooldown)
        except (ValueError, RecursionError) as error:
            # It can be read and not be written: no crash could ever be counted,
            # and all other claims of the process would stay with it.
            dead = bury(wrap_invalid(claim.raw, claim.queue), error, unit=self.unit)
            lock = lock_in(claim.raw)
            return Move(BURY, claim.field, dead.payload.encode(), queue=claim.queue, lock=lock)

    def _judge(self, claim: Claim, suspect: str) -> Move:
        back = Move(BACK, claim.field, claim.raw, queue=claim.queue)
        try:
            payload = Payload.decode(claim.raw)
        except InvalidPayload:
            return back
        blamed = claim.field == suspect if suspect else payload.crashes == 0
        if not blamed:
            return back
        now = clock.now()
        first = payload.time("crashed_at")
        fresh = first is None or now - first > self.window
        crashes = 1 if fresh else payload.crashes + 1
        marked = payload.replace(
            crashes=crashes,
            crashed_at=stamp(now, unit=self.unit) if fresh else payload.fields["crashed_at"],
        )
        error = PoisonPill(crashes)
        if crashes >= self.limit:
            dead = bury(marked, error, unit=self.unit)
            return Move(BURY, claim.field, dead.payload.encode())
        if crashes == 1:
            return Move(BACK, claim.field, marked.encode(), queue=claim.queue)
        waiting = marked.replace(
            error_class=error_name(error), error_message=error_message(error), enqueued_at=None
        )
        return Move(SNOOZE, claim.field, waiting.encode(), delay=self.delay)


def take_back(
    claims: Claims,
    identity: str,
    policy: CrashPolicy,
    on_death: Callable[[Payload], None] | None = None,
) -> int:
    """
    Move all claims of a process whose lease is over; return how many were moved.

    ``on_death`` is told of each job that is about to be buried. Without it such
    claims stay, for a process that runs user code to bury.
    """
    shown = printable(identity)
    held, suspect = claims.held(identity)
    moves = [replace(policy.judge(claim, suspect), read=claim.raw) for claim in held]
    if on_death is None:
        moves = [move for move in moves if move.verb != BURY]
    moved = 0
    for page in _pages(moves):
        if on_death is not None:
            for move in page:
                if move.verb == BURY:
                    on_death(Payload.decode(move.payload))
        recovery = claims.recover(identity, page)
        if recovery.alive:
            logger.info("process %s came back, its jobs stay with it", shown)
            return moved
        if recovery.refused:
            logger.error(
                "%d job(s) of dead process %s could not be moved, they stay in its claims: %s",
                len(recovery.refused), shown, next(iter(recovery.refused.values())),
            )  # fmt: skip
        moved += recovery.moved
    if moved:
        logger.warning("took back %d job(s) of dead process %s", moved, shown)
    return moved


class Recovery(Service):
    """
    Look for dead processes.

    One that was declared dead is taken back at once. One whose lease merely ran
    out is judged by the grace rule: only by a process that has itself beaten
    without a break for a full lease, on a server that is up for as long. After
    an outage everybody's lease has run out, and everybody still runs its jobs.
    """

    name = "recovery"

    def __init__(
        self,
        store: Store,
        policy: CrashPolicy,
        lease: float,
        unbroken_for: Callable[[], float],
        outage: Outage | None = None,
        on_death: Callable[[Payload], None] | None = None,
    ) -> None:
        super().__init__(outage)
        self._store = store
        self._policy = policy
        self._lease = lease
        self._unbroken_for = unbroken_for
        self._on_death = on_death or _ignore
        self._next_orphans = clock.monotonic() + random.uniform(0, ORPHAN_LOOK)
        self._unreadable: set[str] = set()

    def tick(self) -> float:
        """Look once; return the seconds to the next look."""
        now = clock.monotonic()
        dead, lapsed = self._store.claims.expired()
        if lapsed and self._may_judge():
            dead += lapsed
        for identity in dead:
            self._take_back(identity)
        if now >= self._next_orphans:
            self._next_orphans = now + ORPHAN_LOOK
            self.adopt_orphans()
        return LOOK * random.uniform(0.7, 1.3)

    def _take_back(self, identity: str) -> None:
        try:
            take_back(self._store.claims, identity, self._policy, self._on_death)
            self._store.processes.forget(identity)
        except StoreRefused as error:
            # One whose claims cannot be read must not keep us from the others.
            if identity not in self._unreadable:
                self._unreadable.add(identity)
                logger.error("the jobs of %s cannot be taken back: %s", printable(identity), error)

    def adopt_orphans(self) -> None:
        """Give claims that have no lease one, so that they are taken back when it ends."""
        for identity in self._store.claims.orphans():
            logger.warning("claims of %s have no lease; they are given one", printable(identity))
            self._store.claims.adopt(identity, self._lease)
        self._store.processes.forget_lost()

    def _may_judge(self) -> bool:
        return (
            self._unbroken_for() > self._lease and self._store.server.facts().uptime > self._lease
        )


def _pages(moves: list[Move]) -> list[list[Move]]:
    """Cut moves into pages of at most 100 and 4 MB; at least one page, to end an empty lease."""
    pages: list[list[Move]] = [[]]
    size = 0
    for move in moves:
        if pages[-1] and (len(pages[-1]) >= MOVE_LIMIT or size + len(move.payload) > CLAIM_BYTES):
            pages.append([])
            size = 0
        pages[-1].append(move)
        size += len(move.payload)
    return pages


def _ignore(payload: Payload) -> None:
    """Tell nobody."""
