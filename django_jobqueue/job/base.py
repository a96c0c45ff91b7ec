"""The class that every job derives from, and the calls that enqueue it."""

from __future__ import annotations

import inspect
import itertools
import random
import uuid
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence, Sized
from datetime import datetime, timedelta
from functools import cached_property, partial
from typing import Any, ClassVar, TypeGuard, Unpack

from django_jobqueue import clock
from django_jobqueue.client.client import push
from django_jobqueue.client.outlet import make_outlet
from django_jobqueue.client.results import Answer, BulkResult, EnqueueResult, Status
from django_jobqueue.conf import get_settings
from django_jobqueue.encryption import clear_args, lock_digest
from django_jobqueue.exceptions import InvalidOption, InvalidSchedule
from django_jobqueue.job.attempt import Attempt
from django_jobqueue.job.coroutines import is_async, is_generator, run_to_end, within
from django_jobqueue.job.options import Arity, CallOptions, check_option, to_seconds, unique_key
from django_jobqueue.job.times import after, moment, seconds
from django_jobqueue.payload import Payload, log_facts, new_jid, new_jids, stamp
from django_jobqueue.retry import Verdict
from django_jobqueue.switches import naming
from django_jobqueue.switches.switches import switches
from django_jobqueue.unique import idempotency_key

Delay = timedelta | float
When = datetime | float
Row = Sequence[Any]

#: Why a job was not pushed, for people.
_REASONS = {
    Status.REFUSED: "a client middleware refused the push",
    Status.DISABLED: "the kill switch of the job is on",
    Status.DUPLICATE: "a job with the same arguments is on its way",
    Status.COOLING: "the job of this row died a short while ago",
}

#: Jobs in one round trip of a bulk: to run now, and for later.
BATCH = 1000
SCHEDULED_BATCH = 250


def key_of(obj: Any) -> Row:
    """Return the primary key of an object as the one argument of a job, a UUID as text."""
    return (obj.pk if isinstance(obj.pk, (int, str)) else str(obj.pk),)


