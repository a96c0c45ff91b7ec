"""A thread beside the event loop for each async job whose code blocks: above all, Django's ORM."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from functools import partial
from typing import Any, ParamSpec, TypeVar

from asgiref.sync import SyncToAsync, ThreadSensitiveContext, sync_to_async

from django_jobqueue import databases

P = ParamSpec("P")
T = TypeVar("T")

_current: ContextVar[SideThread | None] = ContextVar("jobqueue_side_thread", default=None)


class SideThread(Executor):
    """
    Where the blocking code of one async job runs: all of it in one thread, one call at a time.

    A thread is taken only when there is something to run, so a job that never
    blocks costs none. It goes from job to job, and its database connections with it.
    """

    def __init__(self, idle: list[ThreadPoolExecutor]) -> None:
        self._idle = idle
        self._thread: ThreadPoolExecutor | None = None
        #: Not the last call alone: one that waits its turn can be cancelled, while one before
        #: it still blocks.
        self._unfinished: set[Future[Any]] = set()

    @property
    def is_used(self) -> bool:
        """Whether anything has run here."""
        return self._thread is not None

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Run a call after those before it."""
        call = partial(fn, *args, **kwargs)
        if self._thread is None:
            self._thread = self._idle.pop() if self._idle else _new_thread()
            future = self._thread.submit(_prepared, call)
        else:
            future = self._thread.submit(call)
        self._unfinished.add(future)
        future.add_done_callback(self._unfinished.discard)
        return future

    def end(self, who: databases.Who) -> None:
        """Give the thread back, once what ``who`` has left open there is rolled back."""
        if self._thread is None:
            return
        is_free = not self._unfinished
        self._thread.submit(databases.settle if is_free else databases.close, who)
        if is_free:
            self._idle.append(self._thread)
        else:  # a cancelled job still blocks there: nobody else is to wait for that
            self._thread.shutdown(wait=False)


class SideThreads:
    """The side threads of one event loop: as many as jobs that block at the same time."""

    def __init__(self) -> None:
        self._idle: list[ThreadPoolExecutor] = []

    @contextmanager
    def lent(self, who: databases.Who) -> Iterator[None]:
        """
        Let ``sync_to_async`` in this task, and in those it starts, use one side thread.

        As Django does for each request. It changes the context of the task.
        """
        side = SideThread(self._idle)
        context = ThreadSensitiveContext()
        SyncToAsync.thread_sensitive_context.set(context)
        SyncToAsync.context_to_thread_executor[context] = side  # type: ignore[assignment,unused-ignore]
        _current.set(side)
        try:
            yield
        finally:
            # A task that outlives its job is not to meet the next one in its thread.
            del SyncToAsync.context_to_thread_executor[context]
            side.end(who)


def side_thread() -> SideThread | None:
    """Return that of the job that runs here; None where no worker runs it on an event loop."""
    return _current.get()


async def aside(call: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """
    Run a call in the side thread to its end, also when this task is cancelled meanwhile.

    For what must be done after a job, and whose result must not be lost.
    """
    task = asyncio.ensure_future(sync_to_async(call)(*args, **kwargs))
    while not task.done():
        with suppress(asyncio.CancelledError):
            await asyncio.shield(task)
    return task.result()


def _prepared(call: Callable[[], T]) -> T:
    if databases.in_use():
        databases.prepare("a job")
    return call()


def _new_thread() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max_workers=1, thread_name_prefix="jobqueue-side")
