"""Every error the package raises, in one tree, so that a caller can catch as wide as it likes."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Sequence


class JobQueueError(Exception):
    """
    Base of every error of this package.

    Constructors take facts and keep them as attributes, so that an error can be
    pickled and inspected; the sentence is made when it is printed.
    """


# Redis ---------------------------------------------------------------------


class StoreError(JobQueueError):
    """Redis did not do what was asked. ``detail`` says why, never with a password in it."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail

    def __str__(self) -> str:
        return self.detail


class StoreUnavailable(StoreError, ConnectionError):
    """
    Redis cannot be reached, or cannot serve now (loading, read-only, failing over).

    The command may or may not have been applied: whoever repeats it must be
    able to bear that.
    """


class StoreFull(StoreError):
    """Redis is out of memory (``maxmemory`` reached) and refused a write that adds data."""


class StoreRefused(StoreError):
    """Redis answered with an error that trying again will not cure, such as a wrong type."""


class AccessDenied(StoreUnavailable):
    """
    Redis wants another user or password, or the user may not run the command.

    Fatal when a worker starts; in a running one it is an outage, for it may be cured.
    """


class WrongServer(StoreUnavailable):
    """
    What answers is not what the URL says: its certificate is refused, or it has other keys.

    Fatal when a worker starts; in a running one it is an outage, for it may be cured.
    """


class EmbeddedServerUnavailable(JobQueueError, RuntimeError):
    """The private server of a project in development cannot be started."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        return f"The embedded server cannot be started: {self.reason}"


# Enqueueing ----------------------------------------------------------------


class EnqueueError(JobQueueError, RuntimeError):
    """A job was not accepted. Nothing of it stands in Redis."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        return self.reason


class ArgumentNotSerializable(JobQueueError, TypeError):
    """An argument is not plain JSON. ``path`` leads to the offender, as in ``args[0]['when']``."""

    def __init__(self, path: str, problem: str, way_out: str) -> None:
        super().__init__(path, problem, way_out)
        self.path = path
        self.problem = problem
        self.way_out = way_out

    def __str__(self) -> str:
        return f"{self.path} {self.problem}: {self.way_out}."


class InvalidArguments(JobQueueError, TypeError):
    """The arguments do not fit ``perform``. ``problem`` is in Python's own words."""

    def __init__(self, job: str, problem: str) -> None:
        super().__init__(job, problem)
        self.job = job
        self.problem = problem

    def __str__(self) -> str:
        return f"{self.job}.perform() cannot take these arguments: {self.problem}."


class PayloadTooLarge(JobQueueError, ValueError):
    """A payload is over the limit. Sizes are in bytes."""

    def __init__(self, job: str, size: int, limit: int) -> None:
        super().__init__(job, size, limit)
        self.job = job
        self.size = size
        self.limit = limit

    def __str__(self) -> str:
        return (
            f"The payload of {self.job!r} is {self.size:,} bytes, over the limit of "
            f"{self.limit:,}: pass a key and load the data in the job, or raise "
            f"JOBQUEUE['MAX_PAYLOAD']."
        )


class InvalidQueueName(JobQueueError, ValueError):
    """A queue's name is empty, too long or has a character that is not allowed."""

    def __init__(self, name: object) -> None:
        super().__init__(name)
        self.name = name

    def __str__(self) -> str:
        return (
            f"{self.name!r} is not a queue name: use 1 to 64 of the characters A-Z, a-z, 0-9, "
            f"'_', '.' and '-'."
        )


class InvalidSchedule(JobQueueError, ValueError):
    """A time or a delay that is none."""

    def __init__(self, value: object, way_out: str) -> None:
        super().__init__(value, way_out)
        self.value = value
        self.way_out = way_out

    def __str__(self) -> str:
        shown = repr(self.value)
        if len(shown) > 200:  # the times of a bulk may be many
            shown = f"{shown[:200]}..."
        return f"{shown} is not a time to run at: {self.way_out}."


