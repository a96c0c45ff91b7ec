"""What becomes of an accepted job whose kill switch is on: asked by worker and poller alike."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable

from django_jobqueue.conf import get_settings
from django_jobqueue.exceptions import StoreError, UnknownJob
from django_jobqueue.job.registry import registry
from django_jobqueue.payload import Payload, stamp
from django_jobqueue.store.tally import Tally

logger = logging.getLogger("django_jobqueue.switches")


def policy_of(payload: Payload) -> str:
    """Return ``"hold"``, ``"run"`` or ``"drop"``: the class's own word, else the settings'."""
    try:
        own = registry().get(payload.job_class).when_disabled
    except UnknownJob:
        own = None
    return own or get_settings().kill_switch.queued_jobs


def held(payload: Payload, place: str) -> Payload:
    """Return a job as it is held: since when, and from ``queue``, ``schedule`` or ``retry``."""
    return payload.replace(held_at=stamp(unit=get_settings().timestamps), held_from=place)


def released(payload: Payload) -> Payload:
    """Return a held job as it goes back to its queue."""
    now = stamp(unit=get_settings().timestamps)
    return payload.replace(held_at=None, held_from=None, enqueued_at=now)


def count_stopped(tally: Tally, what: str, job_classes: Iterable[str]) -> None:
    """Count jobs that were held or dropped. For people: where Redis refuses, the work goes on."""
    counts = Counter(job_classes)
    if not counts:
        return
    try:
        tally.add(what, counts)
    except StoreError as error:
        logger.warning("%d %s job(s) could not be counted: %s", counts.total(), what, error)
