"""How a coroutine is run: within its time, and to its end where no event loop is ours."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Any

from asgiref.sync import async_to_sync, iscoroutinefunction

from django_jobqueue import databases
from django_jobqueue.exceptions import JobTimeout

logger = logging.getLogger("django_jobqueue.job")

#: Seconds after which a job that was cancelled and goes on is told of.
DEAF = 5.0


def is_async(perform: Callable[..., Any]) -> bool:
    """Return whether a ``perform`` is ``async def``."""
    return iscoroutinefunction(perform)


def is_generator(perform: Callable[..., Any]) -> bool:
    """Return whether a ``perform`` has a ``yield``: it would be called and do nothing."""
    return inspect.isgeneratorfunction(perform) or inspect.isasyncgenfunction(perform)


async def within(coroutine: Coroutine[Any, Any, Any], left: float, limit: float, name: str) -> Any:
    """
    Await a coroutine, and cancel it in ``left`` seconds.

    One that does not obey is told of, by its ``name``. Raises: JobTimeout with the ``limit``.
    """
    deaf = asyncio.get_running_loop().call_later(
        max(0.0, left) + DEAF, logger.error,
        "%s was cancelled at its timeout of %g s, and goes on", name, limit,
    )  # fmt: skip
    scope = asyncio.timeout(left)
    try:
        async with scope:
            result = await coroutine
    except TimeoutError as error:
        if scope.expired():
            raise JobTimeout(limit) from error
        raise
    finally:
        deaf.cancel()
    if scope.expired():
        logger.warning("%s was cancelled at its timeout of %g s, and did not mind", name, limit)
    return result


def run_to_end(call: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    """
    Run a coroutine function in this thread, and return its result.

    What it runs by ``sync_to_async`` runs in this thread, and so on its database
    connections. Where an event loop runs here already, as in a test that is async,
    another thread does it all.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        # What it sets of its context is nothing to those who come after it.
        return copy_context().run(_run, call)

    def run_there() -> Any:
        try:
            return _run(call)
        finally:
            databases.close("An async job")

    with ThreadPoolExecutor(max_workers=1) as pool:
        return pool.submit(copy_context().run, run_there).result()


def _run(call: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    return async_to_sync(call)()
