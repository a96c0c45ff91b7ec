"""The owner of this process's claims: the only thread that takes jobs and delivers results."""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import queue
import random
import select
import threading
from collections import deque

from django_jobqueue import clock
from django_jobqueue.exceptions import (
    InvalidPayload,
    StoreError,
    StoreFull,
    StoreRefused,
    StoreUnavailable,
)
from django_jobqueue.job.disabled import count_stopped
from django_jobqueue.payload import Payload, printable
from django_jobqueue.service import Backoff, Outage
from django_jobqueue.store.claims import (
    BACK,
    DROPPED,
    HELD,
    MOVE_LIMIT,
    Claim,
    Move,
    Step,
)
from django_jobqueue.store.locks import Lock, lock_in
from django_jobqueue.store.store import Store
from django_jobqueue.store.waiter import drain
from django_jobqueue.worker.executor import Outcome
from django_jobqueue.worker.held import Held, may_be_suspect
from django_jobqueue.worker.lease import Lease
from django_jobqueue.worker.options import WorkerOptions
from django_jobqueue.worker.pace import Pace

logger = logging.getLogger("django_jobqueue.worker")

#: What the loop is called in the news of an outage.
NAME = "fetcher"

#: Seconds after which a claimed job that no thread has started is given back.
STALE = 1.0

#: Seconds between two looks at a queue that cannot be waited on (paused, broken, Redis full).
POLL = 1.0
POLL_FULL = 0.2

#: Seconds that an idle fetcher waits at most.
IDLE = 5.0

#: Seconds before a result that Redis refused is sent again.
REFUSED_WAIT = 1.0

#: Jobs that may wait for their turn as suspects.
SUSPECTS = 100


