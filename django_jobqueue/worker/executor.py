"""Run one job, in a thread or on an event loop. Knows nothing of Redis, threads or claims."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from functools import cached_property, partial
from typing import Any

from asgiref.sync import sync_to_async
from django.dispatch import Signal

from django_jobqueue import clock, databases
from django_jobqueue.conf import Settings
from django_jobqueue.exceptions import BadSignature, Discard, InvalidPayload, Skip, Snooze
from django_jobqueue.job.attempt import Attempt
from django_jobqueue.job.base import Job
from django_jobqueue.job.disabled import held, policy_of
from django_jobqueue.job.registry import registry
from django_jobqueue.payload import Payload, log_facts
from django_jobqueue.signals import job_started, job_succeeded
from django_jobqueue.signing import signer
from django_jobqueue.store.claims import BACK, DROPPED, EXPIRED, HELD, SKIPPED
from django_jobqueue.store.locks import Lock, lock_of
from django_jobqueue.switches.switches import switches
from django_jobqueue.worker.chains import Layer, async_chain, blocking, load, sync_chain
from django_jobqueue.worker.judge import Judge, announce, names, with_lock
from django_jobqueue.worker.middleware import AsyncPerform, Perform
from django_jobqueue.worker.outcome import Outcome
from django_jobqueue.worker.side_thread import SideThreads, aside
from django_jobqueue.worker.tracker import Tracker

logger = logging.getLogger("django_jobqueue.worker")


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
        tracker: Tracker | None = None,
    ) -> None:
        self._stopping = stopping
        self._inline = inline
        self._start_lock = start_lock
        self._tracker = tracker
        self._layers: list[Layer] = load(settings.server_middleware)
        self._chain: Perform = sync_chain(self._layers, _perform)
        self._registry = registry()
        self._signer = signer()
        self._judge = Judge(settings)
        self._side_threads = SideThreads()

    # In a thread -------------------------------------------------------------------

    def run(self, raw: bytes, queue: str) -> Outcome | None:
        """Run the job in these bytes of a queue; None means that it succeeded."""
        try:
            payload = Payload.decode(raw)
        except InvalidPayload as error:
            return self._judge.of_junk(raw, queue, error)
        try:
            if self._signer is not None and (bad := self._signer.fault(payload, queue)):
                return self._unsigned(payload, bad)
            if payload.fields.get("queue") != queue:
                payload = _found_in(queue, payload)
            return self.run_payload(payload, queue)[0]
        except BaseException as error:
            return self._judge.of_trouble(raw, queue, payload, error)

    def run_payload(self, payload: Payload, queue: str) -> tuple[Outcome | None, Any]:
        """Run a job; return its outcome, and what ``perform`` returned when it succeeded."""
        lock = lock_of(payload)
        result: Any = None
        outcome: Outcome | None
        try:
            job = self._prepare(payload, queue)
        except BaseException as error:
            outcome = self._judge.of_unfit(payload, error)
        else:
            if isinstance(job, Outcome):
                outcome = job
            else:
                outcome, result = self._attempt(job, lock)
        return (outcome if lock is None else with_lock(outcome, payload, lock)), result

    def _attempt(self, job: Job, lock: Lock | None) -> tuple[Outcome | None, Any]:
        payload = job.payload
        try:
            if lock is not None and self._tells_start(payload, lock):
                self._tell_start(payload, lock)
            if job_started.receivers:
                announce(job_started, type(job), payload)
            began = clock.monotonic()
            try:
                result = self._chain(job)
            except BaseException as error:
                self._note(payload, began, error)
                raise
            self._note(payload, began)
        except BaseException as error:
            return self._judge.of_error(job, error), None
        if not job._attempt.performed:
            return _skipped(payload), None
        if job_succeeded.receivers:
            announce(job_succeeded, type(job), payload, elapsed=_elapsed(job))
        return None, result

    # On an event loop ----------------------------------------------------------------

    async def run_async(self, raw: bytes, queue: str) -> Outcome | None:
        """
        Run the job in these bytes of a queue on this event loop; None means that it succeeded.

        In a task of its own, whose context it changes. What blocks (hooks, receivers of
        signals, middleware that is not async) runs in the job's side thread. A job
        that is cancelled while the worker stops is to go back to its queue.
        """
        try:
            payload = Payload.decode(raw)
        except InvalidPayload as error:
            return self._judge.of_junk(raw, queue, error)
        try:
            with self._side_threads.lent(partial(_beside, payload)):
                if self._signer is not None and (bad := self._signer.fault(payload, queue)):
                    return await aside(self._fail, payload, self._unsigned, payload, bad)
                if payload.fields.get("queue") != queue:
                    payload = _found_in(queue, payload)
                return await self._run_payload_async(payload, queue)
        except BaseException as error:
            return self._judge.of_trouble(raw, queue, payload, error)

    async def _run_payload_async(self, payload: Payload, queue: str) -> Outcome | None:
        lock = lock_of(payload)
        outcome: Outcome | None
        try:
            job = self._prepare(payload, queue)
        except BaseException as error:
            outcome = await aside(self._fail, payload, self._judge.of_unfit, payload, error)
        else:
            if isinstance(job, Outcome):
                outcome = job
            else:
                outcome = await self._attempt_async(job, lock)
        return outcome if lock is None else with_lock(outcome, payload, lock)

    async def _attempt_async(self, job: Job, lock: Lock | None) -> Outcome | None:
        payload = job.payload
        try:
            if not job._is_async:  # its bytes looked like another's
                return (await sync_to_async(self._attempt)(job, lock))[0]
            if lock is not None and self._tells_start(payload, lock):
                await sync_to_async(self._tell_start)(payload, lock)
            if job_started.receivers:
                await sync_to_async(self._announce)(job_started, job)
            began = clock.monotonic()
            try:
                await self._async_chain(job)
            except BaseException as error:
                if not self._is_given_back(error):
                    self._note(payload, began, error)
                raise
            self._note(payload, began)
        except BaseException as error:
            if self._is_given_back(error):
                logger.info(
                    "%s jid=%s was cancelled by the stop, and goes back to its queue",
                    *names(payload),
                    extra=log_facts(payload),
                )
                return Outcome(BACK)
            if isinstance(error, (Snooze, Skip)):
                return self._judge.of_error(job, error)
            return await aside(self._fail, payload, self._judge.of_error, job, error)
        if not job._attempt.performed:
            return _skipped(payload)
        if job_succeeded.receivers:
            await aside(self._announce, job_succeeded, job, elapsed=_elapsed(job))
        return None

    @cached_property
    def _async_chain(self) -> AsyncPerform:
        return async_chain(self._layers, _perform_async)

    def blocking_middleware(self) -> list[str]:
        """Return the names of server middleware that holds a thread for each async job."""
        return blocking(self._layers)

    def _is_given_back(self, error: BaseException) -> bool:
        return isinstance(error, asyncio.CancelledError) and self._stopping()

    def _fail(self, payload: Payload, judge: Callable[..., Outcome], *facts: Any) -> Outcome:
        """Judge a failure in the side thread: hooks and receivers may use the database."""
        with databases.fresh(_beside(payload)):
            return judge(*facts)

    def _announce(self, signal: Signal, job: Job, **facts: Any) -> None:
        with databases.fresh(_beside(job.payload)):
            announce(signal, type(job), job.payload, **facts)

    # In both ---------------------------------------------------------------------------

    def _prepare(self, payload: Payload, queue: str) -> Job | Outcome:
        """
        Return the job of a payload, or what becomes of it instead.

        Raises: UnknownJob, what ``Job.for_attempt`` does, and whatever the class's own
        ``__init__`` raises.
        """
        cls = self._registry.get(payload.job_class)
        if "expires_in" in payload.fields and _is_expired(payload):
            logger.info(
                "%s jid=%s expired before it started", *names(payload), extra=log_facts(payload)
            )
            return Outcome(EXPIRED)
        if switches().refuses(payload):
            stopped = _disabled(payload)
            if stopped is not None:
                return stopped
        attempt = Attempt(payload, queue, clock.monotonic(), self._stopping, inline=self._inline)
        return cls.for_attempt(attempt)

    def _unsigned(self, payload: Payload, error: BadSignature) -> Outcome:
        """Return what becomes of a job that a stranger may have written: nothing of it is run."""
        outcome, lock = self._judge.of_unfit(payload, error), lock_of(payload)
        return outcome if lock is None else with_lock(outcome, payload, lock)

    def _tells_start(self, payload: Payload, lock: Lock) -> bool:
        """Return whether a lock depends on the start of its job."""
        return self._start_lock is not None and (payload.unique_until_start or lock.rerun)

    def _tell_start(self, payload: Payload, lock: Lock) -> None:
        if self._start_lock is not None:
            self._start_lock(lock, payload.unique_until_start)

    def _note(self, payload: Payload, began: float, error: BaseException | None = None) -> None:
        """Count an attempt that came to the server middleware, as Sidekiq counts."""
        if self._tracker is not None:
            failed = error is not None and not isinstance(error, (Snooze, Skip, Discard))
            self._tracker.note(payload.job_class, clock.monotonic() - began, failed)


def _found_in(queue: str, payload: Payload) -> Payload:
    """Return a job that others have pushed, or moved: it is tried again there, as in Sidekiq."""
    return payload.replace(queue=queue)


def _disabled(payload: Payload) -> Outcome | None:
    """Return what becomes of a job whose kill switch is on; None where it runs all the same."""
    policy, name = policy_of(payload), payload.job_class
    if policy == "run":
        return None
    facts = log_facts(payload)
    if policy == "drop":
        logger.info("%s jid=%s dropped: its kill switch is on", *names(payload), extra=facts)
        return Outcome(DROPPED, job_class=name)
    logger.debug("%s jid=%s held: its kill switch is on", *names(payload), extra=facts)
    return Outcome(HELD, held(payload, "queue").encode(), job_class=name)


def _skipped(payload: Payload) -> Outcome:
    logger.info(
        "%s jid=%s skipped by a server middleware", *names(payload), extra=log_facts(payload)
    )
    return Outcome(SKIPPED)


def _elapsed(job: Job) -> float:
    return clock.monotonic() - job._attempt.started


def _beside(payload: Payload) -> str:
    return "A hook or a receiver of a signal of {} jid={}".format(*names(payload))


def _perform(job: Job) -> Any:
    return job.run()


async def _perform_async(job: Job) -> Any:
    return await job.run_async()


def _is_expired(payload: Payload) -> bool:
    limit = payload.expires_in
    if limit is None:
        return False
    since = payload.time("enqueued_at") or payload.time("created_at")
    return since is not None and clock.now() - since > limit
