"""What the fetcher waits for: a push into a queue, or a word of another thread."""

from __future__ import annotations

import contextlib
import logging
import os
import select
from collections.abc import Callable, Sequence

from django_jobqueue import clock
from django_jobqueue.exceptions import StoreFull, StoreRefused
from django_jobqueue.store.store import Store
from django_jobqueue.store.waiter import drain

logger = logging.getLogger("django_jobqueue.worker")

#: Seconds between two looks at a queue that cannot be waited on (paused, broken, Redis full).
POLL = 1.0
POLL_FULL = 0.2


class Bell:
    """
    Ends the waits of one thread; any thread may ring it.

    Who has something to hand over does so first and then looks at ``is_awaited``; who waits
    sets that first and then looks, by ``has_news``, whether there is something. So
    nothing is missed, and a bell that nobody waits for need not be rung.
    """

    def __init__(self, store: Store) -> None:
        self._wake_in, self._wake_out = os.pipe()
        os.set_blocking(self._wake_in, False)
        os.set_blocking(self._wake_out, False)
        self._waiter = store.waiter(self._wake_in)
        self._poll_until: dict[str, float] = {}
        #: Whether somebody waits at this moment.
        self.is_awaited = False

    def ring(self) -> None:
        """End the present wait, or the next one."""
        with contextlib.suppress(BlockingIOError):  # the pipe is full of wake-ups already
            os.write(self._wake_out, b"x")

    def sleep(self, seconds: float, has_news: Callable[[], bool]) -> None:
        """Wait for a ring."""
        self.is_awaited = True
        try:
            if not has_news() and select.select([self._wake_in], [], [], seconds)[0]:
                drain(self._wake_in)
        finally:
            self.is_awaited = False

    def wait(
        self, queues: Sequence[str], seconds: float, has_news: Callable[[], bool]
    ) -> Sequence[str]:
        """
        Wait for a ring or a push; return the queues that may have a job.

        Those that cannot be waited on are among them after a second at most.

        Raises: StoreUnavailable.
        """
        now = clock.monotonic()
        polled = [name for name in queues if self._poll_until.get(name, 0.0) > now]
        waitable = [name for name in queues if name not in polled] if polled else queues
        if polled:
            seconds = min(seconds, POLL)
        self.is_awaited = True
        try:
            if has_news():
                return []
            return [*self._waiter.wait(waitable, seconds), *polled]
        except StoreFull:
            self.sleep(min(seconds, POLL_FULL), has_news)
        except StoreRefused as error:
            logger.error("A queue cannot be waited on, it is polled: %s", error)
            self.sleep(min(seconds, POLL), has_news)
        finally:
            self.is_awaited = False
        return queues

    def poll(self, asked: Sequence[str], silent: Sequence[str]) -> None:
        """Note which of the queues that were asked cannot be waited on for now."""
        until = clock.monotonic() + POLL
        for name in asked:
            self._poll_until.pop(name, None)
        self._poll_until |= dict.fromkeys(silent, until)

    def close(self) -> None:
        """Wait no more: the server forgets that we did."""
        self._waiter.close()
