"""Async jobs whose acts the tests write."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from datetime import timedelta
from typing import Any

from django_jobqueue import Job, Payload

Act = Callable[[Job], Coroutine[Any, Any, Any]]

#: What jobs do, by the name in their argument; and what they and their surroundings wrote.
ACTS: dict[str, Act] = {}
SEEN: list[Any] = []


class LoopJob(Job):
    """Does what the test has put into ``ACTS``."""

    async def perform(self, act: str = "nothing") -> Any:
        """Act after others had a turn."""
        await asyncio.sleep(0)
        return await ACTS[act](self)

    def on_exhausted(self, error: BaseException) -> None:
        """Write it down, and do what the test wants."""
        SEEN.append(("exhausted", type(error)))
        HOOKS.get("on_exhausted", lambda: None)()


class ShortJob(LoopJob):
    """May not take long."""

    timeout = timedelta(milliseconds=20)


class ThreadJob(Job):
    """Is no job for an event loop."""

    def perform(self) -> None:
        """Write whether it runs on one."""
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            SEEN.append("in a thread")


#: What hooks do.
HOOKS: dict[str, Callable[[], Any]] = {}


def of(cls: type[Job], *args: Any, **fields: Any) -> Payload:
    """Return a payload of a class of these."""
    name = f"{cls.__module__}.{cls.__qualname__}"
    return Payload({"class": name, "args": list(args), "jid": "b" * 24, "queue": "low", **fields})


def clear() -> None:
    """Forget everything."""
    for each in (ACTS, HOOKS, SEEN):
        each.clear()
    ACTS["nothing"] = _nothing
    ACTS["forever"] = _forever


async def _nothing(job: Job) -> None:
    """Do nothing."""


async def _forever(job: Job) -> None:
    """Never end."""
    SEEN.append("began")
    await asyncio.Event().wait()
