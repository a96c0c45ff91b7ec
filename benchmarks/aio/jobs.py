"""The async job that is raced."""

from __future__ import annotations

import asyncio
import time

from benchmarks.jobs import board
from django_jobqueue import Job

#: Seconds that a job takes.
SLEEP = 0.05


class AsyncSleep(Job):
    """Waits, as for somebody's API."""

    queue = "aio"

    async def perform(self, number: int) -> None:
        """Sleep, and note the time."""
        began = time.monotonic()
        await asyncio.sleep(SLEEP)
        board().ran(number, began)
