"""What a job class declares: its options as class attributes, and its name in Redis."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from django_jobqueue.job.options import Arity, Row
from django_jobqueue.job.times import Delay


def key_of(obj: Any) -> Row:
    """Return the primary key of an object as the one argument of a job, a UUID as text."""
    return (obj.pk if isinstance(obj.pk, (int, str)) else str(obj.pk),)


class JobOptions:
    """The options of a job class, each with its default. Inherited where nothing else is said."""

    #: Where the jobs wait.
    queue: ClassVar[str] = "default"
    #: How often a failed job is tried again: True for 25 times, a number, 0 for
    #: none (then it is dead), False for none and no trace of it.
    retry: ClassVar[bool | int] = True
    #: Retry for this long after the first failure, instead of a number of times.
    retry_for: ClassVar[Delay | None] = None
    #: The queue that retries go to; None for the same.
    retry_queue: ClassVar[str | None] = None
    #: Whether a job that failed for good is kept in the dead set.
    dead: ClassVar[bool] = True
    #: How many lines of the traceback travel with a failed job; True for 50.
    backtrace: ClassVar[bool | int] = False
    #: Labels for people.
    tags: ClassVar[Sequence[str]] = ()
    #: Do not start the job any more when it has waited for longer.
    expires_in: ClassVar[Delay | None] = None
    #: How long an attempt should take: see ``time_left``. An ``async def perform`` is
    #: cancelled then, and its job has failed; nothing else is interrupted.
    timeout: ClassVar[Delay | None] = None
    #: Wait for the commit of the transaction around the call: of the default
    #: database (True), of another one (its alias), or not at all (False).
    on_commit: ClassVar[bool | str] = True
    #: Refuse a second job with the same arguments while one is on its way: for this
    #: long after each of its moves. None for no such lock. Unique is not exclusive.
    unique_for: ClassVar[Delay | None] = None
    #: Whether the lock ends with the job (``"success"``, or its death), or with its ``"start"``.
    unique_until: ClassVar[str] = "success"
    #: What makes two jobs the same: names of arguments, or a ``staticmethod`` that
    #: takes them all and returns JSON; None for all arguments.
    unique_key: ClassVar[Sequence[str] | Callable[..., Any] | None] = None
    #: What becomes of a duplicate: ``"drop"``, or ``"rerun"``: one that comes while
    #: the job runs is run once after it.
    on_conflict: ClassVar[str] = "drop"
    #: The waffle flag that stops this class is ``disable_`` and this; None for the
    #: class's name in lower case with underscores. Not inherited.
    kill_switch: ClassVar[str | None] = None
    #: Names that the flag had before, also without ``disable_``. Not inherited.
    kill_switch_aliases: ClassVar[Sequence[str]] = ()
    #: Whether a job may be enqueued where no state of the flags was ever read:
    #: ``"open"`` or ``"closed"``.
    kill_switch_fail: ClassVar[str] = "open"
    #: What a kill switch does with jobs that were accepted before: ``"hold"``,
    #: ``"run"`` or ``"drop"``; None for what the settings say.
    when_disabled: ClassVar[str | None] = None
    #: Whether a reconciler brings the jobs back from the state of the database.
    #: Say False, and why, where none can.
    self_healing: ClassVar[bool] = True
    #: Names of arguments that are shown to nobody: no page, command or log line has them. See
    #: also ``JOBQUEUE["REDACT"]``, which does the same for all jobs.
    redact: ClassVar[Sequence[str]] = ()
    #: Whether the arguments are encrypted in Redis; needs ``JOBQUEUE["ENCRYPTION_KEYS"]``.
    encrypt: ClassVar[bool] = False
    #: What makes the job's arguments of an object: a ``classmethod`` or ``staticmethod``, by
    #: default its key. It is the one spelling for a view that enqueues the job and for
    #: the reconciler that does it again: with two, a unique job would come twice.
    args_for: ClassVar[Any] = staticmethod(key_of)  # Any: a reconciler has a method of this name
    #: The class's name in Redis; None for its dotted path. Not inherited.
    wire_name: ClassVar[str | None] = None
    #: Whether the class only serves others to derive from. Not inherited.
    abstract: ClassVar[bool] = True

    #: What ``perform`` takes.
    _arity: ClassVar[Arity]


def wire_name(cls: type[JobOptions]) -> str:
    """Return the name by which Redis knows a job class."""
    own: str | None = cls.__dict__.get("wire_name")
    return own or f"{cls.__module__}.{cls.__qualname__}"
