"""
Jobs with encrypted arguments, which are jobs only where they are looked at.

A worker without keys does not start where there is one, and the tests of all rooms share a process.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

from django_jobqueue import Job
from django_jobqueue.job.registry import registry

J = TypeVar("J", bound=Job)

_classes: list[type[Job]] = []


def aside(cls: type[J]) -> type[J]:
    """Keep a job class out of the registry, but for the time of ``known``."""
    cls.abstract = True
    _classes.append(cls)
    return cls


@contextmanager
def known() -> Iterator[None]:
    """Let the registry have them; keep those out of it afterwards that were made meanwhile."""
    _turn(abstract=False)
    try:
        yield
    finally:
        made = [cls for cls in registry().classes() if cls.encrypt]
        _classes.extend(cls for cls in made if cls not in _classes)
        _turn(abstract=True)


def _turn(*, abstract: bool) -> None:
    for cls in _classes:
        cls.abstract = abstract
    Job.definitions += 1  # so that the registry looks again
