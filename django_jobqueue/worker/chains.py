"""The server middleware around a job: one chain for jobs in threads, one for those on a loop."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any

from asgiref.sync import async_to_sync, iscoroutinefunction, sync_to_async
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

from django_jobqueue.chain import nest
from django_jobqueue.job.base import Job
from django_jobqueue.worker.middleware import AsyncPerform, Perform

#: A middleware class, or a function that returns the call around the next one.
Layer = Callable[[Any], Any]


def load(paths: Sequence[str]) -> list[Layer]:
    """
    Return the middleware of these dotted paths.

    Raises: ImproperlyConfigured for one that is async only.
    """
    layers: list[Layer] = [import_string(path) for path in paths]
    for layer in layers:
        only_async = iscoroutinefunction(getattr(layer, "__call__", None))  # noqa: B004, of its instances
        if not getattr(layer, "sync_capable", True) or (isinstance(layer, type) and only_async):
            raise ImproperlyConfigured(
                f"The server middleware {_name(layer)} is async only, but most jobs run in "
                "threads: let it return a coroutine only where the next call is async, and set "
                "async_capable = True."
            )
    return layers


def sync_chain(layers: Sequence[Layer], innermost: Perform) -> Perform:
    """Return one call that takes a job through all layers to ``innermost``."""
    return nest(layers, innermost)


def async_chain(layers: Sequence[Layer], innermost: AsyncPerform) -> AsyncPerform:
    """
    Return one coroutine function that takes a job through all layers to ``innermost``.

    Django's convention: a layer with ``async_capable = True`` gets a next call that is async,
    and is to return an awaitable then. Others run in the side thread of the job, and
    what they call runs on the loop meanwhile.
    """
    call = innermost
    for is_async, group in groupby(reversed(layers), _is_async_capable):
        together = [*group][::-1]
        call = _marked(nest(together, call)) if is_async else _in_thread(together, call)
    return call


def blocking(layers: Sequence[Layer]) -> list[str]:
    """Return the names of those layers that hold a thread for as long as an async job runs."""
    return [_name(layer) for layer in layers if not _is_async_capable(layer)]


def _is_async_capable(layer: Layer) -> bool:
    return bool(getattr(layer, "async_capable", False))


def _in_thread(layers: Sequence[Layer], call: AsyncPerform) -> AsyncPerform:
    # Made for each job: older versions of asgiref look for the loop when they are made.
    inner: Perform = nest(layers, lambda job: async_to_sync(call)(job))
    return sync_to_async(lambda job: inner(job))


def _marked(call: Callable[[Job], Any]) -> AsyncPerform:
    """Return a call that all can see to be async; a class must say it of its instances itself."""
    if iscoroutinefunction(call):
        return call

    async def marked(job: Job) -> Any:
        return await call(job)

    return marked


def _name(layer: Layer) -> str:
    return f"{layer.__module__}.{getattr(layer, '__qualname__', type(layer).__qualname__)}"
