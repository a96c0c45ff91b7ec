"""How long it takes until what a killed process held is in the queue again."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import redis

from tests.acceptance.site import Site
from tests.chaos.kills import Kill, Killer

#: Seconds between two looks at the claims of the killed.
LOOK = 0.01


@dataclass(frozen=True, slots=True)
class Spread:
    """Recovery times in seconds, and of how many processes."""

    count: int
    p50: float
    p95: float
    most: float

    @classmethod
    def of(cls, kills: Sequence[Kill]) -> Spread | None:
        """Return the spread over these kills; None when none of them has recovered."""
        times = sorted(kill.recovered - kill.at for kill in kills if kill.recovered is not None)
        if not times:
            return None
        p95 = times[min(len(times) - 1, int(len(times) * 0.95))]
        return cls(len(times), times[len(times) // 2], p95, times[-1])

    def __str__(self) -> str:
        return (
            f"p50 {self.p50:.2f} s, p95 {self.p95:.2f} s, max {self.most:.2f} s "
            f"({self.count} processes)"
        )


@contextmanager
def watched(site: Site, killer: Killer) -> Iterator[None]:
    """Note when the claims of each killed process are gone, for as long as the block runs."""
    over = threading.Event()

    def watch() -> None:
        with site.server.client() as client:
            while not over.wait(LOOK):
                for kill in killer.outstanding():
                    try:
                        is_gone = not client.exists(site.keys.claims(kill.identity))
                    except redis.ConnectionError:
                        continue  # Redis is being hurt as well: the next look will tell
                    if is_gone:
                        kill.recovered = time.monotonic()

    thread = threading.Thread(target=watch, name="recovery-watch", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
