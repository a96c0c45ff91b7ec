"""Where claimed jobs run: lanes with rooms of their own, so that no kind waits for the other."""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from django_jobqueue.worker.held import Held
from django_jobqueue.worker.options import WorkerOptions
from django_jobqueue.worker.pace import Pace
from django_jobqueue.worker.routing import Routing


def _nobody() -> None:
    """Threads that wait for the inbox need no call."""


class Lane:
    """
    The threads, or the event loop: so many jobs at a time, and the inbox they are taken from.

    ``jobs`` are those that wait here or run. Only the fetcher's thread changes them.
    """

    def __init__(self, capacity: int, *, each: bool = False) -> None:
        self.capacity = capacity
        self.pace = Pace(capacity, each=each)
        self.inbox: queue.SimpleQueue[Held | None] = queue.SimpleQueue()
        self.jobs: set[Held] = set()
        #: Whether the queues that it is served from may have more jobs.
        self.more = True
        #: Called when jobs were put into the inbox, once for those that came together.
        self.call: Callable[[], None] = _nobody

    def give(self, jobs: Sequence[Held]) -> None:
        """Put jobs into the inbox."""
        if jobs:
            self.jobs.update(jobs)
            for held in jobs:
                self.inbox.put(held)
            self.call()

    def empty(self) -> Iterator[Held]:
        """Take out of the inbox what nobody has started."""
        while True:
            try:
                held = self.inbox.get_nowait()
            except queue.Empty:
                return
            if held is not None and not held.lost:
                yield held

    def is_ready(self, excess: int) -> bool:
        """Whether it has room, and nothing for it is known of."""
        return not self.more and self.pace.room(len(self.jobs) + excess) > 0

    @property
    def is_hungry(self) -> bool:
        """Whether there may be jobs for it, and none waits here."""
        return self.more and self.inbox.empty()


@dataclass(slots=True)  # frozen it would take three times as long to make, and each turn has one
class Demand:
    """
    What a step is to claim: at most ``wanted`` jobs for a lane.

    ``is_urgent`` when that is worth a round trip of its own. Without ``shared`` the
    queues that hold jobs of both kinds are left out; ``is_partial`` when that is for
    this one time.
    """

    lane: Lane
    wanted: int
    is_urgent: bool
    shared: bool = True
    is_partial: bool = False


