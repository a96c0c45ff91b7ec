"""The owner of this process's claims: the only thread that takes jobs and delivers results."""

from __future__ import annotations

import itertools
import logging
import random
import threading
from collections import deque
from collections.abc import Callable, Iterable

from django_jobqueue import clock
from django_jobqueue.exceptions import StoreError, StoreUnavailable
from django_jobqueue.service import Backoff, Outage
from django_jobqueue.store.claims import BACK, MOVE_LIMIT, Claim, Step
from django_jobqueue.store.locks import Lock, lock_in
from django_jobqueue.store.store import Store
from django_jobqueue.worker.bell import POLL, Bell
from django_jobqueue.worker.held import CRASHES, Held, is_suspect, jid_of
from django_jobqueue.worker.lane import Demand, Lanes
from django_jobqueue.worker.lease import Lease
from django_jobqueue.worker.options import WorkerOptions
from django_jobqueue.worker.outcome import Outcome
from django_jobqueue.worker.results import Results, count_stops
from django_jobqueue.worker.routing import Routing
from django_jobqueue.worker.suspects import Suspects

logger = logging.getLogger("django_jobqueue.worker")

#: What the loop is called in the news of an outage.
NAME = "fetcher"

#: Seconds after which a claimed job that nobody has started is given back.
STALE = 1.0

#: Seconds that an idle fetcher waits at most.
IDLE = 5.0


def _nobody_counts(jobs: int) -> None:
    """Where no limit is set."""


