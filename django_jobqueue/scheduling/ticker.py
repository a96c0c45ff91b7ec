"""Fire what is due by a timetable: each slot once, whichever processes live or die."""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from django.db import Error as DatabaseFault

from django_jobqueue import clock, databases
from django_jobqueue.exceptions import StoreUnavailable, UnknownTimetable
from django_jobqueue.models import Schedule
from django_jobqueue.scheduling import firing, slots
from django_jobqueue.service import Backoff, Outage, Service
from django_jobqueue.timetable import BACKFILL, SKIP, Timetable

logger = logging.getLogger("django_jobqueue.worker")

#: Seconds between two looks at all rows: for pauses, and for slots claimed and not pushed.
LOOK = 10.0

#: Seconds that whoever claimed a slot has to push it.
PATIENCE = 10.0

#: Seconds after which a slot is missed, for who skips those.
LATE = 60.0

#: Seconds that a last slot may lie ahead before it is taken for a clock gone wrong; or
#: two periods, if that is more.
AHEAD = 3600.0

#: Seconds over which reconcilers that are all triggered at once are spread.
SPREAD = 10.0


@dataclass(slots=True)
class _Watched:
    """What this process remembers of one timetable between two looks at its row."""

    timetable: Timetable
    #: The next slot, for which the database is asked; None for never.
    due: int | None
    #: The slot that was found claimed and not pushed, and from when on we push it (monotonic).
    unpushed: int = 0
    patience: float = 0.0
    #: The slots up to this one are in Redis, though the row may not say so yet.
    pushed: int = 0
    #: The slot of which it was told that it cannot be pushed.
    told: int = 0


