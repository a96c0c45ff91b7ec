"""Let held jobs go again when their kill switch is off: gently, and stopped at any moment."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Sequence

from django_jobqueue import clock
from django_jobqueue.conf import get_settings
from django_jobqueue.exceptions import InvalidPayload
from django_jobqueue.job.disabled import released
from django_jobqueue.payload import Payload, printable
from django_jobqueue.service import Outage, Service
from django_jobqueue.store.locks import lock_of
from django_jobqueue.store.sets import PUSH, Promotion
from django_jobqueue.store.store import Store
from django_jobqueue.switches import naming
from django_jobqueue.switches.switches import switches

logger = logging.getLogger("django_jobqueue.switches")

#: Seconds between two looks: while nothing is to be released, and while jobs are.
LOOK = 1.0
SLICE = 0.05

#: Jobs of one slice, and slices of one round.
PAGE = 100
SLICES = 10

#: Seconds until the release runs at full speed.
RAMP = 10.0

#: The release waits when more than this part of the attempts of the last seconds failed, if
#: there were enough of them to tell; and for how long (s).
FAILING = 0.5
ATTEMPTS = 20
WINDOW = 10.0
REST = 30.0

#: Held jobs of one class beyond which somebody should be told.
MANY = 1_000_000


class Releaser(Service):
    """
    Move held jobs of classes whose kill switch is off back to their queues.

    Every process has one; the rate (``KILL_SWITCH["RELEASE_RATE"]``) holds for all
    together. Classes that are not known here are left to processes that know them:
    nobody else can tell whether their switch is on. The release waits while the
    queue is behind, or while much fails. The switches are read anew before each
    slice, so that a switch that is thrown again stops it there.
    """

    name = "releaser"

    def __init__(self, store: Store, outage: Outage | None = None) -> None:
        super().__init__(outage)
        self._store = store
        self._failures = FailureRate(store)
        self._rest_until = 0.0
        self._told: set[str] = set()
        self._seen: set[str] = set()

    def tick(self) -> float:
        """Release a slice of each class that may go; return the seconds to the next look."""
        classes = self._store.held.classes()
        for name in self._seen - classes.keys():
            self._store.held.forget_empty(name)
        self._seen = set(classes)
        if not classes:
            return LOOK
        self._tell_of_many(classes)
        self._failures.look()
        if clock.monotonic() < self._rest_until:
            return LOOK
        if self._failures.is_high:
            logger.warning("many jobs fail: the release of held jobs waits for %.0f s", REST)
            self._rest_until = clock.monotonic() + REST
            return LOOK
        known = [name for name in classes if naming.declaration(name) is not None]
        going = [name for name in known if self._release(name)]
        return SLICE if going else LOOK

    def _release(self, job_class: str) -> bool:
        """Release some jobs of a class; return whether more may follow at once."""
        policy = get_settings().kill_switch
        for _ in range(SLICES):
            switches().refresh(force=True)
            if switches().is_on(job_class):
                return False
            going = self._choose(job_class)
            if not going:
                return False
            if self._is_behind(going, policy.release_max_latency):
                return False
            allowed = self._store.held.allow(
                job_class, rate=policy.release_rate, ramp=RAMP, wanted=len(going)
            )
            if allowed:
                self._store.sets.release(job_class, going[:allowed])
            if allowed < PAGE:
                return True
        return True

    def _choose(self, job_class: str) -> list[Promotion]:
        """Return the next jobs that no switch stops, a page at most."""
        start = 0
        while entries := self._store.held.page(job_class, start, PAGE):
            going = _free_to_go(entries)
            if going:
                return going
            start += len(entries)  # a switch that is on in part: the next ones may go
        return []

    def _is_behind(self, going: list[Promotion], limit: float) -> bool:
        queues = {promotion.queue for promotion in going}
        return any(self._store.queues.latency(queue) > limit for queue in queues)

    def _tell_of_many(self, classes: dict[str, int]) -> None:
        for name, count in classes.items():
            if count > MANY and name not in self._told:
                self._told.add(name)
                logger.warning("%d jobs of %s are held", count, printable(name))


def release_now(store: Store, job_class: str, limit: int | None = None) -> int:
    """
    Move held jobs of a class back to their queues at once; return how many.

    At most ``limit`` of them. Jobs that a switch stops stay, and so do those that
    Redis refuses to move.
    """
    released, start = 0, 0
    while entries := store.held.page(job_class, start, PAGE):
        going = _free_to_go(entries)
        if limit is not None:
            going = going[: limit - released]
        if not going and limit is not None and released >= limit:
            break
        moved = store.sets.release(job_class, going)[0] if going else 0
        released += moved
        start += len(entries) - moved
    return released


class FailureRate:
    """The part of all attempts of the last seconds that failed."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._looks: deque[tuple[float, int, int]] = deque()

    def look(self) -> None:
        """Read the counters, at most once a second."""
        now = clock.monotonic()
        if self._looks and now - self._looks[-1][0] < 1.0:
            return
        counters = self._store.stats.counters()
        self._looks.append((now, counters["processed"], counters["failed"]))
        while now - self._looks[0][0] > WINDOW:
            self._looks.popleft()

    @property
    def is_high(self) -> bool:
        """Whether too much fails."""
        (_, processed, failed), (_, more, more_failed) = self._looks[0], self._looks[-1]
        attempts = more - processed
        return attempts >= ATTEMPTS and more_failed - failed > FAILING * attempts


def _free_to_go(entries: Sequence[tuple[bytes, float]]) -> list[Promotion]:
    return [promotion for raw, _ in entries if (promotion := release_of(raw)) is not None]


def release_of(raw: bytes) -> Promotion | None:
    """Return how a held job goes back to its queue; None while a switch stops it."""
    try:
        payload = Payload.decode(raw)
    except InvalidPayload:
        # A worker will bury it, with its bytes.
        return Promotion(PUSH, raw, raw, queue="default")
    if switches().refuses(payload):
        return None
    return Promotion(
        PUSH, raw, released(payload).encode(), queue=payload.queue, lock=lock_of(payload)
    )
