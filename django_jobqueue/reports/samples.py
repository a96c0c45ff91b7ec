"""Samples that a page can afford: of huge jobs fewer, for all of each is read."""

from __future__ import annotations

from typing import TypeVar

from django_jobqueue.api.arguments import page_count
from django_jobqueue.api.entries import Entry
from django_jobqueue.api.jobs import Jobs

E = TypeVar("E", bound=Entry)

#: Bytes that a sample has, about, and jobs that tell how large the others are.
BYTES, FIRST = 5_000_000, 10


def sample(jobs: Jobs[E], count: int) -> list[E]:
    """
    Return up to ``count`` jobs from evenly spaced places, as ``Jobs.sample``; all where few are.

    Of jobs of a megabyte only some: nobody's arguments make a page read for seconds.

    Raises: InvalidQuery, StoreError.
    """
    few = jobs.sample(min(FIRST, page_count(count)))
    if len(few) < FIRST:
        return few
    size = sum(len(entry.raw) for entry in few) // len(few)
    affordable = min(count, BYTES // max(size, 1))
    return few if affordable <= FIRST else jobs.sample(affordable)
