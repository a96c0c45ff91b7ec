"""What stands in Redis and the database before a life, what must become of it, and who helps."""

from __future__ import annotations

import shutil
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.conf import settings as django_settings
from django.core.management import call_command
from django.db import connection, connections
from django.test import override_settings
from waffle.models import Flag

from django_jobqueue import Job, databases
from django_jobqueue import connection as own_connection
from django_jobqueue.job.declaration import wire_name
from django_jobqueue.job.disabled import held
from django_jobqueue.models import Schedule
from django_jobqueue.payload import Payload, stamp
from django_jobqueue.scheduling.firing import timetables as find_timetables
from django_jobqueue.unique import digest
from tests.acceptance.site import Site, payload
from tests.crash import jobs
from tests.healing.models import Order

#: The queues, the first one first.
QUEUES = ("default", "aio", "low")

#: A process that died before the life begins, and is declared dead; and a child that has just
#: died, which nobody knows but who supervises it.
ELSEWHERE, CHILD = "elsewhere:1:0123456789ab", "elsewhere:2:0123456789ab"

#: The switches: thrown before the life, and turned off in it; on for good.
TURNED_OFF, STAYS_ON = "disable_switched_job", "disable_stopped_job"

#: Bytes that are no payload.
JUNK = b"{no payload"

#: Seconds between two slots of the timetables.
PERIOD = 3600.0

#: The rows that need a job.
ROWS = 2

#: Attempts that fail and are counted, in a life without a crash: the junk is one.
FAILURES = 4

#: Ends.
FINISHED, DEAD, HELD, GONE = "finished", "dead", "held", "gone"


@dataclass(frozen=True, slots=True)
class Fate:
    """
    What must become of a job: how it ends, and how often it starts while nobody crashes.

    ``tried`` are the attempts it had before the life, and ``crashes`` the workers that had
    died of it.
    """

    ident: str
    starts: int = 1
    end: str = FINISHED
    tried: int = 0
    crashes: int = 0


