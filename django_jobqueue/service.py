"""A named loop in a thread: every background duty is one, so all start and stop alike."""

from __future__ import annotations

import logging
import random
import threading

from django_jobqueue import clock
from django_jobqueue.exceptions import StoreUnavailable

logger = logging.getLogger("django_jobqueue.worker")

#: Seconds: the bounds of the wait between two tries while Redis is away.
RECONNECT_MIN = 0.05
RECONNECT_MAX = 5.0


class Outage:
    """
    Remember that Redis is away, and say so once when it goes and once when it is back.

    One is shared by all loops of a process, so that five loops do not tell the
    same news five times. It is back when every loop that was refused has been
    served again: a server that may not write still serves those who read.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._since: float | None = None
        self._refused: set[str] = set()

    @property
    def since(self) -> float | None:
        """When it began, on the monotonic clock; None while Redis serves."""
        return self._since

    def began(self, error: Exception, who: str = "") -> None:
        """Note a failed call of the loop with this name."""
        with self._lock:
            self._refused.add(who)
            if self._since is not None:
                return
            self._since = clock.monotonic()
        logger.error("Redis is away: %s. Trying until it is back.", error)

    def ended(self, who: str = "") -> None:
        """Note a call of a loop that was served. Cheap when there is no outage."""
        if self.since is None:
            return
        with self._lock:
            self._refused.discard(who)
            if self._since is None or self._refused:
                return
            lasted = clock.monotonic() - self._since
            self._since = None
        logger.warning("Redis back after %.1f s", lasted)


class Backoff:
    """Exponential waits with full jitter, 50 ms to 5 s: a fleet does not come back in step."""

    def __init__(self) -> None:
        self._failures = 0

    def next(self) -> float:
        """Return the seconds to wait after one more failure."""
        ceiling = min(RECONNECT_MAX, RECONNECT_MIN * 2**self._failures)
        self._failures = min(self._failures + 1, 10)
        return random.uniform(RECONNECT_MIN, max(RECONNECT_MIN, ceiling))

    def reset(self) -> None:
        """Forget the failures."""
        self._failures = 0


class Service:
    """
    A loop with a name: ``tick`` is called until ``stop``, and its result is the wait in seconds.

    A tick that fails never ends the loop: an outage of Redis is told through
    the shared ``Outage``, anything else is logged with its traceback, and the
    loop backs off.
    """

    name = "service"

    def __init__(self, outage: Outage | None = None) -> None:
        self._outage = outage if outage is not None else Outage()
        self._stopping = threading.Event()
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None
        #: When the present turn began, in monotonic seconds: a loop that hangs shows here.
        self.turned_at = clock.monotonic()

    def tick(self) -> float:
        """Do the duty once and return the seconds until the next time."""
        raise NotImplementedError

    def start(self) -> None:
        """Begin the loop in a daemon thread. A thread that cannot start raises RuntimeError."""
        self._thread = threading.Thread(target=self._run, name=f"jobqueue-{self.name}", daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """Cut the present wait short."""
        self._wake.set()

    def stop(self) -> None:
        """Ask the loop to end after the present tick. Returns at once; see ``join``."""
        self._stopping.set()
        self._wake.set()

    def join(self, timeout: float) -> bool:
        """Wait for the loop's end, at most ``timeout`` seconds; return whether it ended."""
        if self._thread is None:
            return True
        self._thread.join(timeout)
        return not self._thread.is_alive()

    @property
    def stopping(self) -> bool:
        """Whether ``stop`` was called."""
        return self._stopping.is_set()

    def _run(self) -> None:
        backoff = Backoff()
        while not self.stopping:
            self.turned_at = clock.monotonic()
            try:
                wait = self.tick()
                self._outage.ended(self.name)
                backoff.reset()
            except StoreUnavailable as error:
                self._outage.began(error, self.name)
                wait = backoff.next()
            except BaseException:  # a loop ends by ``stop`` and nothing else
                logger.exception("The %s failed; it goes on", self.name)
                wait = max(1.0, backoff.next())
            self._wake.wait(wait)
            self._wake.clear()
