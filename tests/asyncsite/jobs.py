"""Async jobs that tell what happened to them; see ``tests.jobsite.jobs``."""

from __future__ import annotations

import asyncio
import contextlib
import os
from pathlib import Path

from django_jobqueue import Job
from tests.jobsite.jobs import journal


class AsyncJob(Job):
    """In a queue where nothing else is."""

    abstract = True
    queue = "aio"


class AsyncSleepJob(AsyncJob):
    """Take ``seconds``."""

    async def perform(self, ident: str, seconds: float) -> None:
        """Sleep."""
        with journal().running(self.jid, ident):
            await asyncio.sleep(seconds)


class AsyncWaitJob(AsyncJob):
    """Run until the test creates the file ``path``."""

    async def perform(self, ident: str, path: str) -> None:
        """Look for the file."""
        with journal().running(self.jid, ident):
            while not os.path.exists(path):
                await asyncio.sleep(0.01)


class AsyncLastWordJob(AsyncJob):
    """Sleep, and write to the file ``path`` when it is cancelled."""

    async def perform(self, ident: str, path: str) -> None:
        """Sleep."""
        with journal().running(self.jid, ident):
            try:
                await asyncio.sleep(300)
            finally:
                Path(path).write_text("cancelled")


class DeafJob(AsyncJob):
    """Sleep, whatever it is told."""

    async def perform(self, ident: str) -> None:
        """Sleep again and again."""
        with journal().running(self.jid, ident):
            while True:
                with contextlib.suppress(asyncio.CancelledError):
                    await asyncio.sleep(300)
