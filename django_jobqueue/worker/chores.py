"""What every worker process looks after beside its jobs."""

from __future__ import annotations

import logging
from collections.abc import Collection

from django_jobqueue import clock, databases
from django_jobqueue.conf import Settings
from django_jobqueue.exceptions import PoisonPill, UnknownJob
from django_jobqueue.job.attempt import Attempt
from django_jobqueue.job.base import Job
from django_jobqueue.job.registry import registry
from django_jobqueue.payload import Payload, printable
from django_jobqueue.reconciliation.pairs import cooldown_of, reconcilers_of, timetable_of
from django_jobqueue.scheduling.epoch import EpochWatch
from django_jobqueue.scheduling.recovery import CrashPolicy
from django_jobqueue.scheduling.releaser import Releaser
from django_jobqueue.scheduling.ticker import Ticker
from django_jobqueue.scrubbing import hiding
from django_jobqueue.service import Outage, Service
from django_jobqueue.signals import job_died
from django_jobqueue.signing import signer
from django_jobqueue.store.store import Store
from django_jobqueue.switches.watcher import Watcher
from django_jobqueue.worker.eviction import EvictionWatch
from django_jobqueue.worker.judge import announce

logger = logging.getLogger("django_jobqueue.worker")


def crash_policy(settings: Settings) -> CrashPolicy:
    """Return what the settings say about jobs that kill their process."""
    return CrashPolicy(
        settings.poison_crashes,
        settings.poison_retry_delay,
        settings.poison_window,
        settings.timestamps,
        cooldown_of,
    )


def chores(store: Store, settings: Settings, outage: Outage, *, burst: bool) -> list[Service]:
    """
    Return what every process looks after beside its jobs: switches, timetables, lost data.

    With ``burst`` nothing of it makes new work: what is there is to be drained.
    """
    if burst:
        return [Watcher(outage), Releaser(store, outage)]
    ticker = Ticker(settings.periodic, settings.reconcilers, outage)

    def heal(turned_off: Collection[str]) -> None:
        """Run the reconcilers of jobs that may be enqueued again."""
        for job in turned_off:
            for reconciler in reconcilers_of(job):
                if (timetable := timetable_of(reconciler)) is not None:
                    ticker.trigger(timetable.name)

    found: list[Service] = [
        Watcher(outage, heal),
        Releaser(store, outage),
        ticker,
        EpochWatch(store, ticker.trigger_all, outage),
    ]
    if not settings.allow_eviction:
        found.append(EvictionWatch(store, outage))
    return found


def tell_of_poison(payload: Payload) -> None:
    """Run the death hook and the signal of a job that killed its processes."""
    error = PoisonPill(payload.crashes)
    cls = None
    with databases.fresh(f"The death of jid={printable(payload.jid)}", keep=False):
        try:
            cls = registry().get(payload.job_class)
            _exhaust(cls, payload, error)
        except UnknownJob:
            logger.error(
                "%s killed its workers, and its class is not known here",
                printable(payload.job_class),
            )
        except BaseException:
            logger.exception("jid=%s: on_exhausted failed", printable(payload.jid))
        announce(job_died, cls, payload, error=error)


def _exhaust(cls: type[Job], payload: Payload, error: PoisonPill) -> None:
    """Call the death hook, of a job whose signature is right."""
    ours = signer()
    if ours is not None and (bad := ours.fault(payload, payload.queue)):
        raise bad
    attempt = Attempt(payload, payload.queue, clock.monotonic())
    job = cls.for_attempt(attempt)
    with hiding(attempt.clear or ()):
        try:
            job.on_exhausted(error)
        except BaseException:
            logger.exception("jid=%s: on_exhausted failed", printable(payload.jid))