class Ticker(Service):
    """
    Push the jobs of PERIODIC and RECONCILERS when they are due.

    Every process has one. A slot is claimed in the database, its job is pushed,
    and that is noted; a slot that was claimed and not pushed for ten seconds is
    pushed by another process. Between slots the database is asked every ten
    seconds, and never where there are no timetables. An entry whose class cannot be
    imported here is left to processes that can: in a rolling deploy old workers meet
    new entries.
    """

    name = "ticker"

    def __init__(
        self,
        periodic: Sequence[Timetable],
        reconcilers: Sequence[Timetable],
        outage: Outage | None = None,
    ) -> None:
        super().__init__(outage)
        self._reconcilers = tuple(entry.name for entry in reconcilers)
        now = clock.now()
        self._watched = {
            entry.name: _Watched(entry, entry.next(now)) for entry in (*periodic, *reconcilers)
        }
        self._next_look = clock.monotonic()
        self._broken: set[str] = set()
        self._triggers: dict[str, float] = {}
        self._trigger_lock = threading.Lock()
        self._backoff = Backoff()
        self._database_is_away = False

    def trigger(self, name: str, delay: float = 0.0) -> None:
        """
        Have the job of a timetable pushed now, or in ``delay`` seconds, whatever its slots say.

        Returns at once: the loop does it, and goes on trying while Redis is away.
        A paused one is pushed too. Raises: UnknownTimetable.
        """
        if name not in self._watched:
            raise UnknownTimetable(name, sorted(self._watched))
        with self._trigger_lock:
            self._triggers[name] = delay
        self.wake()

    def trigger_all(self, reason: str) -> None:
        """Have all reconcilers run within the next seconds, not all in the same one."""
        if self._reconcilers:
            logger.warning("all reconcilers are triggered: %s", reason)
        for name in self._reconcilers:
            # Never later than it would run anyway: until then it is on its way, and unique.
            width = min(SPREAD, self._watched[name].timetable.period)
            self.trigger(name, firing.phase(name, width))

    def tick(self) -> float:
        """Push what was triggered, fire what is due; return the seconds to the next look."""
        if not self._watched:
            return LOOK
        self._push_triggered()
        now, all_of_them = clock.now(), clock.monotonic() >= self._next_look
        due = [w for w in self._watched.values() if w.due is not None and w.due <= now]
        chosen = list(self._watched.values()) if all_of_them else due
        if chosen:
            if not self._ask(chosen):
                return self._backoff.next()
            if all_of_them:
                self._next_look = clock.monotonic() + LOOK * random.uniform(0.9, 1.1)
        return self._wait()

    def _wait(self) -> float:
        now = clock.now()
        slots_ahead = [w.due - now for w in self._watched.values() if w.due is not None]
        return max(0.0, min([self._next_look - clock.monotonic(), *slots_ahead]))

    def _ask(self, chosen: Iterable[_Watched]) -> bool:
        """Fire the slots of these that are due; return whether the database answered."""
        try:
            with databases.fresh("The ticker"):
                found = slots.rows(w.timetable.name for w in chosen)
                for watched in chosen:
                    if self._can_run(watched.timetable):
                        self._serve(watched, found.get(watched.timetable.name))
                    watched.due = watched.timetable.next(clock.now())
        except DatabaseFault as error:
            if not self._database_is_away:
                self._database_is_away = True
                logger.error(
                    "periodic jobs wait for the database (was it migrated?), trying on: %s", error
                )
            return False
        if self._database_is_away:
            self._database_is_away = False
            logger.warning("the database is back, periodic jobs go on")
        self._backoff.reset()
        return True

    def _serve(self, watched: _Watched, row: Schedule | None) -> None:
        """Claim what is due, and push what is claimed and not pushed."""
        timetable, now = watched.timetable, clock.now()
        if row is None:
            row = slots.begin(timetable.name)
        slot = timetable.latest(now)
        if slot is None:
            return
        if row.last_tick > now + max(AHEAD, 2 * timetable.period):
            if not self._take_back(row, slot):
                return
            row.last_tick, row.pushed_tick, watched.pushed = slot, slot - 1, 0
            self._mine(watched, row)
        elif slot > row.last_tick:
            if not slots.claim(row, slot):
                return  # another one's; or it was paused meanwhile, then the next look sees it
            row.last_tick = slot
            self._mine(watched, row)
        if row.pushed_tick < row.last_tick and not row.paused:
            self._push_claimed(watched, row)

    def _mine(self, watched: _Watched, row: Schedule) -> None:
        """Remember that the push is ours: nobody else needs time for it."""
        watched.unpushed, watched.patience = row.last_tick, clock.monotonic()

    def _take_back(self, row: Schedule, slot: int) -> bool:
        if not slots.take_back(row, slot):
            return False
        logger.error(
            "the last slot of %s lay %.0f s ahead: a clock was wrong. It goes on from now",
            row.name, row.last_tick - clock.now(),
        )  # fmt: skip
        return True

    def _push_claimed(self, watched: _Watched, row: Schedule) -> None:
        if watched.unpushed != row.last_tick:
            watched.unpushed, watched.patience = row.last_tick, clock.monotonic() + PATIENCE
        if clock.monotonic() < watched.patience:
            return
        after = max(row.pushed_tick, watched.pushed)
        for slot in wanted(watched.timetable, after, row.last_tick, clock.now()):
            if not self._push(watched, slot):
                return  # the next look tries again
        watched.pushed = row.last_tick
        slots.settle(row.name, row.last_tick)

    def _push(self, watched: _Watched, slot: int) -> bool:
        """Push the job of a slot; return whether that is settled."""
        name = watched.timetable.name
        try:
            # What a client middleware leaves open would take our own writes along.
            with databases.fresh(f"The push of {name}"):
                jid = firing.push_slot(watched.timetable, slot)
        except StoreUnavailable:
            raise
        except Exception:  # Redis is full, a client middleware or the arguments are at fault
            if watched.told != slot:
                watched.told = slot
                logger.exception("%s is due and cannot be pushed; trying on", name)
            return False
        if jid is None:
            logger.info("%s was due and was not pushed: refused, or on its way already", name)
        else:
            logger.info("%s was due and was pushed, jid=%s", name, jid)
        return True

    def _push_triggered(self) -> None:
        while self._triggers:
            with self._trigger_lock:
                name, delay = self._triggers.popitem()
            try:
                self._push_now(self._watched[name].timetable, delay)
            except StoreUnavailable:
                with self._trigger_lock:
                    self._triggers.setdefault(name, delay)
                raise

    def _push_now(self, timetable: Timetable, delay: float) -> None:
        if not self._can_run(timetable):
            return
        try:
            with databases.fresh(f"The push of {timetable.name}"):
                firing.run_now(timetable, delay)
        except StoreUnavailable:
            raise
        except Exception:  # as in ``_push``
            logger.exception("%s was triggered and cannot be pushed", timetable.name)

    def _can_run(self, timetable: Timetable) -> bool:
        if timetable.name in self._broken:
            return False
        try:
            firing.job_of(timetable)
        except Exception as error:  # whatever a module does when it is imported
            self._broken.add(timetable.name)
            logger.error(
                "%s cannot be run here: %s: %s", timetable.name, type(error).__name__, error
            )
            return False
        return True


def wanted(timetable: Timetable, after: int, until: int, now: float) -> list[int]:
    """Return the slots that are run, of those that were claimed: after one, up to another."""
    if until <= after:
        return []
    if timetable.missed == BACKFILL:
        return timetable.slots(after, until, timetable.backfill)
    if timetable.missed == SKIP and now - until > min(LATE, timetable.period):
        return []
    return [until]
