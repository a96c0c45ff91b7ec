"""The beat: keeps the lease of this process alive, and tells the world what it does."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Callable

from django_jobqueue import clock
from django_jobqueue.exceptions import (
    InvalidPayload,
    StoreError,
    StoreFull,
    StoreRefused,
    StoreUnavailable,
)
from django_jobqueue.payload import Payload, dump_json
from django_jobqueue.service import Outage, Service
from django_jobqueue.store.metrics import Counts, together
from django_jobqueue.store.store import Store
from django_jobqueue.worker.fetcher import Fetcher
from django_jobqueue.worker.held import Held
from django_jobqueue.worker.lease import Lease
from django_jobqueue.worker.options import WorkerOptions
from django_jobqueue.worker.tracker import Tracker

logger = logging.getLogger("django_jobqueue.worker")

#: Seconds between two beats, at most; a short lease has them closer.
BEAT = 10.0

#: What somebody may send through Redis, and the signal it stands for.
REMOTE_SIGNALS = {"TERM": signal.SIGTERM, "TSTP": signal.SIGTSTP, "TTIN": signal.SIGTTIN}


def beat_interval(lease: float) -> float:
    """Return the seconds between two beats of a lease of that many seconds."""
    return min(BEAT, lease / 4)


class Heartbeat(Service):
    """Beats on a connection and a thread of its own, so that no job and no queue delays it."""

    name = "heartbeat"

    def __init__(
        self,
        store: Store,
        identity: str,
        options: WorkerOptions,
        lease: Lease,
        fetcher: Fetcher,
        outage: Outage,
        send_signal: Callable[[int], None],
        tracker: Tracker,
    ) -> None:
        super().__init__(outage)
        self._store = store
        self._identity = identity
        self._options = options
        self._lease = lease
        self._fetcher = fetcher
        self._send_signal = send_signal
        self._tracker = tracker
        self._uncounted: dict[str, Counts] = {}
        self._started_at = clock.now()
        self._rtt_us = 0
        self._unrecorded = False
        self._unmeasured = False

    def tick(self) -> float:
        """Renew the lease, write the record, pass on a signal; return the seconds to the next."""
        sent_at = clock.monotonic()
        try:
            lapsed = self._store.claims.beat(self._identity, self._lease.seconds)
        except StoreUnavailable:
            self._lease.broken()
            raise
        self._lease.renewed(sent_at, lapsed=lapsed)
        self._rtt_us = int((clock.monotonic() - sent_at) * 1e6)
        self._fetcher.doubt()
        self._renew_locks()
        self._record()
        self._measure()
        if self._options.remote_signals:
            self._take_signal()
        return beat_interval(self._lease.seconds)

    def finish(self) -> None:
        """Write what was counted since the last beat, once nothing more is. After the loop."""
        self._store.close()  # its line may have gone dead since that beat
        try:
            self._measure()
        except StoreError as error:
            logger.warning("the last metrics of this process are lost: %s", error)

    def _measure(self) -> None:
        """Write what the jobs took. What a full Redis does not take comes with the next beat."""
        self._uncounted = together(self._uncounted, self._tracker.take())
        try:
            self._store.metrics.add(self._uncounted)
        except (StoreFull, StoreRefused) as error:
            if not self._unmeasured:
                logger.warning("the metrics of this process cannot be written: %s", error)
            self._unmeasured = True
        else:
            self._unmeasured = False

    def _take_signal(self) -> None:
        """Obey one order that was sent through Redis; whatever else stands there is no order."""
        name = self._store.processes.take_signal(self._identity)
        if name in REMOTE_SIGNALS:
            logger.warning("%s came through Redis", name)
            self._send_signal(REMOTE_SIGNALS[name])

    def _renew_locks(self) -> None:
        """Keep the locks of the jobs at work: a job may take longer than its lock lasts."""
        locks = self._fetcher.locks()
        if locks:
            self._store.locks.renew(locks)

    def _record(self) -> None:
        """Write the record; when Redis is full, people see an old one, and the work goes on."""
        try:
            self._store.processes.record(self._identity, self._facts(), self._work())
        except (StoreFull, StoreRefused) as error:
            if not self._unrecorded:
                logger.warning("the record of this process cannot be written: %s", error)
            self._unrecorded = True
        else:
            self._unrecorded = False

    def _facts(self) -> dict[str, str | int | float]:
        return {
            "info": dump_json(self._info()),
            "concurrency": self._slots(),
            "busy": len(self._fetcher.running()),
            "beat": clock.now(),
            "rtt_us": self._rtt_us,
            "quiet": "true" if self._fetcher.is_quiet else "false",
            "rss": _resident_kib(),
        }

    def _info(self) -> dict[str, object]:
        queues, capsules = self._options.queues, self._capsules()
        host, pid, _ = self._identity.rsplit(":", 2)
        return {
            "hostname": host,
            "started_at": self._started_at,
            "pid": int(pid),
            "tag": "",
            "concurrency": self._slots(),
            "queues": queues.names,
            "weights": [queues.weights for _ in capsules],
            "labels": [],
            "identity": self._identity,
            "version": "django-jobqueue",
            "embedded": False,
            "capsules": {
                name: {"concurrency": slots, "mode": queues.mode, "weights": queues.weights}
                for name, slots in capsules.items()
            },
        }

    def _capsules(self) -> dict[str, int]:
        """Return how many jobs run at a time, by where they run: Sidekiq's word is capsule."""
        capsules = {"default": self._options.concurrency}
        if self._options.async_concurrency:
            capsules["async"] = self._options.async_concurrency
        return capsules

    def _slots(self) -> int:
        return sum(self._capsules().values())

    def _work(self) -> dict[str, str]:
        offset = clock.now() - clock.monotonic()
        return {
            held.claim.field: dump_json(
                {
                    "queue": held.claim.queue,
                    "payload": _readable(held),
                    "run_at": int((held.started or held.since) + offset),
                }
            )
            for held in self._fetcher.running()
        }


def _readable(held: Held) -> str:
    """Return the payload as text, or nothing where it is none (it will be buried in a moment)."""
    try:
        return Payload.decode(held.claim.raw).encode().decode()
    except (InvalidPayload, RecursionError):
        return "{}"


def _resident_kib() -> int:
    """Return the resident memory of this process in KiB; 0 where the system does not tell."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 1024
    except OSError:
        return 0
