"""
What a project writes, with all the types that a strict project wants.

Nobody runs it: tests/test_typing.py has mypy read it as a project's own.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.contrib.auth.models import User
from django.db.models import QuerySet
from django.test import TestCase

from django_jobqueue import BulkResult, EnqueueResult, Job, Payload, Skip, Snooze, Status
from django_jobqueue.api import DeadEntry, DeadSet, Queue, Stats
from django_jobqueue.client.middleware import ClientMiddleware, Push
from django_jobqueue.idempotence import claim, transition
from django_jobqueue.reconciliation import Reconciler
from django_jobqueue.testing import (
    FakeOutlet,
    assert_heals,
    assert_idempotent,
    committing,
    disable_job,
    fake_jobs,
    inline_jobs,
    outbox,
    use_outlet,
)
from django_jobqueue.worker.middleware import AsyncPerform, Perform, ServerMiddleware

log = logging.getLogger(__name__)

# Jobs --------------------------------------------------------------------------------


class BackupJob(Job):
    queue = "backups"
    retry = 5
    unique_for = timedelta(minutes=10)
    unique_key = ("database_id",)
    timeout = 30

    def perform(self, database_id: int) -> None:
        left: float | None = self.time_left
        if self.stopping or (left is not None and left < 1):
            raise Snooze(timedelta(seconds=30))
        with claim(User, database_id) as user:
            user.get_full_name()
        if not transition(User, database_id, True, False, field="is_active"):
            raise Skip("done already")

    def retry_in(self, count: int, error: BaseException) -> timedelta | None:
        return timedelta(minutes=count + 1)

    def on_exhausted(self, error: BaseException) -> None:
        log.error("%s %d %s", self.jid, self.attempt, self.idempotency_key, exc_info=error)


class ReportJob(Job):
    async def perform(self, customer_id: int, *, notify: bool = False) -> str:
        return f"{customer_id} {notify}"


class MirrorJob(Job):
    @staticmethod
    def args_for(obj: User) -> Sequence[Any]:
        return (obj.pk, obj.username)

    def perform(self, pk: int, username: str) -> int:
        return pk


# Calls -------------------------------------------------------------------------------


def enqueue_all(rows: Sequence[tuple[int]], user: User) -> list[str]:
    jids: list[str | None] = [
        BackupJob.perform_async(7),
        BackupJob.perform_in(timedelta(minutes=5), 7),
        BackupJob.perform_in(5.0, 7),
        BackupJob.perform_at(datetime.now(UTC), 7),
        BackupJob.perform_with_jitter(7, max_wait=timedelta(minutes=30), min_wait=1),
        BackupJob.set(queue="urgent", retry=2, unique_for=None).perform_async(7),
        BackupJob.set(wait=timedelta(minutes=1)).set(tags=["slow"]).perform_async(7),
        MirrorJob.enqueue_for(user),
    ]
    bulk: BulkResult = BackupJob.perform_bulk(rows, spread=timedelta(hours=1))
    jids += bulk
    counts: int = bulk.pushed + bulk.duplicates + bulk.disabled + bulk.refused
    result: EnqueueResult = BackupJob.enqueue(7)
    if not result and result.status is Status.DUPLICATE:
        jids.append(result.existing_jid)
    log.info("%d, %s", counts, result.reason)
    return [jid for jid in jids if jid is not None]


# Healing -----------------------------------------------------------------------------


class ScheduleBackups(Reconciler):
    job = BackupJob
    grace = timedelta(minutes=1)
    age_field = "date_joined"

    def get_queryset(self) -> QuerySet[User]:
        return User.objects.filter(is_active=True)

    def args_for(self, row: User) -> Sequence[Any]:
        return (row.pk,)


# Middleware --------------------------------------------------------------------------


class Tenant:
    def __init__(self, push: Push) -> None:
        self._push = push

    def __call__(self, payload: Payload) -> Payload | None:
        return self._push(payload.replace(cattr={"tenant": "acme"}))


class AsTenant:
    def __init__(self, perform: Perform) -> None:
        self._perform = perform

    def __call__(self, job: Job) -> Any:
        return self._perform(job) if job.payload.context.get("tenant") else None


class Timed:
    async_capable = True

    def __init__(self, perform: Perform | AsyncPerform) -> None:
        self._perform = perform
        self._is_async = iscoroutinefunction(perform)
        if self._is_async:
            markcoroutinefunction(self)

    def __call__(self, job: Job) -> Any:
        return self._on_loop(job) if self._is_async else self._perform(job)

    async def _on_loop(self, job: Job) -> Any:
        began: float | None = job.time_left
        result = await self._perform(job)
        log.info("%s of %s", job.time_left, began)
        return result


CLIENT: list[type[ClientMiddleware]] = [Tenant]
SERVER: list[type[ServerMiddleware]] = [AsTenant, Timed]

# Looking inside ----------------------------------------------------------------------


def revive(jid: str) -> EnqueueResult | None:
    dead: DeadEntry | None = DeadSet().find(jid, budget=0.5)
    waiting: dict[str, int] = Stats().queues
    if dead is None or waiting.get("backups", 0) > 1_000:
        return None
    for job in Queue("backups"):
        log.info("%s %s", job.jid, job.args)
    return dead.retry()


# Tests -------------------------------------------------------------------------------


class BackupTests(TestCase):
    def test_a_backup_is_enqueued(self) -> None:
        with use_outlet(FakeOutlet()) as box, self.captureOnCommitCallbacks(execute=True):
            BackupJob.perform_async(7)
        assert box.args_of(BackupJob) == [[7]]
        ran: int = box.drain()
        assert ran == 1

    @fake_jobs()
    def test_a_backup_is_in_the_box(self) -> None:
        with committing():
            BackupJob.perform_in(timedelta(minutes=5), 7)
        outbox().assert_enqueued(BackupJob, args=[7], queue="backups", at=timedelta(minutes=5))
        outbox().assert_not_enqueued(ReportJob)
        with inline_jobs():
            ReportJob.perform_async(7)
        jobs: int = outbox().size(BackupJob)
        assert jobs == 1

    @disable_job(BackupJob, percent=30)
    def test_a_backup_is_stopped(self) -> None:
        with disable_job(BackupJob, ReportJob):
            assert BackupJob.perform_async(7) is None

    def test_a_backup_bears_a_repeat(self) -> None:
        assert_idempotent(BackupJob, 7, state=lambda: User.objects.count())
        assert_heals(ScheduleBackups)
