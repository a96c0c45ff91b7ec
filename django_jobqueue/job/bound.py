"""The calls that enqueue a job, each with the options of its class or with others."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from typing import Any, TypeGuard, Unpack

from django_jobqueue.client.client import push
from django_jobqueue.client.outlet import make_outlet
from django_jobqueue.client.results import Answer, BulkResult, EnqueueResult, Status
from django_jobqueue.conf import get_settings
from django_jobqueue.encryption import lock_digest
from django_jobqueue.exceptions import InvalidOption, InvalidSchedule
from django_jobqueue.job.declaration import JobOptions, wire_name
from django_jobqueue.job.options import CallOptions, Row, check_option, to_seconds, unique_key
from django_jobqueue.job.times import Delay, When, after, moment, seconds
from django_jobqueue.payload import Payload, new_jid, new_jids, stamp

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

    def __init__(self, job: type[JobOptions], options: Mapping[str, Any]) -> None:
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