class Fetcher:
    """
    Claim jobs in batches for the processors, and deliver their results with the next claim.

    ``inbox`` is where processors take jobs from; None tells one to end. All
    other state belongs to the fetcher's thread, except what ``finish`` appends.
    """

    def __init__(
        self, store: Store, identity: str, options: WorkerOptions, lease: Lease, outage: Outage
    ) -> None:
        self.identity = identity
        self.inbox: queue.SimpleQueue[Held | None] = queue.SimpleQueue()
        self._store = store
        self._options = options
        self._lease = lease
        self._outage = outage
        self._backoff = Backoff()
        self._pace = Pace(options.concurrency, each=options.ack_each)
        self._wake_in, self._wake_out = os.pipe()
        os.set_blocking(self._wake_in, False)
        os.set_blocking(self._wake_out, False)
        self._waiter = store.waiter(self._wake_in)
        self._batches = (f"{number:x}" for number in itertools.count(1))
        self._held: dict[str, Held] = {}
        self._finished: deque[Held] = deque()
        self._undelivered: list[Held] = []
        self._refused_until = 0.0
        self._refused: list[Held] = []
        self._suspects: deque[Held] = deque()
        self._suspect: Held | None = None
        self._broken: set[str] = set()
        self._stale_at = 0.0
        self._more = True
        self._unwaitable: dict[str, float] = {}
        self._misses = 0
        self._doubtful = False
        self._away = False
        self._sleeping = False
        self._wake_at = 1
        self._quiet = threading.Event()
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None
        #: Set when the queues were found empty and nothing is held.
        self.idle = threading.Event()

    # Called from other threads ----------------------------------------------------

    def start(self) -> None:
        """Begin in a daemon thread."""
        self._thread = threading.Thread(target=self._run, name="jobqueue-fetcher", daemon=True)
        self._thread.start()

    def finish(self, held: Held, outcome: Outcome | None) -> None:
        """Take the outcome of a job from a processor; None is a success."""
        held.outcome = outcome
        held.ended = clock.monotonic()
        self._finished.append(held)
        if self._sleeping and (
            len(self._finished) >= self._wake_at or (self._more and self.inbox.empty())
        ):
            self.wake()

    def wake(self) -> None:
        """End the present wait."""
        with contextlib.suppress(BlockingIOError):  # the pipe is full of wake-ups already
            os.write(self._wake_out, b"x")

    def quiet(self) -> None:
        """Claim no more jobs, and give back those that are not started."""
        self._quiet.set()
        self.wake()

    def close(self) -> None:
        """Deliver all results, give back what is still running, and end the thread."""
        self._quiet.set()
        self._closing.set()
        self.wake()

    def join(self, timeout: float) -> bool:
        """Wait for the thread's end, at most ``timeout`` seconds; return whether it ended."""
        if self._thread is None:
            return True
        self._thread.join(timeout)
        return not self._thread.is_alive()

    @property
    def is_quiet(self) -> bool:
        """Whether no more jobs are claimed."""
        return self._quiet.is_set()

    def running(self) -> list[Held]:
        """Return the jobs that are started and not finished."""
        return [h for h in list(self._held.values()) if h.started is not None and h.ended is None]

    def holding(self) -> int:
        """Return how many claims are not yet resolved in Redis."""
        return len(self._held)

    def locks(self) -> list[Lock]:
        """Return the locks of the unique jobs that wait here or run."""
        unfinished = [h.claim.raw for h in list(self._held.values()) if h.ended is None]
        return [lock for raw in unfinished if (lock := lock_in(raw)) is not None]

    def doubt(self) -> None:
        """Have the claims compared with memory soon: a reply may have been lost."""
        self._doubtful = True
        self.wake()

    # The loop -----------------------------------------------------------------------

    def _run(self) -> None:
        while not self._closing.is_set():
            try:
                self._turn()
                self._outage.ended(NAME)
                self._away = False
                self._backoff.reset()
            except StoreUnavailable as error:
                self._lease.broken()
                self._outage.began(error, NAME)
                self._away = True
                self._doubtful = True
                self._sleep(self._backoff.next())
            except StoreError as error:
                logger.error("Redis refuses to give or take jobs: %s", error)
                self._sleep(POLL)
            except Exception:
                logger.exception("The fetcher failed; it goes on")
                self._doubtful = True
                self._sleep(POLL)
        self._waiter.close()

    def _turn(self) -> None:
        """Do one round: compare if in doubt, then deliver and claim, or wait."""
        now = clock.monotonic()
        if self._doubtful or self._lease.audit_due:
            self._audit()
        self._give_back_stale(now)
        self._collect()
        free = 0 if self._quiet.is_set() else self._pace.room(self._active())
        claim = free > 0 and self._more and self._pace.should_claim(free, self._starving())
        if claim or self._delivery_due(now) or self._next_suspect():
            self._step(free)
            return
        self._wait(free, now)

    def _wait(self, free: int, now: float) -> None:
        timeout = IDLE
        if self._undelivered:
            timeout = max(0.0, self._oldest_result() + self._pace.flush_after - now)
        if self._refused:
            timeout = min(timeout, max(0.0, self._refused_until - now))
        if not self.inbox.empty() or self._suspects:
            timeout = min(timeout, max(0.0, self._stale_at - now))
        if free <= 0 or self._more:
            self._wake_at = self._pace.wake_at(len(self._undelivered))
            self._sleep(timeout)
            return
        self._note_idle()
        waitable = [q for q in self._options.queues.names if self._unwaitable.get(q, 0.0) <= now]
        if len(waitable) < len(self._options.queues.weights):
            timeout = min(timeout, POLL)
        self._wake_at = self._pace.wake_at(len(self._undelivered))
        self._sleeping = True
        try:
            if self._finished:
                return
            woken = self._waiter.wait(waitable, timeout)
        except StoreFull:
            self._sleep(min(timeout, POLL_FULL))
            woken = True
        except StoreRefused as error:
            logger.error("A queue cannot be waited on, it is polled: %s", error)
            self._sleep(min(timeout, POLL))
            woken = True
        finally:
            self._sleeping = False
        if woken or len(waitable) < len(self._options.queues.weights):
            self._more = True

    def _sleep(self, seconds: float) -> None:
        """Wait for a wake-up of another thread."""
        self._sleeping = True
        try:
            # In an outage results are no reason to hurry.
            hurry = self._finished and not self._away
            if not hurry and select.select([self._wake_in], [], [], seconds)[0]:
                drain(self._wake_in)
        finally:
            self._sleeping = False

    # Deliver and claim ----------------------------------------------------------------

    def _step(self, free: int) -> None:
        sending = self._undelivered[:MOVE_LIMIT]
        again: list[Held] = []
        if self._refused and clock.monotonic() >= self._refused_until:
            again = self._refused[: MOVE_LIMIT - len(sending)]
        done: list[str] = []
        moves: list[Move] = []
        for held in (*sending, *again):
            if held.outcome is None:
                done.append(held.claim.field)
            else:
                moves.append(_move(held, held.outcome))
        wanted = min(max(free, 0), MOVE_LIMIT)
        suspect = self._next_suspect() or self._suspect
        sent_at = clock.monotonic()
        step = self._store.claims.step(
            self.identity,
            lease=self._lease.seconds,
            batch=next(self._batches),
            wanted=wanted,
            queues=self._options.queues.draw() if wanted else (),
            done=done,
            moves=moves,
            suspect=suspect.claim.field if suspect else "",
        )
        self._lease.renewed(sent_at, lapsed=step.lapsed)
        self._settle(sending, again, step)
        self._count_stopped(moves, step)
        if suspect is not None and suspect is not self._suspect:
            self._suspects.popleft()
            self._suspect = suspect
            self.inbox.put(suspect)
        self._admit(step.claimed)
        if wanted:
            self._learn(step, wanted)

    def _settle(self, sent: list[Held], again: list[Held], step: Step) -> None:
        """Forget delivered results; keep those that Redis refused for another try."""
        self._undelivered = self._undelivered[len(sent) :]
        self._refused = self._refused[len(again) :]
        for held in (*sent, *again):
            if held.claim.field in step.refused:
                self._refused.append(held)
            else:
                self._held.pop(held.claim.field, None)
        if step.refused:
            self._refused_until = clock.monotonic() + REFUSED_WAIT
            logger.error(
                "Redis refused the result of %d job(s), kept to try again: %s",
                len(step.refused), next(iter(step.refused.values())),
            )  # fmt: skip
        if step.fenced:
            logger.warning(
                "%d result(s) came too late: the lease had ended, and the jobs were taken back",
                step.fenced,
            )

    def _count_stopped(self, moves: list[Move], step: Step) -> None:
        for verb in (HELD, DROPPED):
            stopped = [m.job_class for m in moves if m.verb == verb and m.field not in step.refused]
            count_stopped(self._store.tally, verb, stopped)

    def _learn(self, step: Step, wanted: int) -> None:
        """Draw conclusions on where there may be more."""
        now = clock.monotonic()
        for name in step.broken.keys() - self._broken:
            logger.error("queue %s cannot be read, the others go on: %s", name, step.broken[name])
        self._broken = set(step.broken)
        self._unwaitable = dict.fromkeys((*step.paused, *step.broken), now + POLL)
        woken_in_vain = self._more and not step.claimed and not step.paused and not step.broken
        full = len(step.claimed) >= wanted
        self._more = full or (bool(step.claimed) and _weighs_much(step.claimed))
        if step.claimed:
            self._misses = 0
        elif woken_in_vain:
            # Somebody else was faster. In a large idle fleet everybody is woken
            # by every push, so those who get nothing stay away a little.
            self._misses = min(self._misses + 1, 7)
            if self._misses > 1 and not self._options.burst:
                self._sleep(random.uniform(0, 0.002 * 2**self._misses))

    def _admit(self, claimed: list[Claim]) -> None:
        """Take new claims in: to the processors, or aside if they have crashed a worker before."""
        if not claimed:
            return
        self.idle.clear()
        now = clock.monotonic()
        admitted = [Held(claim, now) for claim in claimed]
        for held in admitted:
            self._held[held.claim.field] = held
        # Only now: who quiets us and then finds nothing held must be right.
        if self._quiet.is_set():
            self._give_all_back(admitted, now)
            return
        for held in admitted:
            raw = held.claim.raw
            if may_be_suspect(raw) and _crashes(raw):
                self._suspects.append(held)
            else:
                self.inbox.put(held)

    def _next_suspect(self) -> Held | None:
        """Return the suspect to start next: one at a time, so that it alone can be blamed."""
        if self._suspect is not None or not self._suspects or self._quiet.is_set():
            return None
        return self._suspects[0]

    # Results -----------------------------------------------------------------------------

    def _collect(self) -> None:
        """Move what the processors finished to the results, and learn how long jobs take."""
        while self._finished:
            held = self._finished.popleft()
            self._pace.took((held.ended or 0.0) - (held.started or 0.0))
            if held is self._suspect:
                self._suspect = None
            if held.claim.field in self._held:
                self._undelivered.append(held)

    def _delivery_due(self, now: float) -> bool:
        if self._refused and now >= self._refused_until:
            return True
        if not self._undelivered:
            return False
        if self._quiet.is_set() or self._pace.must_flush(len(self._undelivered)):
            return True
        return now - self._oldest_result() >= self._pace.flush_after

    def _oldest_result(self) -> float:
        return self._undelivered[0].ended or 0.0

    def _active(self) -> int:
        """Return how many jobs wait for a thread or run in one."""
        waiting_suspects = min(len(self._suspects), SUSPECTS)
        return len(self._held) - len(self._undelivered) - len(self._refused) - waiting_suspects

    def _starving(self) -> bool:
        return self._active() < self._options.concurrency

    def _give_back_stale(self, now: float) -> None:
        """Return jobs that no thread came to start: another process may have one free."""
        quiet = self._quiet.is_set()
        if now < self._stale_at and not quiet:
            return
        keep: list[Held] = []
        stale: list[Held] = []
        while True:
            try:
                held = self.inbox.get_nowait()
            except queue.Empty:
                break
            if held is not None and not held.lost:
                is_stale = quiet or now - held.since >= STALE
                (stale if is_stale else keep).append(held)
        for each in keep:
            self.inbox.put(each)
        suspects = [each for each in self._suspects if quiet or now - each.since >= STALE]
        for each in suspects:
            self._suspects.remove(each)
        # Suspects last, so that sound jobs are next in line.
        self._give_all_back([*stale, *suspects], now)
        waiting = (*keep, *self._suspects)
        self._stale_at = min((held.since for held in waiting), default=now) + STALE

    def _give_all_back(self, jobs: list[Held], now: float) -> None:
        """Give jobs back, the newest first: each goes before those that are back already."""
        for held in reversed(jobs):
            self._give_back(held, now)

    def _give_back(self, held: Held, now: float) -> None:
        if held is self._suspect:
            self._suspect = None
        held.outcome = Outcome(BACK, lock=lock_in(held.claim.raw))
        held.ended = now
        self._undelivered.append(held)

    def _note_idle(self) -> None:
        if not self._held and not self._finished:
            self.idle.set()

    # After a lost reply or a lapse ---------------------------------------------------------

    def _audit(self) -> None:
        """
        Compare the claims in Redis with memory.

        What we do not know of is the reply of a step that was lost: it is ours
        to run. What is gone was taken back by others: what is not started is
        dropped, what runs will find its result refused. But a result whose claim
        is gone while our lease held was delivered, and only the reply was lost.
        """
        renewed_at = clock.monotonic()
        lapsed = self._store.claims.beat(self.identity, self._lease.seconds)
        self._lease.renewed(renewed_at, lapsed=lapsed)
        fields = self._store.claims.fields(self.identity)
        ghosts = self._store.claims.read(self.identity, sorted(fields - self._held.keys()))
        if ghosts:
            logger.info("%d claimed job(s) whose reply was lost are taken up", len(ghosts))
        missing = [self._held[field] for field in self._held.keys() - fields]
        if not self._lease.audit_due:
            self._forget([held for held in missing if held.ended is not None])
        for held in missing:
            self._lose(held)
        self._doubtful = False
        self._lease.audited(renewed_at)
        self._admit(ghosts)

    def _forget(self, delivered: list[Held]) -> None:
        for held in delivered:
            del self._held[held.claim.field]
        self._undelivered = [h for h in self._undelivered if h.claim.field in self._held]
        self._refused = [h for h in self._refused if h.claim.field in self._held]

    def _lose(self, held: Held) -> None:
        if held.ended is not None:
            return  # its result is on the way, and will be refused
        held.lost = True
        if held.started is not None:
            logger.warning("The lease of a running job was lost: %s", held.claim.field)
            return
        self._held.pop(held.claim.field, None)
        if held in self._suspects:
            self._suspects.remove(held)
        if held is self._suspect:
            self._suspect = None

    # The end ------------------------------------------------------------------------------------

    def deliver_last(self, deadline: float) -> int:
        """
        Deliver all results and give back all that still runs; return the claims left behind.

        To be called when the thread has ended; tries until ``deadline``
        (monotonic seconds) while Redis is away.
        """
        now = clock.monotonic()
        self._give_back_stale(now)
        self._collect()
        running = [h for h in self._held.values() if h.ended is None]
        self._give_all_back(running, now)
        backoff = Backoff()
        while True:
            try:
                self._refused_until = 0.0
                while self._undelivered or self._delivery_due(clock.monotonic()):
                    self._step(0)
                if self._doubtful:
                    self._audit()
                    self._give_back_stale(clock.monotonic())
                    self._doubtful = False
                    continue
                left = self._store.claims.leave(self.identity)
                if running:
                    jids = ", ".join(_jid(held.claim.raw) for held in running[:20])
                    plural = "s" if len(running) > 1 else ""
                    logger.warning("requeued %d running job%s (%s)", len(running), plural, jids)
                return left
            except StoreError as error:
                self._outage.began(error, NAME)
                self._doubtful = True
                wait = backoff.next()
                if clock.monotonic() + wait >= deadline:
                    return max(len(self._held), 1)
                self._sleep(wait)


def _move(held: Held, outcome: Outcome) -> Move:
    return Move(
        outcome.verb,
        held.claim.field,
        outcome.raw,
        outcome.delay,
        held.claim.queue,
        job_class=outcome.job_class,
        lock=outcome.lock,
        cooldown=outcome.cooldown,
    )


def _weighs_much(claimed: list[Claim]) -> bool:
    """Return whether a batch was probably cut by its bytes and not for want of jobs."""
    return sum(len(claim.raw) for claim in claimed) > 1_000_000


def _crashes(raw: bytes) -> int:
    try:
        return Payload.decode(raw).crashes
    except InvalidPayload:
        return 0


def _jid(raw: bytes) -> str:
    try:
        return printable(Payload.decode(raw).jid)
    except InvalidPayload:
        return "?"