class InvalidOption(JobQueueError, ValueError):
    """An option of a job, or of ``Job.set()``, has a value that it cannot have."""

    def __init__(self, option: str, value: object, way_out: str) -> None:
        super().__init__(option, value, way_out)
        self.option = option
        self.value = value
        self.way_out = way_out

    def __str__(self) -> str:
        return f"{self.option}={self.value!r} is not possible: {self.way_out}."


# What lies in Redis --------------------------------------------------------


class InvalidPayload(JobQueueError, ValueError):
    """Bytes taken from a queue are not a job."""

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem

    def __str__(self) -> str:
        return f"Not a job: {self.problem}."


class UnknownJob(JobQueueError, LookupError):
    """No registered job class has this wire name. Nothing is imported to find one."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name

    def __str__(self) -> str:
        return (
            f"{self.name!r} is not a registered job: deploy the app that defines it, or give its "
            f"class the wire_name {self.name!r}."
        )


class BadSignature(JobQueueError, ValueError):
    """A job was not signed with one of our keys, or was changed since. ``problem`` says which."""

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem

    def __str__(self) -> str:
        return (
            f"The signature of the job is not to be trusted: {self.problem}. Where a key is "
            "missing here, add it to JOBQUEUE['SIGNING_KEYS'] and retry the job; where a stranger "
            "wrote it, delete it."
        )


class DecryptionFailed(JobQueueError, ValueError):
    """The encrypted arguments of a job are not what was written. ``problem`` says why."""

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem

    def __str__(self) -> str:
        return f"The arguments cannot be decrypted: {self.problem}. Enqueue the job again."


class UnknownKey(JobQueueError, LookupError):
    """The arguments of a job are encrypted with a key that is not in the settings here."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name

    def __str__(self) -> str:
        return (
            f"The arguments are encrypted with the key {self.name[:64]!r}, which is not here: add "
            "it to JOBQUEUE['ENCRYPTION_KEYS'] and retry the job."
        )


class PoisonPill(JobQueueError):
    """A job was running each time when its worker process died."""

    def __init__(self, crashes: int) -> None:
        super().__init__(crashes)
        self.crashes = crashes

    def __str__(self) -> str:
        return f"killed its worker {self.crashes} times"


class JobTimeout(JobQueueError, TimeoutError):
    """An ``async def perform`` took longer than the job's ``timeout`` and was cancelled."""

    def __init__(self, seconds: float) -> None:
        super().__init__(seconds)
        self.seconds = seconds

    def __str__(self) -> str:
        return (
            f"cancelled after its timeout of {self.seconds:g} s: raise the timeout, or let a job "
            "do less"
        )


# Looking inside ------------------------------------------------------------


class InvalidQuery(JobQueueError, ValueError):
    """A page, a time or a name was asked for that there cannot be."""

    def __init__(self, argument: str, value: object, way_out: str) -> None:
        super().__init__(argument, value, way_out)
        self.argument = argument
        self.value = value
        self.way_out = way_out

    def __str__(self) -> str:
        shown = repr(self.value)
        if len(shown) > 200:
            shown = f"{shown[:200]}..."
        return f"{self.argument}={shown} is not possible: {self.way_out}."


class SearchUnfinished(JobQueueError, LookupError):
    """
    A search ended with its budget, and not all was looked at: what is sought may be there.

    ``looked_at`` counts the entries, ``found`` those of them that were sought and
    dealt with; with ``cursor`` the search goes on where it ended.
    """

    def __init__(self, sought: str, looked_at: int, cursor: int, found: int = 0) -> None:
        super().__init__(sought, looked_at, cursor, found)
        self.sought = sought
        self.looked_at = looked_at
        self.cursor = cursor
        self.found = found

    def __str__(self) -> str:
        return (
            f"{self.sought} is not among the first {self.looked_at:,} entries that were looked at: "
            f"go on with cursor={self.cursor}, or give a larger budget (seconds; None: no end)."
        )


class JobKilled(JobQueueError):
    """Somebody sent a job that waited in ``place`` to the dead set."""

    def __init__(self, place: str) -> None:
        super().__init__(place)
        self.place = place

    def __str__(self) -> str:
        return f"killed by hand while it waited in {self.place}"