class Fetcher:
    """
    Claim jobs in batches for those who run them, and deliver their results with the next claim.

    ``lanes`` are where jobs are taken from; None in an inbox tells one thread to end. All
    other state belongs to the fetcher's thread, except what ``finish`` appends.
    ``note_ran`` is called in it with how many jobs ended here. With a ``routing`` there
    is a lane for an event loop beside the threads.
    """

    def __init__(
        self,
        store: Store,
        identity: str,
        options: WorkerOptions,
        lease: Lease,
        outage: Outage,
        note_ran: Callable[[int], None] = _nobody_counts,
        routing: Routing | None = None,
    ) -> None:
        self.identity = identity
        self.lanes = Lanes(options, routing)
        self._store = store
        self._options = options
        self._lease = lease
        self._outage = outage
        self._note_ran = note_ran
        self._backoff = Backoff()
        self._bell = Bell(store)
        self._batches = (f"{number:x}" for number in itertools.count(1))
        self._held: dict[str, Held] = {}
        self._finished: deque[Held] = deque()
        self._results = Results()
        self._suspects = Suspects()
        self._broken: set[str] = set()
        self._stale_at = 0.0
        self._misses = 0
        self._doubtful = False
        self._away = False
        self._wake_at = 1
        self._may_look = True
        self._quiet = threading.Event()
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None
        #: When the present turn began, and when the last good one ended: monotonic seconds.
        self.turned_at = self.served_at = clock.monotonic()
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
        if self._bell.is_awaited and self._is_worth_waking():
            self.wake()

    def finish_all(self, ended: Iterable[tuple[Held, Outcome | None]]) -> None:
        """Take the outcomes of jobs that ended together: they wake us at most once."""
        now = clock.monotonic()
        for held, outcome in ended:
            held.outcome = outcome
            held.ended = now
            self._finished.append(held)
        if self._bell.is_awaited and self._is_worth_waking():
            self.wake()

    def wake(self) -> None:
        """End the present wait."""
        self._bell.ring()

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

    def _is_worth_waking(self) -> bool:
        return len(self._finished) >= self._wake_at or self.lanes.are_hungry

    # The loop -----------------------------------------------------------------------

    def _run(self) -> None:
        while not self._closing.is_set():
            try:
                self._turn()
                self.served_at = clock.monotonic()
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
        self._bell.close()

    def _turn(self) -> None:
        """Do one round: compare if in doubt, then deliver and claim, or wait."""
        now = self.turned_at = clock.monotonic()
        if self._doubtful or self._lease.audit_due:
            self._audit()
        self._give_back_stale(now)
        self._collect()
        demand = None if self._quiet.is_set() else self.lanes.demand(self._suspects.excess)
        is_urgent = demand is not None and demand.is_urgent
        if is_urgent or self._delivery_due(now) or self._next_suspect():
            self._step(demand)
        else:
            self._wait(now)

    def _wait(self, now: float) -> None:
        timeout = IDLE
        flush_after = self.lanes.threads.pace.flush_after
        undelivered = len(self._results.waiting)
        if undelivered:
            timeout = max(0.0, self._results.oldest + flush_after - now)
        elif self._may_look and self.lanes.end_soon:
            # To be told of the end of such a short job would take longer than the job:
            # we look by ourselves, and only once for a job that turns out to be long.
            timeout = flush_after
            undelivered = 1
            self._may_look = False
        again_in = self._results.again_in(now)
        if again_in is not None:
            timeout = min(timeout, again_in)
        if self._suspects or self.lanes.have_unstarted:
            timeout = min(timeout, max(0.0, self._stale_at - now))
        self._wake_at = self.lanes.wake_at(undelivered)
        names = [] if self._quiet.is_set() else self.lanes.unattended(self._suspects.excess)
        if not names:
            self._bell.sleep(timeout, self._has_news)
            return
        if len(names) == len(self._options.queues.weights):
            self._note_idle()
        self.lanes.may_have(self._bell.wait(names, timeout, self._has_news))

    def _has_news(self) -> bool:
        return bool(self._finished) and self._is_worth_waking()

    def _sleep(self, seconds: float) -> None:
        """Wait for a wake-up of another thread. In an outage results are no reason to hurry."""
        self._bell.sleep(seconds, lambda: bool(self._finished) and not self._away)

    # Deliver and claim ----------------------------------------------------------------

    def _step(self, demand: Demand | None) -> None:
        """Send what is to be delivered, and claim what a lane demands."""
        sent_at = clock.monotonic()
        parcel = self._results.pack(sent_at)
        wanted = 0 if demand is None else min(demand.wanted, MOVE_LIMIT)
        names = [] if demand is None else self.lanes.queues(demand)
        suspect = self._next_suspect() or self._suspects.current
        step = self._store.claims.step(
            self.identity,
            lease=self._lease.seconds,
            batch=next(self._batches),
            wanted=wanted,
            queues=names,
            done=parcel.done,
            moves=parcel.moves,
            suspect=suspect.claim.field if suspect else "",
        )
        self._lease.renewed(sent_at, lapsed=step.lapsed)
        for field in self._results.settle(parcel, step, clock.monotonic()):
            self._held.pop(field, None)
        if parcel.moves:
            count_stops(self._store.tally, parcel, step)
        if suspect is not None and suspect is not self._suspects.current:
            self.lanes.give([self._suspects.begin()])
        self._admit(step.claimed)
        if demand is not None:
            self._learn(step, demand, wanted, names)

    def _learn(self, step: Step, demand: Demand, wanted: int, names: list[str]) -> None:
        """Draw conclusions on where there may be more."""
        for name in step.broken.keys() - self._broken:
            logger.error("queue %s cannot be read, the others go on: %s", name, step.broken[name])
        self._broken = self._broken.difference(names).union(step.broken)
        self._bell.poll(names, (*step.paused, *step.broken))
        was_sure = demand.lane.more and not demand.is_partial
        woken_in_vain = was_sure and not (step.claimed or step.paused or step.broken)
        full = len(step.claimed) >= wanted
        cut = bool(step.claimed) and _weighs_much(step.claimed)
        self.lanes.claimed(demand, may_have_more=full or cut)
        if step.claimed:
            self._misses = 0
        elif woken_in_vain:
            # Somebody else was faster. In a large idle fleet everybody is woken
            # by every push, so those who get nothing stay away a little.
            self._misses = min(self._misses + 1, 7)
            if self._misses > 1 and not self._options.burst:
                self._sleep(random.uniform(0, 0.002 * 2**self._misses))

    def _admit(self, claimed: list[Claim]) -> None:
        """Take new claims in: to their lanes, or aside if they have crashed a worker before."""
        if not claimed:
            return
        self.idle.clear()
        self._may_look = True
        now = clock.monotonic()
        admitted = [Held(claim, now) for claim in claimed]
        for held in admitted:
            self._held[held.claim.field] = held
        # Only now: who quiets us and then finds nothing held must be right.
        if self._quiet.is_set():
            self._give_all_back(admitted, now)
            return
        suspects = [h for h in admitted if CRASHES in h.claim.raw and is_suspect(h.claim.raw)]
        for held in suspects:
            self._suspects.add(held)
        self.lanes.give([h for h in admitted if h not in suspects] if suspects else admitted)

    def _next_suspect(self) -> Held | None:
        """Return the suspect to start next: one at a time, so that it alone can be blamed."""
        return None if self._quiet.is_set() else self._suspects.next

    # Results -----------------------------------------------------------------------------

    def _collect(self) -> None:
        """Move what has finished to the results, and learn how long jobs take."""
        finished = self._finished
        # Others append meanwhile: those come with the next turn.
        ended = [finished.popleft() for _ in range(len(finished))]
        if not ended:
            return
        suspect = self._suspects.current
        if suspect is not None and suspect in ended:
            self._suspects.forget(suspect)
        self._may_look = True
        self._results.waiting += [held for held in ended if held.claim.field in self._held]
        self.lanes.ended(ended)
        self._note_ran(len(ended))

    def _delivery_due(self, now: float) -> bool:
        if self._results.again_in(now) == 0:
            return True
        waiting = self._results.waiting
        if not waiting:
            return False
        pace = self.lanes.threads.pace
        if self._quiet.is_set() or pace.must_flush(len(waiting)):
            return True
        return now - self._results.oldest >= pace.flush_after

    def _give_back_stale(self, now: float) -> None:
        """Return jobs that nobody came to start: another process may have room for them."""
        quiet = self._quiet.is_set()
        if now < self._stale_at and not quiet:
            return
        oldest = now if quiet else now - STALE
        keep: list[Held] = []
        stale: list[Held] = []
        for held in self.lanes.empty():
            (stale if held.since <= oldest else keep).append(held)
        self.lanes.give(keep)
        # Suspects last, so that sound jobs are next in line.
        self._give_all_back([*stale, *self._suspects.take_older(oldest)], now)
        waiting = (*(held.since for held in keep), *self._suspects.since)
        self._stale_at = min(waiting, default=now) + STALE

    def _give_all_back(self, jobs: list[Held], now: float) -> None:
        """Give jobs back, the newest first: each goes before those that are back already."""
        for held in reversed(jobs):
            self._give_back(held, now)

    def _give_back(self, held: Held, now: float) -> None:
        self.lanes.drop(held)
        self._suspects.forget(held)
        held.outcome = Outcome(BACK, lock=lock_in(held.claim.raw))
        held.ended = now
        self._results.add(held)

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
        self._results.keep(self._held.__contains__)

    def _lose(self, held: Held) -> None:
        if held.ended is not None:
            return  # its result is on the way, and will be refused
        held.lost = True
        if held.started is not None:
            logger.warning("The lease of a running job was lost: %s", held.claim.field)
            return
        self._held.pop(held.claim.field, None)
        self.lanes.drop(held)
        self._suspects.forget(held)

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
        # The line may have gone dead since it was used, and there is no time left to find out.
        self._store.close()
        while True:
            try:
                self._results.hurry()
                while self._results.waiting or self._delivery_due(clock.monotonic()):
                    self._step(None)
                if self._doubtful:
                    self._audit()
                    self._give_back_stale(clock.monotonic())
                    self._doubtful = False
                    continue
                left = self._store.claims.leave(self.identity)
                if running:
                    jids = ", ".join(jid_of(held.claim.raw) for held in running[:20])
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


def _weighs_much(claimed: list[Claim]) -> bool:
    """Return whether a batch was probably cut by its bytes and not for want of jobs."""
    return sum(len(claim.raw) for claim in claimed) > 1_000_000
