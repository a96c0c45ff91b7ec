"""Jobs for the soak: one of each kind, and one that looks. Workers need this package as an app."""

from __future__ import annotations

import asyncio
import json
import os
import time
from datetime import timedelta

from django_jobqueue import Job
from tests.chaos import vitals
from tests.jobsite.jobs import journal


class SteadyJob(Job):
    """Take ``seconds`` and succeed: also those that were scheduled."""

    queue = "soak"

    def perform(self, ident: str, seconds: float) -> None:
        with journal().running(self.jid, ident):
            time.sleep(seconds)


class FlakyJob(Job):
    """Fail at the first attempt, and succeed at the second, a second later."""

    queue = "soak"

    def perform(self, ident: str) -> None:
        if self.attempt == 1:
            raise ValueError("this job fails once by design")
        with journal().running(self.jid, ident):
            time.sleep(0.05)

    def retry_in(self, count: int, error: BaseException) -> float:
        return 1.0


class SingleJob(Job):
    """One at a time for each of a few idents: a second one is refused while it is on its way."""

    queue = "soak"
    unique_for = timedelta(minutes=2)

    def perform(self, ident: str) -> None:
        with journal().running(self.jid, ident):
            time.sleep(0.2)


class DriftingJob(Job):
    """Wait on the event loop."""

    queue = "soak"

    async def perform(self, ident: str) -> None:
        with journal().running(self.jid, ident):
            await asyncio.sleep(0.3)


class MortalJob(Job):
    """Come to its end and fail then, with no retry: it goes to the dead set."""

    queue = "soak"
    retry = 0

    def perform(self, ident: str) -> None:
        with journal().running(self.jid, ident):
            time.sleep(0.02)
        raise ValueError("this job dies by design")


class LookJob(Job):
    """Write a line that tells what this process has in use to the file at ``path``."""

    queue = "soak"
    retry = False

    def perform(self, path: str) -> None:
        line = json.dumps([os.getpid(), vitals.in_use()]) + "\n"
        with open(path, "a") as file:
            file.write(line)
