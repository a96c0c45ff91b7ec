"""What a test expects in a box, and what its failure tells of what is there instead."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from django.utils import timezone

from django_jobqueue import clock
from django_jobqueue.client.commit import waiting
from django_jobqueue.client.outlet import Entry
from django_jobqueue.encryption import clear_args
from django_jobqueue.job.base import Job
from django_jobqueue.job.declaration import wire_name
from django_jobqueue.job.times import Delay, When, seconds
from django_jobqueue.switches.switches import switches

#: Jobs that a failure names, and characters of one's arguments.
_SHOWN = 20
_LONGEST = 200


@dataclass(frozen=True, slots=True)
class Wanted:
    """A job that a test expects. What is None may be anything; see ``assert_enqueued``."""

    job: type[Job]
    args: Sequence[Any] | None
    queue: str | None
    at: When | timedelta | None
    within: Delay

    def __post_init__(self) -> None:
        if self.args is not None and not isinstance(self.args, (list, tuple)):
            raise TypeError(f"args is {self.args!r}: give all arguments of the job as a list")

    def is_met_by(self, entry: Entry) -> bool:
        """Return whether this is such a job."""
        payload = entry.payload
        return (
            payload.job_class == wire_name(self.job)
            and (self.args is None or list(self.args) == clear_args(payload))
            and (self.queue is None or self.queue == payload.queue)
            and (self.at is None or self._is_its_time(self.at, entry))
        )

    def _is_its_time(self, at: When | timedelta, entry: Entry) -> bool:
        # Measured from the push, however long ago that was.
        pushed = _pushed(entry)
        expected = pushed + at.total_seconds() if isinstance(at, timedelta) else _epoch(at)
        found = pushed if entry.at is None else entry.at
        return abs(found - max(expected, pushed)) <= seconds(self.within, "within")

    def __str__(self) -> str:
        parts = [f"{wire_name(self.job)}{'' if self.args is None else _called(self.args)}"]
        if self.queue is not None:
            parts.append(f"in the queue {self.queue!r}")
        if isinstance(self.at, timedelta):
            parts.append(f"to run {_after(self.at.total_seconds())}")
        elif self.at is not None:
            parts.append(f"to run at {_when(_epoch(self.at))}")
        return " ".join(parts)


def told(
    entries: Sequence[Entry],
    *,
    job: type[Job] | None = None,
    duplicates: Sequence[Entry] = (),
) -> str:
    """Return what a failure says of a box: what is in it, and what is not and why."""
    lines = []
    if entries:
        lines += [f"In the box ({len(entries)}):", *_listed(entries, job)]
    else:
        lines.append("The box is empty.")
    if duplicates:
        lines += ["Left out as duplicates of unique jobs:", *_listed(duplicates, job)]
    if job is not None and not switches().state_of(wire_name(job)).is_off:
        lines.append(f"The kill switch of {job.__qualname__} is on, which refuses it.")
    for alias, held in waiting().items():
        lines += [
            f"Waiting for the commit of a transaction on the database {alias!r}:",
            *_listed(held, job),
            "They come into the box when its block has ended. Where a test never commits it, put "
            "the code into 'with committing():' of django_jobqueue.testing.",
        ]
    return "\n".join(["", *lines])


def described(entry: Entry) -> str:
    """Return a job in one line: its class and arguments, its queue and its time."""
    payload = entry.payload
    when = "at once"
    if entry.at is not None:
        when = f"{_after(entry.at - _pushed(entry))}, at {_when(entry.at)}"
    retry = "" if payload.retry_count is None else f", attempt {payload.attempt}"
    return (
        f"{payload.job_class}{_called(clear_args(payload))} in the queue {payload.queue!r}, "
        f"{when}{retry}"
    )


def _listed(entries: Iterable[Entry], job: type[Job] | None) -> list[str]:
    """Return a line for each job, those of the class in question first where there are many."""
    found = list(entries)
    if len(found) > _SHOWN and job is not None:
        found.sort(key=lambda entry: entry.payload.job_class != wire_name(job))
    lines = [f"  {described(entry)}" for entry in found[:_SHOWN]]
    if len(found) > _SHOWN:
        lines.append(f"  and {len(found) - _SHOWN} more")
    return lines


def _called(args: Sequence[Any]) -> str:
    shown = ", ".join(map(repr, args))
    return f"({shown if len(shown) <= _LONGEST else shown[:_LONGEST] + '...'})"


def _after(wait: float) -> str:
    return f"after {timedelta(seconds=round(wait, 2))}" if wait > 0 else "at once"


def _when(epoch: float) -> str:
    try:
        return datetime.fromtimestamp(epoch, UTC).isoformat(" ", "seconds")
    except (ValueError, OverflowError, OSError):
        return str(epoch)


def _epoch(at: When) -> float:
    if isinstance(at, datetime):
        return (timezone.make_aware(at) if timezone.is_naive(at) else at).timestamp()
    return seconds(at, "a moment")


def _pushed(entry: Entry) -> float:
    """Return when a job was pushed, in epoch seconds."""
    found = entry.payload.time("created_at")
    return clock.now() if found is None else found
