"""Server middleware that tests name in settings, and what they saw."""

from __future__ import annotations

from typing import Any

from django_jobqueue import Job
from django_jobqueue.worker.middleware import Perform

#: What middleware and jobs wrote, in order. Cleared by the fixture ``seen``.
SEEN: list[Any] = []


class _Layer:
    def __init__(self, perform: Perform) -> None:
        self._perform = perform


class First(_Layer):
    """Writes on the way in and on the way out."""

    def __call__(self, job: Job) -> Any:
        SEEN.append(("first in", job.jid))
        try:
            return self._perform(job)
        finally:
            SEEN.append(("first out", job.jid))


class Second(_Layer):
    """Writes on the way in, and doubles the result."""

    def __call__(self, job: Job) -> Any:
        SEEN.append(("second in", job.jid))
        return self._perform(job) * 2


class RaiseBefore(_Layer):
    """Fails before the job."""

    def __call__(self, job: Job) -> Any:
        raise RuntimeError("before")


class RaiseAfter(_Layer):
    """Fails after the job."""

    def __call__(self, job: Job) -> Any:
        self._perform(job)
        raise RuntimeError("after")


class Swallow(_Layer):
    """Makes nothing of a failure."""

    def __call__(self, job: Job) -> Any:
        try:
            return self._perform(job)
        except BaseException:
            return "swallowed"


class Forget(_Layer):
    """Does not call on."""

    def __call__(self, job: Job) -> Any:
        return "not called"


class Leave(_Layer):
    """Ends the interpreter, if it is let."""

    def __call__(self, job: Job) -> Any:
        raise SystemExit(1)


def path_of(*layers: type) -> list[str]:
    """Return the dotted paths of middleware, as settings name them."""
    return [f"{layer.__module__}.{layer.__qualname__}" for layer in layers]
