"""Who works in the shop: processes with their beats and jobs, and people with their deeds."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import redis
from django.utils import timezone

from django_jobqueue import bulk, clock
from django_jobqueue.api import Filter
from django_jobqueue.conf import get_settings
from django_jobqueue.connection import store
from django_jobqueue.models import KillSwitchEvent, ReconcilerRun, ReconcilerState, Schedule
from django_jobqueue.payload import dump_json
from django_jobqueue.reconciliation.report import RunStatus
from django_jobqueue.store.keys import Keys
from django_jobqueue.switches import throwing
from django_jobqueue.switches.state import OFF, ON, State

from .backlog import Backlog
from .traffic import STOPPED

#: Of each process: host, threads, queues with weights, bytes, what it runs and for how long (s).
PROCESSES: tuple[tuple[str, int, dict[str, int], int, list[tuple[str, str, float]]], ...] = (
    (
        "worker-1", 10, {"billing": 6, "default": 3, "mail": 1}, 184_300,
        [
            ("shop.jobs.SendInvoice", "billing", 0.2), ("shop.jobs.ChargeCard", "billing", 1.4),
            ("shop.jobs.SendInvoice", "billing", 0.4), ("shop.jobs.SendDigest", "mail", 0.1),
        ],
    ),
    (
        "worker-2", 10, {"billing": 6, "default": 3, "mail": 1}, 191_870,
        [
            ("shop.jobs.ChargeCard", "billing", 2.2), ("shop.jobs.SendInvoice", "billing", 0.3),
            ("shop.jobs.SendDigest", "mail", 0.2),
        ],
    ),
    (
        "worker-3", 4, {"images": 1}, 412_650,
        [("shop.jobs.ResizeImages", "images", age) for age in (3.1, 9.6, 14.0, 1_260.0)],
    ),
    ("worker-4", 5, {"low": 1, "reconcilers": 1}, 152_200, []),
)  # fmt: skip

#: Seconds of the leases: nobody renews them while pictures are taken.
LEASE = 3_600.0


def beat(client: redis.Redis, keys: Keys, backlog: Backlog) -> None:
    """Let all processes give a sign of life."""
    for number, (host, threads, weights, rss, running) in enumerate(PROCESSES):
        pid, started = 20_113 + 7 * number, clock.now() - 52 * 60 + 4 * number
        identity = f"{host}.shop.example:{pid}:{number + 10:012x}"
        info = {
            "hostname": f"{host}.shop.example", "pid": pid, "started_at": started, "tag": "shop",
            "labels": ["v4.18.0"], "concurrency": threads, "queues": list(weights),
            "weights": [weights], "version": "django-jobqueue", "identity": identity,
        }  # fmt: skip
        facts: dict[str, str | int | float] = {
            "info": dump_json(info), "concurrency": threads, "busy": len(running),
            "beat": clock.now() - 2 - number, "rtt_us": 640 + 90 * number, "quiet": "false",
            "rss": rss,
        }  # fmt: skip
        store().claims.join(identity, LEASE)
        work: dict[str, str] = {}
        claims: dict[Any, Any] = {}
        for place, (job_class, queue, age) in enumerate(running):
            field = f"b{number}:{place}:{queue}"
            job = backlog.job(job_class, queue, age + 5)
            claims[field] = job.encode()
            work[field] = dump_json(
                {"queue": queue, "run_at": int(clock.now() - age), "payload": job.encode().decode()}
            )
        store().processes.record(identity, facts, work)
        client.delete(keys.claims(identity))
        if claims:
            client.hset(keys.claims(identity), mapping=claims)
        if number == 0:
            client.set(keys.leader, identity, ex=int(LEASE))


# Switches, reconcilers, orders ---------------------------------------------------------


def throw() -> None:
    """Let somebody throw switches."""
    _throw("disable_rebuild_index", ON, "ada", "admin", minutes=2_900)
    _throw("disable_rebuild_index", OFF, "ada", "admin", minutes=2_840)
    _throw("disable_resize_images", State.partial(25), "ben", "command", minutes=131)
    _throw("disable_sync_stock", ON, "ada", "admin", minutes=STOPPED)


def _throw(flag: str, state: State, actor: str, source: str, *, minutes: int) -> None:
    throwing.throw([flag], state, actor=actor, source=source)
    latest = KillSwitchEvent.objects.filter(flag=flag)[:1].get()
    # Past save(), which has an opinion on when it is.
    KillSwitchEvent.objects.filter(pk=latest.pk).update(
        at=timezone.now() - timedelta(minutes=minutes)
    )


def reconcile() -> None:
    """Let the reconcilers have run for a while."""
    now = timezone.now()
    keep_time()
    Schedule.objects.filter(name="search-index").update(paused=True)
    _ran("Invoices", RunStatus.DONE, now, found=220, pushed=6, oldest=41.0)
    _ran("Charges", RunStatus.FAILED, now, found=0, pushed=0, oldest=1_310.0, error=_REFUSED)
    _ran("Sync", RunStatus.DISABLED, now, found=1_904, pushed=0, oldest=None)


def keep_time() -> None:
    """Let every timetable have been served until now."""
    settings = get_settings()
    for entry in (*settings.periodic, *settings.reconcilers):
        slot = entry.next(clock.now()) or 0
        while slot > clock.now():
            slot -= entry.every or 86_400
        Schedule.objects.update_or_create(
            name=entry.name, defaults={"last_tick": slot, "pushed_tick": slot}
        )


_REFUSED = (
    'Traceback (most recent call last):\n  File "/srv/shop/shop/jobs.py", line 94, in '
    "get_queryset\ndjango.db.utils.OperationalError: the connection to the replica was lost"
)


def _ran(
    name: str, status: RunStatus, now: Any, *, found: int, pushed: int, oldest: float | None,
    error: str = "",
) -> None:  # fmt: skip
    name = f"shop.jobs.Schedule{name}"
    has_failed = status is RunStatus.FAILED
    ReconcilerState.objects.create(
        name=name, status=status, found=found, pushed=pushed, oldest_pending=oldest, error=error,
        started_at=now - timedelta(seconds=33), finished_at=now - timedelta(seconds=32),
        succeeded_at=now - timedelta(minutes=18 if has_failed else 2),
    )  # fmt: skip
    for number in range(26):
        at = now - timedelta(minutes=1 + 5 * number)
        fails = has_failed and number < 4
        ReconcilerRun.objects.create(
            name=name, started_at=at, finished_at=at + timedelta(seconds=0.4 + number % 5 / 3),
            status=RunStatus.FAILED if fails else _status(number), pages=0 if fails else 1,
            found=0 if fails else 180 + 13 * (number % 7), pushed=0 if fails else number % 9,
            duplicates=0 if fails else 170 + 11 * (number % 7), error=error if fails else "",
        )  # fmt: skip


def _status(number: int) -> RunStatus:
    return RunStatus.INTERRUPTED if number == 14 else RunStatus.DONE


def order() -> None:
    """Let orders over many jobs be done, stopped and under way."""
    now = clock.now()
    gone = Filter(error_class="smtplib.SMTPRecipientsRefused")
    _tell(
        bulk.Order(bulk.Verb.DELETE, "dead", gone, "ben", now - 9_000), state="done",
        total=503, looked_at=503, matched=41, done=41,
    )  # fmt: skip
    _tell(
        bulk.Order(bulk.Verb.KILL, "schedule", Filter(tag="nightly"), "ada", now - 4_000),
        state="stopped", total=2_310, looked_at=900, matched=88, done=86, gone=2,
    )  # fmt: skip
    _tell(
        bulk.Order(bulk.Verb.RETRY, "dead", Filter(error_class=_TOLD), "ada", now - 14),
        state="running", total=9_480, looked_at=3_600, matched=2_874, done=2_801, gone=4,
        disabled=52, duplicates=17,
    )  # fmt: skip


_TOLD = "payments.errors.GatewayError"


def _tell(given: bulk.Order, **fields: Any) -> None:
    id = f"{int(given.asked_at * 1000):024x}"
    records = store().bulk
    records.open(id, {"order": dump_json(given.as_dict())})
    records.begin(id, "worker-4")
    records.tell(id, "worker-4", {**fields, "updated_at": given.asked_at + 12})
