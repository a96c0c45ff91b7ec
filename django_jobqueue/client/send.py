"""Hand accepted jobs to the outlet, and tell who listens."""

from __future__ import annotations

from collections.abc import Sequence

from django_jobqueue.client.outlet import Entry, outlet
from django_jobqueue.signals import job_enqueued, tell


def send(entries: Sequence[Entry]) -> None:
    """Push entries through the outlet. Raises what the outlet raises."""
    if not entries:
        return
    outlet().push(entries)
    if job_enqueued.receivers:
        for entry in entries:
            tell(job_enqueued, None, payload=entry.payload, at=entry.at)