class World:
    """One life: keys, a database and a journal that nobody else has, and the jobs in them."""

    def __init__(self, site: Site, directory: Path, template: Path) -> None:
        self.site = site
        self.database = directory / "database.sqlite3"
        self.trace = directory / "trace"
        self.log = directory / "log"
        self.fates: dict[str, Fate] = {}
        shutil.copyfile(template, self.database)
        self._settings = {
            **django_settings.JOBQUEUE,
            "REDIS_URL": site.server.socket_url,
            "KEY_PREFIX": site.prefix,
            **_timetables(),
        }

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Have this process work here."""
        connections.close_all()
        connection.settings_dict["NAME"] = str(self.database)
        with override_settings(JOBQUEUE=self._settings):
            try:
                yield
            finally:
                own_connection.store().close()
                connections.close_all()

    def ready_to_fork(self) -> None:
        """Let go of what a fork must not share."""
        databases.close_for_fork()
        own_connection.store().close()
        own_connection.forget()

    # What stands there ----------------------------------------------------------------

    def fill(self) -> None:
        """Put the jobs where they stand before the life. To be called where it is entered."""
        self._fill_slots()
        self._fill_queues()
        self._fill_sets()
        self._fill_claims()

    def _fill_slots(self) -> None:
        """Let one slot of each timetable be due."""
        before = time.time() - PERIOD
        for timetable in find_timetables().values():
            slot = timetable.latest(before)
            assert slot is not None
            Schedule.objects.create(name=timetable.name, last_tick=slot, pushed_tick=slot)

    def _fill_queues(self) -> None:
        for number in (1, 2):
            self._push(jobs.OnceJob, f"once{number}")
            self._push(jobs.SteadyJob, f"steady{number}")
        self._push(jobs.StumblingJob, "stumbling", starts=2)
        self._push(jobs.DyingJob, "dying", starts=2, end=DEAD)
        self._push(jobs.ParentJob, "parent")
        drowsy = payload(jobs.DrowsyJob, "drowsy", unknown_since=stamp())
        self._put(drowsy, Fate("drowsy", starts=2))
        self._push(jobs.OnceMoreJob, "more")
        self._push(jobs.OnceStartedJob, "started")
        self._push(jobs.SwitchedJob, "switched")
        self._push(jobs.StoppedJob, "stopped", starts=0, end=HELD)
        self._push(jobs.GivenUpJob, "given-up", end=GONE)
        expired = payload(
            jobs.SteadyJob, "expired", expires_in=1.0, enqueued_at=stamp(time.time() - 60)
        )
        self._put(expired, Fate("expired", starts=0, end=GONE))
        for crashes in (1, 2):
            ident = f"fragile{crashes}"
            self._put(_fragile(ident, crashes), Fate(ident, crashes=crashes))
        self.site.redis.lpush(self.site.keys.queue("default"), JUNK)
        for number in (1, 2):
            self._push(jobs.AwaitedJob, f"awaited{number}")

    def _fill_sets(self) -> None:
        redis, keys, past = self.site.redis, self.site.keys, time.time() - 5
        for job in (jobs.SteadyJob, jobs.OnceJob, jobs.SwitchedJob):
            ident = f"due-{job.__name__}"
            jid = job.perform_in(3600, ident)
            assert jid is not None
            self.fates[jid] = Fate(ident)
        self.ripen()
        retried = payload(
            jobs.SteadyJob, "retried", retry_count=0, error_class="E", error_message="",
            failed_at=stamp(past), enqueued_at=None,
        )  # fmt: skip
        self.fates[retried.jid] = Fate("retried", tried=1)
        redis.zadd(keys.retry, {retried.encode(): past})
        lifted = held(payload(jobs.LiftedJob, "lifted"), "queue")
        self.fates[lifted.jid] = Fate("lifted")
        redis.zadd(keys.held(lifted.job_class), {lifted.encode(): past})
        redis.sadd(keys.held_classes, lifted.job_class)

    def _fill_claims(self) -> None:
        """Fill those of a process that has died, a suspect of its among them, and of a child."""
        guilty = _fragile("guilty", 2)
        self.fates[guilty.jid] = Fate("guilty", starts=0, end=DEAD)
        left = [self._take("left"), self._take("left-once", jobs.OnceJob), guilty.encode()]
        self._claim(ELSEWHERE, left, {"suspect": "1:3:default"}, lease=0)
        orphans = [self._take("orphan"), self._take("orphan-once", jobs.OnceJob)]
        self._claim(CHILD, orphans, {}, lease=int(time.time() + 3600) * 1000)

    def _take(self, ident: str, job: type[Job] = jobs.SteadyJob) -> bytes:
        """Push a job, and take it out of its queue."""
        self._push(job, ident)
        raw = self.site.redis.lpop(self.site.keys.queue(job.queue))
        assert isinstance(raw, bytes)
        return raw

    def _claim(
        self, identity: str, taken: list[bytes], more: dict[str, str], *, lease: int
    ) -> None:
        keys = self.site.keys
        fields: dict[Any, Any] = {f"1:{n}:default": raw for n, raw in enumerate(taken, 1)}
        fields |= more
        self.site.redis.hset(keys.claims(identity), mapping=fields)
        self.site.redis.zadd(keys.leases, {identity: lease})
        self.site.redis.sadd(keys.processes, identity)

    def push_late(self) -> None:
        """Push some more, as somebody else does while the worker lives."""
        for number in range(5):
            late = payload(jobs.SteadyJob, f"late{number}", queue="low")
            # Accepted before it is there: a crash meanwhile is none of the client's.
            self._put(late, Fate(f"late{number}"))

    def _push(self, job: type[Job], ident: str, **fate: Any) -> None:
        jid = job.perform_async(ident)
        assert jid is not None, ident
        self.fates[jid] = Fate(ident, **fate)

    def _put(self, job: Payload, fate: Fate) -> None:
        self.fates[job.jid] = fate
        self.site.redis.lpush(self.site.keys.queue(job.queue), job.encode())
        self.site.redis.sadd(self.site.keys.queues, job.queue)

    # What others do meanwhile --------------------------------------------------------------

    def ripen(self) -> None:
        """Let the time of everything come that waits for one, and the leader's term end."""
        self.site.redis.delete(self.site.keys.leader)
        redis: Any = self.site.redis
        for name in ("schedule", "retry"):
            key = self.site.keys.sorted_set(name)
            entries = redis.zrange(key, 0, -1)
            if entries:
                redis.zadd(key, dict.fromkeys(entries, time.time() - 1), xx=True)

    def turn_off(self) -> None:
        """Turn one of the switches off, in the database and past every signal."""
        with closing(sqlite3.connect(self.database, timeout=30)) as base, base:
            base.execute("UPDATE waffle_flag SET everyone = 0 WHERE name = ?", [TURNED_OFF])

    def declare_dead(self, *identities: str) -> None:
        """Say that processes are dead, as a supervisor does when it has reaped them."""
        for identity in identities:
            self.site.store.claims.declare_dead(identity)

    # What is asked -----------------------------------------------------------------------

    def has_queued(self) -> bool:
        """Whether a job waits in a queue."""
        keys = self.site.keys
        with self.site.redis.pipeline(transaction=False) as pipe:
            for name in QUEUES:
                pipe.exists(keys.queue(name))
            return any(pipe.execute())

    def left_to_do(self, identity: str | None = None) -> list[str]:
        """Return what is left to do: for the process with this identity, or for those that live."""
        redis, keys = self.site.redis, self.site.keys
        moving = [keys.schedule, keys.retry, *map(keys.queue, QUEUES)]
        moving += (keys.held(wire_name(job)) for job in (jobs.SwitchedJob, jobs.LiftedJob))
        waits = [name for name in moving if redis.exists(name)]
        waits += (f"the claims of {name}" for name in self.site.held())
        if identity is None:
            begun = time.time() - PERIOD
            waits += (f"a slot of {name}" for name, slot in self.slots().items() if slot <= begun)
        else:
            waits += (f"the lease of {n}" for n in self.site.identities() if n != identity)
        return [*waits, *self.undone()]

    def undone(self) -> list[str]:
        """Return what the database says is not done yet."""
        with closing(sqlite3.connect(self.database, timeout=30)) as base:
            rows = base.execute("SELECT id FROM healing_order WHERE state != 'done'").fetchall()
        return [*(f"row {pk}" for (pk,) in rows), *(f"slot of {n}" for n in self.unsettled())]

    def unsettled(self) -> dict[str, int]:
        """Return the slots that were claimed, and not noted as pushed."""
        with closing(sqlite3.connect(self.database, timeout=30)) as base:
            return dict(
                base.execute(
                    "SELECT name, last_tick FROM django_jobqueue_schedule"
                    " WHERE pushed_tick < last_tick"
                )
            )

    def slots(self) -> dict[str, int]:
        """Return the last slot of each timetable that was claimed."""
        with closing(sqlite3.connect(self.database, timeout=30)) as base:
            return dict(base.execute("SELECT name, last_tick FROM django_jobqueue_schedule"))


