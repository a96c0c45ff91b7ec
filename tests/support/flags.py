"""Kill switches in the hands of a test: rows that are set, and the question that is asked."""

from __future__ import annotations

from typing import Any

from waffle.models import Flag

from django_jobqueue import Job
from django_jobqueue.job.declaration import wire_name
from django_jobqueue.payload import Payload, new_jid
from django_jobqueue.switches.switches import switches


def set_flag(name: str, everyone: bool | None, percent: float | None = None) -> Flag:
    """Save a flag as the admin does: the row is read, changed and saved."""
    row: Flag = Flag.objects.get_or_create(name=name, defaults={"everyone": False})[0]
    row.everyone, row.percent = everyone, percent
    row.save()
    return row


def payload_of(job: type[Job], jid: str | None = None, **fields: Any) -> Payload:
    """Return a job that is about to be pushed."""
    return Payload({"class": wire_name(job), "args": [], "jid": jid or new_jid(), **fields})


def is_refused(job: type[Job]) -> bool:
    """Ask this process's switches about a job of a class."""
    return switches().refuses(payload_of(job))