# The worker's start --------------------------------------------------------


class BootError(JobQueueError):
    """The worker cannot start, and trying again will not help. ``exit_code`` is the process's."""

    exit_code = 1

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        return self.reason


class InvalidJobClasses(BootError):
    """Job classes contradict each other."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = list(problems)

    def __reduce__(self) -> tuple[type, tuple[list[str]]]:
        return type(self), (self.problems,)


# Reconciling ---------------------------------------------------------------


class TooManyErrors(JobQueueError, RuntimeError):
    """A reconciler gave up: too many rows had errors. ``samples`` are some of them."""

    def __init__(self, reconciler: str, errors: int, samples: str) -> None:
        super().__init__(reconciler, errors, samples)
        self.reconciler = reconciler
        self.errors = errors
        self.samples = samples

    def __str__(self) -> str:
        return (
            f"{self.reconciler} gave up after {self.errors:,} rows with errors: correct its "
            f"args_for(), or leave such rows out of get_queryset(). {self.samples}"
        )


class DrillRefused(JobQueueError, RuntimeError):
    """A drill would cost more than a drill may. ``way_out`` is what to do first."""

    def __init__(self, problem: str, way_out: str) -> None:
        super().__init__(problem, way_out)
        self.problem = problem
        self.way_out = way_out

    def __str__(self) -> str:
        return f"The drill is refused: {self.problem}; {self.way_out}."


class UnknownReconciler(JobQueueError, LookupError):
    """No reconciler has this name; ``known`` are the names that there are."""

    def __init__(self, name: str, known: Sequence[str]) -> None:
        super().__init__(name, tuple(known))
        self.name = name
        self.known = tuple(known)

    def __str__(self) -> str:
        short = {full.rpartition(".")[2]: full for full in self.known}
        close = difflib.get_close_matches(self.name, [*self.known, *short], n=1)
        if close:
            return f"There is no reconciler {self.name!r}. Did you mean {close[0]!r}?"
        return (
            f"There is no reconciler {self.name!r}. There are: {', '.join(self.known) or 'none'}."
        )


class UnknownTimetable(JobQueueError, LookupError):
    """Neither PERIODIC nor RECONCILERS has this name; ``known`` are the names that there are."""

    def __init__(self, name: str, known: Sequence[str]) -> None:
        super().__init__(name, tuple(known))
        self.name = name
        self.known = tuple(known)

    def __str__(self) -> str:
        close = difflib.get_close_matches(self.name, self.known, n=1)
        way_out = (
            f"Did you mean {close[0]!r}?"
            if close
            else f"There are: {', '.join(self.known) or 'none'}."
        )
        return f"Nothing in PERIODIC or RECONCILERS is named {self.name!r}. {way_out}"


# Control flow: raised by a job on purpose, never a failure -----------------


class Snooze(JobQueueError):
    """
    Raised by a job to be run again later; no attempt is spent. Not a failure.

    ``delay`` is in seconds, or a ``timedelta`` (kept as seconds).
    """

    def __init__(self, delay: object) -> None:
        seconds = delay.total_seconds() if hasattr(delay, "total_seconds") else delay
        if isinstance(seconds, bool) or not isinstance(seconds, (int, float)):
            raise InvalidSchedule(delay, "Snooze takes seconds or a timedelta")
        if not 0 <= seconds <= sys.float_info.max:  # so an int becomes a float without fail
            raise InvalidSchedule(delay, "Snooze takes zero or more seconds")
        super().__init__(seconds)
        self.delay = float(seconds)

    def __str__(self) -> str:
        return f"again in {self.delay:g} s"


class Discard(JobQueueError):
    """Raised by a job to end for good without success. Counted, death hooks run. Not a failure."""

    def __init__(self, reason: str = "") -> None:
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        return self.reason or "discarded"


class Skip(JobQueueError):
    """Raised by a job that finds nothing to do: acknowledged and counted. Not a failure."""

    def __init__(self, reason: str = "") -> None:
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        return self.reason or "skipped"
