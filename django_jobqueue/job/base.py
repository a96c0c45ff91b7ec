"""The class that every job derives from."""

from __future__ import annotations

import inspect
import uuid
from collections.abc import Coroutine, Iterable
from functools import cached_property, partial
from typing import Any, ClassVar, Unpack

from django_jobqueue import clock
from django_jobqueue.client.results import BulkResult, EnqueueResult
from django_jobqueue.encryption import clear_args
from django_jobqueue.job.attempt import Attempt
from django_jobqueue.job.bound import BATCH, BoundJob
from django_jobqueue.job.coroutines import is_async, is_generator, run_to_end, within
from django_jobqueue.job.declaration import JobOptions, wire_name
from django_jobqueue.job.options import Arity, CallOptions, Row, to_seconds
from django_jobqueue.job.times import Delay, When
from django_jobqueue.payload import Payload, log_facts, new_jid
from django_jobqueue.retry import Verdict
from django_jobqueue.switches import naming
from django_jobqueue.switches.switches import switches
from django_jobqueue.unique import idempotency_key


class Job(JobOptions):
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

    #: An answer of ``retry_in``: end without a trace.
    DISCARD: ClassVar[Verdict] = Verdict.DISCARD
    #: Another one: go to the dead set.
    KILL: ClassVar[Verdict] = Verdict.KILL

    #: Counts definitions, so that the registry knows when to look again.
    definitions: ClassVar[int] = 0
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