class Lanes:
    """
    The lanes of a process, and how they share the queues. For the fetcher's thread.

    A queue that has jobs for one lane is claimed from when that lane has room. One
    that has both kinds is claimed from only as far as both have room: nobody can tell
    what comes next there. So a full lane never makes us claim what we must give back.
    """

    def __init__(self, options: WorkerOptions, routing: Routing | None = None) -> None:
        self._order = options.queues
        self._routing = routing
        self.threads = Lane(options.concurrency, each=options.ack_each)
        self.loop: Lane | None = None
        self.all: tuple[Lane, ...] = (self.threads,)
        if routing is not None:
            self.loop = Lane(options.async_concurrency, each=options.ack_each)
            self.all = (self.threads, self.loop)
        self._in_turn: tuple[Lane, ...] = self.all
        self._shares_next = True

    # Jobs ---------------------------------------------------------------------------

    def give(self, jobs: Sequence[Held]) -> None:
        """Give each job to the lane that it belongs to."""
        if self.loop is not None and self._routing is not None:
            is_async = self._routing.is_async
            chosen = [(held, is_async(held.claim)) for held in jobs]
            self.loop.give([held for held, is_for_loop in chosen if is_for_loop])
            jobs = [held for held, is_for_loop in chosen if not is_for_loop]
        self.threads.give(jobs)

    def ended(self, jobs: Sequence[Held]) -> None:
        """Note that jobs have ended, and learn how long they took."""
        for lane in self.all:
            ours = jobs if self.loop is None else [held for held in jobs if held in lane.jobs]
            lane.jobs.difference_update(ours)
            lane.pace.took([(held.ended or 0.0) - (held.started or 0.0) for held in ours])

    def drop(self, held: Held) -> None:
        """Note that a job is ours no more, or will not be run."""
        for lane in self.all:
            lane.jobs.discard(held)

    def empty(self) -> list[Held]:
        """Take out of all inboxes what nobody has started."""
        return [held for lane in self.all for held in lane.empty()]

    @property
    def have_unstarted(self) -> bool:
        """Whether a job waits in an inbox."""
        loop = self.loop
        return not self.threads.inbox.empty() or (loop is not None and not loop.inbox.empty())

    @property
    def are_hungry(self) -> bool:
        """Whether a lane has nothing to do although there may be jobs for it."""
        return self.threads.is_hungry or (self.loop is not None and self.loop.is_hungry)

    @property
    def end_soon(self) -> bool:
        """Whether there are jobs, and all are expected to end within some ms."""
        busy = [lane for lane in self.all if lane.jobs]
        return bool(busy) and all(lane.pace.ends_soon for lane in busy)

    def wake_at(self, undelivered: int) -> int:
        """Return how many newly ended jobs are worth ending the fetcher's wait for."""
        least = self.threads.pace.wake_at(undelivered)
        return least if self.loop is None else min(least, self.loop.pace.wake_at(undelivered))

    # Queues -------------------------------------------------------------------------

    def demand(self, excess: int) -> Demand | None:
        """
        Return what to claim with the next step; None where nothing has room.

        ``excess`` jobs are held beside those in the lanes.
        """
        if self.loop is None:
            return self._demand(self.threads, excess)
        found = None
        for lane in self._in_turn:
            demand = self._demand(lane, excess)
            if demand is not None and demand.is_urgent:
                return demand
            found = found or demand
        return found

    def queues(self, demand: Demand) -> list[str]:
        """Return the queues to claim from, in the order of this one step."""
        drawn = self._order.draw()
        if self._routing is None:
            return drawn
        kind = demand.lane is self.loop
        return [
            name
            for name in drawn
            if kind in (kinds := self._routing.kinds_in(name)) and (demand.shared or len(kinds) < 2)
        ]

    def claimed(self, demand: Demand, *, may_have_more: bool) -> None:
        """Note how a step that claimed has ended, and whether its queues may have more."""
        demand.lane.more = may_have_more or demand.is_partial
        if self.loop is not None:
            self._shares_next = demand.is_partial
            others = (lane for lane in self.all if lane is not demand.lane)
            self._in_turn = (*others, demand.lane)

    def unattended(self, excess: int) -> list[str]:
        """Return the queues to be waited on: there is room for their jobs, and none was seen."""
        if self.loop is None or self._routing is None:
            return self._order.names if self.threads.is_ready(excess) else []
        ready = {False: self.threads.is_ready(excess), True: self.loop.is_ready(excess)}
        kinds_in = self._routing.kinds_in
        return [n for n in self._order.names if all(ready[kind] for kind in kinds_in(n))]

    def may_have(self, names: Iterable[str]) -> None:
        """Note that there may be jobs in these queues."""
        for name in names:
            # One lane's look is enough where a queue is served from both.
            if self.loop is None or self._routing is None or False in self._routing.kinds_in(name):
                self.threads.more = True
            else:
                self.loop.more = True

    def _demand(self, lane: Lane, excess: int) -> Demand | None:
        active = len(lane.jobs) + excess
        room = lane.pace.room(active)
        if room <= 0:
            return None
        is_urgent = lane.more and lane.pace.should_claim(room, active < lane.capacity)
        if self._routing is None:
            return Demand(lane, room, is_urgent)
        kind = lane is self.loop
        kinds = [k for name in self._order.names if kind in (k := self._routing.kinds_in(name))]
        has_own, has_shared = any(len(k) == 1 for k in kinds), any(len(k) > 1 for k in kinds)
        rooms = [each.pace.room(len(each.jobs) + excess) for each in self.all]
        for_both = min(rooms) if has_shared else 0
        # A few jobs for both at a time would be a slow way to fill one.
        if for_both > 0 and (for_both == room or self._shares_next or not has_own):
            return Demand(lane, for_both, is_urgent)
        if has_own:
            return Demand(lane, room, is_urgent, shared=False, is_partial=for_both > 0)
        return None
