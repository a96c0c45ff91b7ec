"""Run one job and judge how it ended. Knows nothing of Redis, threads or claims."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from django.dispatch import Signal
from django.utils.module_loading import import_string

from django_jobqueue import clock
from django_jobqueue.chain import nest
from django_jobqueue.conf import Settings
from django_jobqueue.exceptions import (
    Discard,
    InvalidArguments,
    InvalidPayload,
    Skip,
    Snooze,
    UnknownJob,
)
from django_jobqueue.job.attempt import Attempt
from django_jobqueue.job.base import Job
from django_jobqueue.job.disabled import held, policy_of
from django_jobqueue.job.registry import registry
from django_jobqueue.payload import Payload, log_facts, printable, wrap_invalid
from django_jobqueue.reconciliation.pairs import cooldown_of
from django_jobqueue.retry import (
    Decision,
    Fate,
    Verdict,
    bury,
    decide,
    error_message,
    error_name,
    postpone_unknown,
)
from django_jobqueue.signals import job_died, job_retried, job_started, job_succeeded, tell
from django_jobqueue.store.claims import (
    BURY,
    DISCARDED,
    DONE,
    DROPPED,
    EXPIRED,
    FORGET,
    HELD,
    RETRY,
    SKIPPED,
    SNOOZE,
)
from django_jobqueue.store.locks import Lock, lock_of
from django_jobqueue.switches.switches import switches
from django_jobqueue.worker.middleware import Perform
from django_jobqueue.worker.tracebacks import PlainTraceback

logger = logging.getLogger("django_jobqueue.worker")
logger.addFilter(PlainTraceback())


@dataclass(frozen=True, slots=True)
class Outcome:
    """
    How a run ended that was no plain success: a verb of a result, bytes and a delay in seconds.

    ``error`` is the failure that ``perform`` raised, for those who run a job in line.
    ``job_class`` names the class of a job that a kill switch stopped. ``lock`` is that
    of a unique job; after a death its row is left alone for ``cooldown`` seconds.
    """

    verb: str
    raw: bytes = b""
    delay: float = 0.0
    error: BaseException | None = None
    job_class: str = ""
    lock: Lock | None = None
    cooldown: float = 0.0


class Executor:
    """
    Take a payload through the registry, the server middleware and ``perform``.

    Whatever a job raises ends here, as an outcome: also SystemExit and the
    other exceptions that are no ``Exception``.
    """

    def __init__(
        self,
        settings: Settings,
        stopping: Callable[[], bool],
        *,
        inline: bool = False,
        start_lock: Callable[[Lock, bool], None] | None = None,
    ) -> None:
        self._settings = settings
        self._stopping = stopping
        self._inline = inline
        self._start_lock = start_lock
        layers: list[Callable[[Perform], Perform]] = [
            import_string(path) for path in settings.server_middleware
        ]
        self._chain: Perform = nest(layers, _perform)
        self._registry = registry()

    def run(self, raw: bytes, queue: str) -> Outcome | None:
        """Run the job in these bytes of a queue; None means that it succeeded."""
        try:
            payload = Payload.decode(raw)
        except InvalidPayload as error:
            logger.error(
                "queue %s: %s. Its bytes go to the dead set.", queue, printable(str(error))
            )
            return self._outcome(
                bury(wrap_invalid(raw, queue), error, unit=self._settings.timestamps)
            )
        try:
            if payload.fields.get("queue") != queue:
                # Pushed by others, or moved: tried again where it was found, as in Sidekiq.
                payload = payload.replace(queue=queue)
            return self.run_payload(payload, queue)[0]
        except BaseException as error:
            # Not the job's: that ends as an outcome. Nothing in a payload may end a thread.
            logger.exception(
                "%s jid=%s cannot be handled, it goes to the dead set",
                *_names(payload),
                extra=log_facts(payload),
            )
            dead = bury(wrap_invalid(raw, queue), error, unit=self._settings.timestamps)
            return replace(self._outcome(dead), lock=lock_of(payload))

    def run_payload(self, payload: Payload, queue: str) -> tuple[Outcome | None, Any]:
        """Run a job; return its outcome, and what ``perform`` returned when it succeeded."""
        lock = lock_of(payload)
        outcome, result = self._run(payload, queue, lock)
        if lock is not None:
            outcome = _with_lock(outcome or Outcome(DONE), payload, lock)
        return outcome, result

    def _run(self, payload: Payload, queue: str, lock: Lock | None) -> tuple[Outcome | None, Any]:
        unit = self._settings.timestamps
        job: Job | None = None
        try:
            cls = self._registry.get(payload.job_class)
            if _is_expired(payload):
                logger.info(
                    "%s jid=%s expired before it started",
                    *_names(payload),
                    extra=log_facts(payload),
                )
                return Outcome(EXPIRED), None
            if switches().refuses(payload):
                stopped = _disabled(payload)
                if stopped is not None:
                    return stopped, None
            attempt = Attempt(
                payload, queue, clock.monotonic(), self._stopping, inline=self._inline
            )
            job = cls.for_attempt(attempt)
        except UnknownJob as error:
            decision = postpone_unknown(
                payload, error, window=self._settings.unknown_job_retry_for, unit=unit
            )
            return self._failed(None, payload, decision, error), None
        except InvalidArguments as error:
            return self._failed(None, payload, bury(payload, error, unit=unit), error, cls), None
        except BaseException as error:  # out of the class's own __init__
            decision = self._decide(None, payload, error)
            return self._failed(None, payload, decision, error, cls), None
        try:
            if lock is not None:
                self._begin(payload, lock)
            announce(job_started, cls, payload)
            result = self._chain(job)
        except BaseException as error:
            return self._judge(job, payload, error), None
        if not attempt.performed:
            logger.info(
                "%s jid=%s skipped by a server middleware",
                *_names(payload),
                extra=log_facts(payload),
            )
            return Outcome(SKIPPED), None
        announce(job_succeeded, cls, payload, elapsed=clock.monotonic() - attempt.started)
        return None, result

    def _begin(self, payload: Payload, lock: Lock) -> None:
        """Tell Redis of the start where a lock depends on it."""
        if self._start_lock is not None and (payload.unique_until_start or lock.rerun):
            self._start_lock(lock, payload.unique_until_start)

    def _judge(self, job: Job, payload: Payload, error: BaseException) -> Outcome:
        facts = log_facts(payload)
        if isinstance(error, Snooze):
            logger.info("%s jid=%s snoozed for %.1f s", *_names(payload), error.delay, extra=facts)
            later = payload.replace(enqueued_at=None, unknown_since=None)
            return Outcome(SNOOZE, later.encode(), error.delay)
        if isinstance(error, Skip):
            logger.info("%s jid=%s skipped: %s", *_names(payload), _told(error), extra=facts)
            return Outcome(SKIPPED)
        if isinstance(error, Discard):
            logger.info("%s jid=%s discarded: %s", *_names(payload), _told(error), extra=facts)
            self._die(job, type(job), payload, error)
            return Outcome(DISCARDED)
        return self._failed(job, payload, self._decide(job, payload, error), error, type(job))

    def _decide(self, job: Job | None, payload: Payload, error: BaseException) -> Decision:
        return decide(
            payload,
            error,
            retry_in=None if job is None else _ask_retry_in(job, payload, error),
            default_retries=self._settings.default_retries,
            unit=self._settings.timestamps,
        )

    def _failed(
        self,
        job: Job | None,
        payload: Payload,
        decision: Decision,
        error: BaseException,
        cls: type[Job] | None = None,
    ) -> Outcome:
        what = (*_names(payload), error_name(error), _told(error))
        facts = log_facts(payload)  # of the attempt that failed, not of the next one
        payload = decision.payload
        ours = job is None and isinstance(error, (UnknownJob, InvalidArguments))
        trace = None if ours else error
        if decision.fate in (Fate.RETRY, Fate.POSTPONE):
            logger.warning(
                "%s jid=%s failed: %s: %s; again in %.0f s", *what, decision.delay,
                exc_info=trace, extra=facts,
            )  # fmt: skip
            announce(job_retried, cls, payload, error=error, delay=decision.delay)
        else:
            logger.error("%s jid=%s failed for good: %s: %s", *what, exc_info=trace, extra=facts)
            self._die(job, cls, payload, error)
        return self._outcome(decision, error)

    def _die(
        self, job: Job | None, cls: type[Job] | None, payload: Payload, error: BaseException
    ) -> None:
        if job is not None:
            try:
                job.on_exhausted(error)
            except BaseException:
                logger.exception(
                    "%s jid=%s: on_exhausted failed", *_names(payload), extra=log_facts(payload)
                )
        announce(job_died, cls, payload, error=error)

    def _outcome(self, decision: Decision, error: BaseException | None = None) -> Outcome:
        payload = decision.payload
        if decision.fate in (Fate.RETRY, Fate.POSTPONE):
            payload = payload.replace(enqueued_at=None)
        return Outcome(decision.fate.value, payload.encode(), decision.delay, error)


def _disabled(payload: Payload) -> Outcome | None:
    """Return what becomes of a job whose kill switch is on; None where it runs all the same."""
    policy, name = policy_of(payload), payload.job_class
    if policy == "run":
        return None
    facts = log_facts(payload)
    if policy == "drop":
        logger.info("%s jid=%s dropped: its kill switch is on", *_names(payload), extra=facts)
        return Outcome(DROPPED, job_class=name)
    logger.debug("%s jid=%s held: its kill switch is on", *_names(payload), extra=facts)
    return Outcome(HELD, held(payload, "queue").encode(), job_class=name)


def _with_lock(outcome: Outcome, payload: Payload, lock: Lock) -> Outcome:
    """Return an outcome with what it means for the lock of its job."""
    if outcome.verb in (RETRY, SNOOZE) and payload.unique_until_start:
        return outcome  # it was given up when the job started
    died = outcome.verb in (BURY, FORGET, DISCARDED)
    cooldown = cooldown_of(payload.job_class) if died else 0.0
    return replace(outcome, lock=lock, cooldown=cooldown)


def announce(signal: Signal, cls: type[Job] | None, payload: Payload, **facts: Any) -> None:
    """Tell of a job from a worker's thread, which not even SystemExit of a receiver may end."""
    try:
        tell(signal, cls, payload=payload, **facts)
    except BaseException:
        logger.exception(
            "%s jid=%s: a receiver of a signal failed", *_names(payload), extra=log_facts(payload)
        )


def _perform(job: Job) -> Any:
    return job.run()


def _is_expired(payload: Payload) -> bool:
    limit = payload.expires_in
    if limit is None:
        return False
    since = payload.time("enqueued_at") or payload.time("created_at")
    return since is not None and clock.now() - since > limit


def _ask_retry_in(job: Job, payload: Payload, error: BaseException) -> float | Verdict | None:
    count = 0 if payload.retry_count is None else payload.retry_count + 1
    try:
        answer = job.retry_in(count, error)
        if answer is None or isinstance(answer, Verdict):
            return answer
        delay = answer.total_seconds() if isinstance(answer, timedelta) else float(answer)
        if not 0 <= delay < float("inf"):
            raise ValueError(f"retry_in returned {answer!r}: it returns seconds from 0 on")
        return delay
    except BaseException:
        logger.exception(
            "%s jid=%s: retry_in failed; the default is used",
            *_names(payload),
            extra=log_facts(payload),
        )
        return None


def _names(payload: Payload) -> tuple[str, str]:
    return printable(payload.job_class), printable(payload.jid)


def _told(error: BaseException) -> str:
    """Return an error's sentence for a log line."""
    return printable(error_message(error)[:500])