class Job:
    """
    One kind of background work: options as class attributes, and ``perform``.

    ::

        class BackupJob(Job):
            queue = "backups"
            retry = 5

            def perform(self, database_id: int) -> None:
                ...

        BackupJob.perform_async(7)

    Arguments are plain JSON. A job may run more than once (a worker can be
    killed between its work and its word), so ``perform`` must bear that.
    Subclasses inherit options; a class with ``abstract = True`` of its own is
    never run.
    """

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

    #: An answer of ``retry_in``: end without a trace.
    DISCARD: ClassVar[Verdict] = Verdict.DISCARD
    #: Another one: go to the dead set.
    KILL: ClassVar[Verdict] = Verdict.KILL

    #: Counts definitions, so that the registry knows when to look again.
    definitions: ClassVar[int] = 0
    _arity: ClassVar[Arity]
    _is_async: ClassVar[bool] = False
    _is_generator: ClassVar[bool] = False

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.abstract = bool(cls.__dict__.get("abstract", False))
        cls._arity = Arity.of(cls.perform)
        cls._is_async = is_async(cls.perform)
        cls._is_generator = is_generator(cls.perform)
        Job.definitions += 1
        if not cls.abstract:
            naming.declare(wire_name(cls), naming.flag_names(cls), fail=cls.kill_switch_fail)

    # What a user writes --------------------------------------------------------

    def perform(self, *args: Any, **kwargs: Any) -> Any:
        """Do the work. Raise to fail; see also ``Snooze``, ``Discard`` and ``Skip``."""
        raise NotImplementedError(f"{type(self).__qualname__} has no perform()")

    def retry_in(self, count: int, error: BaseException) -> Delay | Verdict | None:
        """
        Return the delay before retry ``count`` (0 is the first), or what else to do.

        Seconds or a timedelta (some jitter is added), ``Job.DISCARD``,
        ``Job.KILL``, or None for the default curve.
        """
        return None

    def on_exhausted(self, error: BaseException) -> None:
        """Do something when the job has failed for good. Runs before the job is moved."""

    @classmethod
    def admin_url(cls, payload: Payload) -> str | None:
        """
        Return the address of a page about what the job works on, for a link in the dashboard.

        As in ``reverse("admin:shop_order_change", args=payload.args[:1])``. A path, or a
        URL with http or https; None for no link. The payload may be anybody's: its
        arguments need not fit ``perform``. What it raises is logged, and there is no link.
        """
        return None

    # What a worker calls -----------------------------------------------------------

    @classmethod
    def for_attempt(cls, attempt: Attempt) -> Job:
        """
        Return the job ready for one run.

        Raises: InvalidArguments when the payload's do not fit ``perform``, UnknownKey or
        DecryptionFailed when encrypted ones cannot be read.
        """
        payload = attempt.payload
        args = payload.args
        if "encrypt" in payload.fields:
            args = attempt.clear = clear_args(payload)
        cls._arity.check(cls.__qualname__, args)
        job = cls()
        job._attempt = attempt
        return job

    def run(self) -> Any:
        """Call ``perform``, to its end where it is ``async def``. Innermost of the server chain."""
        if self._is_async or self._is_generator:
            return run_to_end(self.run_async)
        attempt = self._attempt
        attempt.performed = True
        result = self.perform(*attempt.args)
        if result is not None and inspect.iscoroutine(result):
            # Something is wrapped around an ``async def``.
            return run_to_end(partial(self._finish, result))
        return result

    async def run_async(self) -> Any:
        """
        Await an ``async def perform`` on this event loop, for as long as its ``timeout`` allows.

        Raises: JobTimeout when it was cancelled for that.
        """
        if self._is_generator:
            raise TypeError(
                f"{type(self).__qualname__}.perform has a yield, so calling it does nothing: "
                "return, or await, instead"
            )
        self._attempt.performed = True
        return await self._finish(self.perform(*self._attempt.args))

    async def _finish(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        limit, left = type(self).timeout, self.time_left
        if limit is None or left is None:
            return await coroutine
        name = "{job} jid={jid}".format_map(log_facts(self._attempt.payload))
        return await within(coroutine, left, to_seconds(limit), name)

    @cached_property
    def _attempt(self) -> Attempt:
        """The run that the worker has set; one of its own where a test calls ``perform``."""
        fields = {"class": wire_name(type(self)), "args": [], "jid": new_jid(), "queue": self.queue}
        return Attempt(Payload(fields), self.queue, clock.monotonic())

    # What a running job may ask --------------------------------------------------

    @property
    def payload(self) -> Payload:
        """The job as it travelled."""
        return self._attempt.payload

    @property
    def arguments(self) -> list[Any]:
        """The arguments of ``perform``, for hooks and middleware: clear, also of ``encrypt``."""
        return self._attempt.args

    @property
    def jid(self) -> str:
        """The job's id: the same in every attempt."""
        return self._attempt.payload.jid

    @cached_property
    def idempotency_key(self) -> uuid.UUID:
        """
        A key of this work for other systems: the same in every attempt and in duplicates.

        It is made of the class's wire name and the arguments, so two jobs that are
        to have two effects must differ in their arguments.
        """
        return idempotency_key(self._attempt.payload.job_class, self._attempt.args)

    @property
    def attempt(self) -> int:
        """Which attempt this is, from 1."""
        return self._attempt.payload.attempt

    @property
    def is_inline(self) -> bool:
        """Whether it runs in the thread that enqueued it, and not in a worker."""
        return self._attempt.inline

    @property
    def stopping(self) -> bool:
        """Whether the worker wants to stop: save your progress and raise ``Snooze(0)``."""
        return self._attempt.stopping()

    @property
    def disabled(self) -> bool:
        """Whether the kill switch of this job was thrown since it began."""
        return switches().refuses(self._attempt.payload)

    @property
    def time_left(self) -> float | None:
        """Seconds until ``timeout``, negative beyond it; None without one."""
        limit = type(self).timeout
        if limit is None:
            return None
        return self._attempt.started + to_seconds(limit) - clock.monotonic()

    # Enqueueing --------------------------------------------------------------------

    @classmethod
    def set(cls, **options: Unpack[CallOptions]) -> BoundJob:
        """
        Return the job with other options for one call; see ``BoundJob``.

        Raises: InvalidOption for a name or a value that cannot be.
        """
        return BoundJob(cls, {}).set(**options)

    @classmethod
    def perform_async(cls, *args: Any) -> str | None:
        """Enqueue to run as soon as possible; see ``BoundJob.perform_async``."""
        return BoundJob(cls, {}).perform_async(*args)

    @classmethod
    def perform_in(cls, delay: Delay, *args: Any) -> str | None:
        """Enqueue to run after a delay; see ``BoundJob.perform_in``."""
        return BoundJob(cls, {}).perform_in(delay, *args)

    @classmethod
    def perform_at(cls, when: When, *args: Any) -> str | None:
        """Enqueue to run at a time; see ``BoundJob.perform_at``."""
        return BoundJob(cls, {}).perform_at(when, *args)

    @classmethod
    def perform_with_jitter(
        cls, *args: Any, max_wait: Delay = 60, min_wait: Delay = 0
    ) -> str | None:
        """Enqueue to run after a random delay; see ``BoundJob.perform_with_jitter``."""
        return BoundJob(cls, {}).perform_with_jitter(*args, max_wait=max_wait, min_wait=min_wait)

    @classmethod
    def perform_bulk(
        cls,
        rows: Iterable[Row],
        at: When | Iterable[When] | None = None,
        spread: Delay | None = None,
        batch_size: int = BATCH,
    ) -> BulkResult:
        """Enqueue one job a row; see ``BoundJob.perform_bulk``."""
        return BoundJob(cls, {}).perform_bulk(rows, at, spread, batch_size)

    @classmethod
    def enqueue(cls, *args: Any) -> EnqueueResult:
        """Enqueue and return all there is to know; see ``BoundJob.enqueue``."""
        return BoundJob(cls, {}).enqueue(*args)

    @classmethod
    def perform_inline(cls, *args: Any) -> Any:
        """Run now, in this thread; see ``BoundJob.perform_inline``."""
        return BoundJob(cls, {}).perform_inline(*args)

    @classmethod
    def enqueue_for(cls, obj: Any) -> str | None:
        """Enqueue the job for an object; see ``BoundJob.enqueue_for``."""
        return BoundJob(cls, {}).enqueue_for(obj)


Job._arity = Arity.of(Job.perform)


def wire_name(cls: type[Job]) -> str:
    """Return the name by which Redis knows a job class."""
    own: str | None = cls.__dict__.get("wire_name")
    return own or f"{cls.__module__}.{cls.__qualname__}"


class BoundJob:
    """
    A job class with other options, offering every call of the class. Immutable.

    Every call checks the arguments at once: they are JSON natives (int, float,
    bool, None, str, list, dict with str keys) and fit ``perform``.

    Raises, from every call that enqueues: ArgumentNotSerializable,
    InvalidArguments, InvalidQueueName, PayloadTooLarge, StoreUnavailable within some two seconds
    when Redis cannot be reached (it may have taken the job), EnqueueError when
    Redis refused it, and whatever a client middleware raises.
    """

    __slots__ = ("_job", "_options")

    def __init__(self, job: type[Job], options: Mapping[str, Any]) -> None:
        self._job = job
        self._options = options

    def set(self, **options: Unpack[CallOptions]) -> BoundJob:
        """
        Return a copy with other options.

        Those of the class, and ``wait`` (a delay) or ``at`` (a moment) for
        calls without one of their own.

        Raises: InvalidOption, InvalidSchedule.
        """
        for name, value in options.items():
            if name == "wait":
                seconds(value)
            elif name == "at":
                moment(value)
            else:
                check_option(name, value)
        merged = {**self._options, **options}
        if "wait" in merged and "at" in merged:
            raise InvalidOption("at", merged["at"], "give a wait or an at, not both")
        return BoundJob(self._job, merged)

    def perform_async(self, *args: Any) -> str | None:
        """
        Enqueue to run as soon as possible.

        Returns the jid, or None when a client middleware refused. Inside a
        transaction the jid comes at once and the push with the commit.
        """
        return self._push(args, self._at())

    def perform_in(self, delay: Delay, *args: Any) -> str | None:
        """Enqueue to run after ``delay`` (timedelta or seconds); 0 or less is now."""
        return self._push(args, after(delay))

    def perform_at(self, when: When, *args: Any) -> str | None:
        """Enqueue to run at ``when`` (datetime or epoch seconds); the past is now."""
        return self._push(args, moment(when))

    def perform_with_jitter(
        self, *args: Any, max_wait: Delay = 60, min_wait: Delay = 0
    ) -> str | None:
        """Enqueue to run after a random delay between two bounds (timedelta or seconds)."""
        return self._push(args, after(_random_delay(min_wait, max_wait)))

    def enqueue(self, *args: Any) -> EnqueueResult:
        """Enqueue as ``perform_async`` does, and tell how it ended."""
        answer = self._answer(args, self._at())
        reason = _REASONS.get(answer.status, "")
        return EnqueueResult(answer.status, answer.jid, answer.existing_jid, reason)

    def enqueue_for(self, obj: Any) -> str | None:
        """
        Enqueue the job with the arguments that the class's ``args_for`` makes of an object.

        Returns what ``perform_async`` does.
        """
        return self.perform_async(*self._job.args_for(obj))

    def perform_bulk(
        self,
        rows: Iterable[Row],
        at: When | Iterable[When] | None = None,
        spread: Delay | None = None,
        batch_size: int = BATCH,
        *,
        healing: bool = False,
    ) -> BulkResult:
        """
        Enqueue one job for each row of arguments; rows may be a generator.

        ``at`` is one moment for all, or one a row (datetime or epoch seconds);
        ``spread`` gives each job a random delay of its own up to that long
        (timedelta or seconds). A slice of ``batch_size`` jobs
        (at most 250 of scheduled ones) is one round trip. When a slice fails,
        those before it stay pushed. ``healing`` is for reconcilers: it leaves
        rows alone whose job has died a short while ago.

        Returns a list of jid or None, aligned with the rows, and counts why.

        Raises: InvalidOption for a row or a ``batch_size`` that cannot be, InvalidSchedule
        for times that do not fit the rows, and what every call raises.
        """
        if type(batch_size) is not int or batch_size < 1:
            raise InvalidOption("batch_size", batch_size, "it is a number from 1 on")
        if at is not None and spread is not None:
            raise InvalidOption("spread", spread, "give an at or a spread, not both")
        if _are_times(at):
            _check_numbers(at, rows)
        timed = at is not None or spread is not None or self._at() is not None
        size = min(batch_size, SCHEDULED_BATCH) if timed else batch_size
        times = self._times(at, spread)
        result = BulkResult()
        numbered = enumerate(rows)
        on_commit = self._on_commit()
        while chunk := list(itertools.islice(numbered, size)):
            make = self.maker()
            jobs = []
            for number, row in chunk:
                if not isinstance(row, (list, tuple)):
                    raise InvalidOption(
                        f"rows[{number}]", row, "a row is a list or tuple of arguments, as in (pk,)"
                    )
                jobs.append(make(row, next(times)))
            result.add(push(jobs, on_commit=on_commit, healing=healing))
        return result

    def perform_inline(self, *args: Any) -> Any:
        """
        Run now, in this thread, through the serializer and both middleware chains.

        Returns what ``perform`` returns and raises what it raises; None when a
        client middleware refused. Nothing reaches Redis.
        """
        payload, _ = self._payload(self._template(), new_jid(), args, None)
        return make_outlet("inline").run(payload)  # type: ignore[attr-defined]

    def maker(self) -> Callable[[Row, float | None], tuple[Payload, float | None]]:
        """
        Return what makes the payloads that its caller pushes: from arguments, and a time or None.

        The times are epoch seconds. It is for one page of jobs: they share the time
        at which they were created. Raises: InvalidArguments.
        """
        template, jids = self._template(), new_jids()
        return lambda args, at: self._payload(template, next(jids), args, at)

    # ------------------------------------------------------------------------------

    def _push(self, args: tuple[Any, ...], at: float | None) -> str | None:
        return self._answer(args, at).jid

    def _answer(self, args: tuple[Any, ...], at: float | None) -> Answer:
        job = self._payload(self._template(), new_jid(), args, at)
        return push((job,), on_commit=self._on_commit())[0]

    def _at(self) -> float | None:
        if "wait" in self._options:
            return after(self._options["wait"])
        if "at" in self._options:
            return moment(self._options["at"])
        return None

    def _on_commit(self) -> bool | str:
        alias: bool | str = self._options.get("on_commit", self._job.on_commit)
        return get_settings().on_commit if alias is True else alias

    def _template(self) -> dict[str, Any]:
        """Return the fields that all jobs of one call share, in Sidekiq's order."""
        job, chosen = self._job, self._options.get
        fields: dict[str, Any] = {
            "class": wire_name(job),
            "args": None,
            "jid": None,
            "queue": chosen("queue", job.queue),
            "retry": chosen("retry", job.retry),
        }
        if (retry_for := chosen("retry_for", job.retry_for)) is not None:
            fields["retry_for"] = to_seconds(retry_for)
        if (retry_queue := chosen("retry_queue", job.retry_queue)) is not None:
            fields["retry_queue"] = retry_queue
        if chosen("dead", job.dead) is False:
            fields["dead"] = False
        if backtrace := chosen("backtrace", job.backtrace):
            fields["backtrace"] = backtrace
        if tags := chosen("tags", job.tags):
            fields["tags"] = list(tags)
        if (expires_in := chosen("expires_in", job.expires_in)) is not None:
            fields["expires_in"] = to_seconds(expires_in)
        if (unique_for := chosen("unique_for", job.unique_for)) is not None:
            fields["unique_for"] = to_seconds(unique_for)
            if job.unique_until == "start":
                fields["unique_until"] = "start"
            if job.on_conflict == "rerun":
                fields["on_conflict"] = "rerun"
        if chosen("bypass_kill_switch"):
            fields["bypass_kill_switch"] = True
        if job.encrypt:
            fields["encrypt"] = True  # until the push
        fields["created_at"] = stamp(unit=get_settings().timestamps)
        return fields

    def _payload(
        self, template: dict[str, Any], jid: str, args: Row, at: float | None
    ) -> tuple[Payload, float | None]:
        job, own = self._job, list(args)
        job._arity.check(job.__qualname__, own)
        fields = {**template, "args": own, "jid": jid}
        if at is None:
            fields["enqueued_at"] = template["created_at"]
        if job.unique_key is not None and "unique_for" in fields:
            key = unique_key(job, job._arity, args)
            fields["unique_digest"] = lock_digest(fields["class"], key, is_secret=job.encrypt)
        return Payload(fields), at

    def _times(
        self, at: When | Iterable[When] | None, spread: Delay | None
    ) -> Iterator[float | None]:
        if spread is not None:
            longest = seconds(spread, "a spread")
            if longest < 0:
                raise InvalidSchedule(spread, "a spread is zero or longer")
            while True:
                yield after(random.uniform(0, longest))
        elif at is None:
            yield from itertools.repeat(self._at())
        elif _are_times(at):
            yield from map(moment, at)
            raise InvalidSchedule(at, "it has fewer times than there are rows")
        else:
            yield from itertools.repeat(moment(at))


def _are_times(at: Any) -> TypeGuard[Iterable[When]]:
    """Return whether these are many times; a text is neither one nor many."""
    return isinstance(at, Iterable) and not isinstance(at, str)


def _check_numbers(times: Iterable[When], rows: Iterable[Row]) -> None:
    """Refuse more or fewer times than rows before anything is pushed, where both are countable."""
    if not (isinstance(times, Sized) and isinstance(rows, Sized)):
        return
    if len(times) != len(rows):
        raise InvalidSchedule(times, f"there are {len(times)} times for {len(rows)} rows")


def _random_delay(least: Delay, most: Delay) -> float:
    low, high = seconds(least, "min_wait"), seconds(most, "max_wait")
    if not 0 <= low <= high:
        raise InvalidSchedule(
            most, f"max_wait is at least min_wait, {least!r}, and that at least 0"
        )
    return random.uniform(low, high)
