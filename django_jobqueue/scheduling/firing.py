"""How the job of a timetable gets to its queue: once a slot, or just now."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from zlib import crc32

from django.utils.module_loading import import_string

from django_jobqueue.client.client import push
from django_jobqueue.client.results import EnqueueResult
from django_jobqueue.conf import get_settings
from django_jobqueue.exceptions import UnknownTimetable
from django_jobqueue.job.base import Job
from django_jobqueue.payload import Payload
from django_jobqueue.store.locks import Lock, lock_of
from django_jobqueue.timetable import Timetable
from django_jobqueue.unique import digest

#: Seconds for which Redis remembers that the job of a slot was pushed.
REMEMBERED = 3600.0


def timetables() -> dict[str, Timetable]:
    """Return all that PERIODIC and RECONCILERS name."""
    settings = get_settings()
    return {entry.name: entry for entry in (*settings.periodic, *settings.reconcilers)}


def find_timetable(name: str) -> Timetable:
    """Return the timetable with this name. Raises: UnknownTimetable."""
    try:
        return timetables()[name]
    except KeyError:
        raise UnknownTimetable(name, sorted(timetables())) from None


def job_of(timetable: Timetable) -> type[Job]:
    """
    Return the class that a timetable names; settings are trusted, so it is imported.

    Raises: ImportError, whatever its module raises, TypeError for what is no job.
    """
    found = import_string(timetable.job)
    if not (isinstance(found, type) and issubclass(found, Job)) or found.abstract:
        raise TypeError(f"{timetable.job} is no job class that can run")
    return found


def run_now(timetable: Timetable, delay: float = 0.0) -> str | None:
    """
    Push the job now, or in ``delay`` seconds, whatever the slots say.

    Returns its jid, or None when it was refused or is on its way. Raises: see
    ``job_of`` and ``Job.perform_async``.
    """
    if delay > 0:
        job = job_of(timetable).set(on_commit=False)
        return job.perform_in(delay, *timetable.args)
    return enqueue_now(timetable).jid


def enqueue_now(timetable: Timetable) -> EnqueueResult:
    """Push the job now and return what became of it. Raises: see ``run_now``."""
    return job_of(timetable).set(on_commit=False).enqueue(*timetable.args)


def push_slot(timetable: Timetable, slot: int) -> str | None:
    """
    Push the job of one slot; pushed a second time it is not written again.

    Whoever finds a claimed slot that seems not to be pushed cannot know whether
    its process died before the push or after it. So the jid is made of the slot,
    and the script that writes the job takes a lock in the same step: that of a
    unique job, or one of the slot. A marker beside the push would leave a gap
    before it or after it. A unique job that has run within the few seconds until
    the second push runs twice: unique is not exclusive.

    Returns the jid, or None when it was refused, or another one holds the lock of
    a unique job. Raises: see ``run_now``.
    """
    payload, _ = job_of(timetable).set().maker()(timetable.args, None)
    payload = payload.replace(jid=slot_jid(timetable.name, slot))

    def lock_for(accepted: Payload) -> Lock:
        lock = lock_of(accepted) or Lock(digest(timetable.name, slot), accepted.jid, REMEMBERED)
        # A slot that comes while the job of another one runs is skipped, whatever the
        # class says of duplicates: a run longer than its period would go on for ever.
        return replace(lock, rerun=False)

    (answer,) = push([(payload, None)], on_commit=False, lock_for=lock_for)
    return answer.jid


def slot_jid(name: str, slot: int) -> str:
    """Return the jid of the job of a slot: the same in every process."""
    return hashlib.blake2b(f"{name}\0{slot}".encode(), digest_size=12).hexdigest()


def phase(name: str, width: float) -> float:
    """Return where in ``width`` seconds a timetable has its place when all are due at once."""
    return crc32(name.encode()) % 1000 / 1000 * width
