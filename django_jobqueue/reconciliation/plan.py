"""What one reconciler has to do, with every duration in seconds: what its run works from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from django.db.models import QuerySet

from django_jobqueue.job.base import Job


@dataclass(frozen=True, slots=True)
class Plan:
    """
    A reconciler's options, complete and in seconds; see ``Reconciler`` for what they mean.

    ``name`` is its wire name and ``queue`` where its jobs go. ``late`` is the
    age of the oldest job there above which nothing is added.
    """

    name: str
    job: type[Job]
    queue: str
    queryset: Callable[[], QuerySet[Any]]
    args_for: Callable[[Any], Sequence[Any]]
    late: float
    fields: tuple[str, ...] = ()
    batch_size: int = 1000
    jitter: float = 0.0
    grace: float = 0.0
    age_field: str | None = None
    heal_within: float | None = None
    max_per_run: int | None = None
    max_errors: int | None = None
    using: str | None = None