def _fragile(ident: str, crashes: int) -> Payload:
    return payload(jobs.FragileJob, ident, crashes=crashes, crashed_at=stamp())


def _timetables() -> dict[str, Any]:
    """Return settings by which no slot comes in the middle of a life: half an hour is between."""
    minute = (int(time.time()) // 60 + 30) % 60
    hourly = {"cron": f"{minute} * * * *"}
    return {
        "PERIODIC": {"hourly": {"job": "tests.crash.jobs.HourlyJob", **hourly}},
        "RECONCILERS": {"tests.crash.jobs.ScheduleRows": hourly},
    }


def hourly_lock(slot: int) -> str:
    """Return the digest of the lock that the job of a slot takes: it lasts for an hour."""
    return digest("hourly", slot)


def make_template(path: Path) -> None:
    """Make the database that every life begins with: rows, and thrown switches."""
    connection.close()
    connection.settings_dict["NAME"] = str(path)
    # Nobody is to be told of the switches: there is no Redis yet.
    with override_settings(JOBQUEUE={**django_settings.JOBQUEUE, "OUTLET": "fake"}):
        call_command("migrate", verbosity=0, run_syncdb=True)
        for name in (TURNED_OFF, STAYS_ON):
            Flag.objects.update_or_create(name=name, defaults={"everyone": True})
        Order.objects.bulk_create([Order() for _ in range(ROWS)])
        connections.close_all()
