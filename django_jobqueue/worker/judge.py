"""What becomes of a job that did not simply succeed, and who is told of it."""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import timedelta
from typing import Any

from django.dispatch import Signal

from django_jobqueue.conf import Settings
from django_jobqueue.exceptions import (
    BadSignature,
    DecryptionFailed,
    Discard,
    InvalidArguments,
    InvalidPayload,
    Skip,
    Snooze,
    UnknownJob,
    UnknownKey,
)
from django_jobqueue.job.base import Job
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
from django_jobqueue.scrubbing import hiding
from django_jobqueue.signals import job_died, job_retried, tell
from django_jobqueue.signing import carried
from django_jobqueue.store.claims import BURY, DISCARDED, DONE, FORGET, RETRY, SKIPPED, SNOOZE
from django_jobqueue.store.locks import Lock, lock_of
from django_jobqueue.worker.outcome import Outcome
from django_jobqueue.worker.tracebacks import PlainTraceback

logger = logging.getLogger("django_jobqueue.worker")
logger.addFilter(PlainTraceback())

#: Errors of a payload, not of any code: a traceback would tell nothing.
_OURS = (BadSignature, DecryptionFailed, InvalidArguments, UnknownJob, UnknownKey)


class Judge:
    """
    Turn what a job raised into an outcome; ask its hooks, log it and send the signals.

    Raises nothing that a job, its hooks or a receiver raises.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def of_error(self, job: Job, error: BaseException) -> Outcome:
        """Return the outcome of a run that ended with an exception."""
        clear = job._attempt.clear
        if clear is None:
            return self._of_error(job, error)
        # Whoever reads Redis and the log was to learn none of them: not by this way either.
        with hiding(clear):
            return self._of_error(job, error)

    def _of_error(self, job: Job, error: BaseException) -> Outcome:
        payload = job.payload
        facts = log_facts(payload)
        if isinstance(error, Snooze):
            logger.info("%s jid=%s snoozed for %.1f s", *names(payload), error.delay, extra=facts)
            later = payload.replace(enqueued_at=None, unknown_since=None)
            return Outcome(SNOOZE, later.encode(), error.delay)
        if isinstance(error, Skip):
            logger.info("%s jid=%s skipped: %s", *names(payload), _told(error), extra=facts)
            return Outcome(SKIPPED)
        if isinstance(error, Discard):
            logger.info("%s jid=%s discarded: %s", *names(payload), _told(error), extra=facts)
            self._die(job, type(job), payload, error)
            return Outcome(DISCARDED)
        return self._failed(job, payload, self._decide(job, payload, error), error, type(job))

    def of_unfit(self, payload: Payload, error: BaseException) -> Outcome:
        """Return the outcome of a payload that no job could be made of, and why."""
        unit = self._settings.timestamps
        if isinstance(error, (UnknownJob, UnknownKey)):
            decision = postpone_unknown(
                payload, error, window=self._settings.unknown_job_retry_for, unit=unit
            )
            return self._failed(None, payload, decision, error)
        if isinstance(error, BadSignature):
            return self._failed(None, payload, bury(payload, error, unit=unit), error)
        cls = registry().get(payload.job_class)
        if isinstance(error, (InvalidArguments, DecryptionFailed)):
            return self._failed(None, payload, bury(payload, error, unit=unit), error, cls)
        decision = self._decide(None, payload, error)  # out of the class's own __init__
        return self._failed(None, payload, decision, error, cls)

    def of_junk(self, raw: bytes, queue: str, error: InvalidPayload) -> Outcome:
        """Return the outcome of bytes that are no payload."""
        logger.error("queue %s: %s. Its bytes go to the dead set.", queue, printable(str(error)))
        return self._outcome(bury(wrap_invalid(raw, queue), error, unit=self._settings.timestamps))

    def of_trouble(self, raw: bytes, queue: str, payload: Payload, error: BaseException) -> Outcome:
        """
        Return the outcome of a payload that we fail at.

        It is not the job's error, that ends as an outcome. Nothing in a payload may end a thread.
        """
        logger.exception(
            "%s jid=%s cannot be handled, it goes to the dead set",
            *names(payload),
            exc_info=error,
            extra=log_facts(payload),
        )
        dead = bury(wrap_invalid(raw, queue), error, unit=self._settings.timestamps)
        return replace(self._outcome(dead), lock=lock_of(payload))

    def _decide(self, job: Job | None, payload: Payload, error: BaseException) -> Decision:
        decision = decide(
            payload,
            error,
            retry_in=None if job is None else _ask_retry_in(job, payload, error),
            default_retries=self._settings.default_retries,
            unit=self._settings.timestamps,
        )
        if payload.retry_queue is None:
            return decision
        return replace(decision, payload=carried(payload, decision.payload))

    def _failed(
        self,
        job: Job | None,
        payload: Payload,
        decision: Decision,
        error: BaseException,
        cls: type[Job] | None = None,
    ) -> Outcome:
        what = (*names(payload), error_name(error), _told(error))
        facts = log_facts(payload)  # of the attempt that failed, not of the next one
        payload = decision.payload
        ours = job is None and isinstance(error, _OURS)
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
                    "%s jid=%s: on_exhausted failed", *names(payload), extra=log_facts(payload)
                )
        announce(job_died, cls, payload, error=error)

    def _outcome(self, decision: Decision, error: BaseException | None = None) -> Outcome:
        payload = decision.payload
        if decision.fate in (Fate.RETRY, Fate.POSTPONE):
            payload = payload.replace(enqueued_at=None)
        return Outcome(decision.fate.value, payload.encode(), decision.delay, error)


def with_lock(outcome: Outcome | None, payload: Payload, lock: Lock) -> Outcome:
    """Return an outcome with what it means for the lock of its job."""
    if outcome is None:
        outcome = Outcome(DONE)
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
            "%s jid=%s: a receiver of a signal failed", *names(payload), extra=log_facts(payload)
        )


def names(payload: Payload) -> tuple[str, str]:
    """Return the class and the jid of a job for a log line."""
    return printable(payload.job_class), printable(payload.jid)


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
            *names(payload),
            extra=log_facts(payload),
        )
        return None


def _told(error: BaseException) -> str:
    """Return an error's sentence for a log line."""
    return printable(error_message(error)[:500])
