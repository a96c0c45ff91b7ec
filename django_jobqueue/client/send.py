"""Hand accepted jobs to the outlet, and tell who listens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from django_jobqueue.client.outlet import Entry, outlet
from django_jobqueue.signals import job_enqueued, tell


def send(entries: Sequence[Entry], *, healing: bool = False) -> Mapping[int, str]:
    """Push entries through the outlet; returns and raises what the outlet does."""
    if not entries:
        return {}
    left_out = outlet().push(entries, healing=healing)
    if job_enqueued.receivers:
        for index, entry in enumerate(entries):
            if index not in left_out:
                tell(job_enqueued, None, payload=entry.payload, at=entry.at)
    return left_out
