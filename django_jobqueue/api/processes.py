"""The worker processes, and what they run, as people see them."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from django_jobqueue import clock, connection
from django_jobqueue.api.records import JobRecord, moment
from django_jobqueue.payload import dump_json, printable
from django_jobqueue.store.processes import Record
from django_jobqueue.store.store import Store


class Process:
    """
    A worker process as it told of itself with its last beat, up to ten seconds ago; also Sidekiq's.

    No property raises, whatever was written.
    """

    def __init__(self, store: Store, record: Record) -> None:
        self._store = store
        self._record = record
        self.identity = record.identity
        #: Everything that the process says of itself, unknown fields too; do not change.
        self.info: Mapping[str, Any] = _object(record.fields.get("info", b""))

    def __repr__(self) -> str:
        return f"<Process {printable(self.identity)}>"

    # What it is ----------------------------------------------------------------

    @property
    def hostname(self) -> str:
        """The host that it runs on."""
        return _text(self.info.get("hostname"))

    @property
    def pid(self) -> int:
        """Its process id there; 0 if unknown."""
        return _whole(self.info.get("pid"))

    @property
    def started_at(self) -> datetime | None:
        """When it started, in UTC."""
        return moment(_float(self.info.get("started_at")))

    @property
    def tag(self) -> str:
        """A word to know it by."""
        return _text(self.info.get("tag"))

    @property
    def labels(self) -> list[str]:
        """Further words."""
        return _texts(self.info.get("labels"))

    @property
    def version(self) -> str:
        """The program that it runs."""
        return _text(self.info.get("version"))

    @property
    def embedded(self) -> bool:
        """Whether it is part of another program. Then it takes no signals."""
        return self.info.get("embedded") is True

    # What it does --------------------------------------------------------------

    @property
    def queues(self) -> list[str]:
        """The queues that it works, in its order."""
        return _texts(self.info.get("queues"))

    @property
    def weights(self) -> dict[str, int]:
        """The weight of each queue; 0 for one that has none."""
        found: dict[str, int] = {}
        given = self.info.get("weights")
        for part in given if type(given) is list else [given]:
            if type(part) is dict:
                found |= {name: _whole(weight) for name, weight in part.items()}
        return found

    @property
    def queues_with_weights(self) -> dict[str, int]:
        """Each queue that it works with its weight, in its order; 0 for one without."""
        weights = self.weights
        return {name: weights.get(name, 0) for name in self.queues}

    @property
    def concurrency(self) -> int:
        """How many jobs it runs at once, at most."""
        return _whole(self.info.get("concurrency")) or _whole(self._field("concurrency"))

    @property
    def busy(self) -> int:
        """How many jobs it runs."""
        return _whole(self._field("busy"))

    @property
    def utilisation(self) -> float:
        """The share of its places that are taken, from 0.0 to 1.0; 0.0 where it has none."""
        # What it says of itself may not fit together.
        return min(self.busy, self.concurrency) / self.concurrency if self.concurrency else 0.0

    @property
    def beat(self) -> datetime | None:
        """When it wrote this, in UTC by its own clock."""
        return moment(_float(self._field("beat")))

    @property
    def rtt(self) -> float:
        """How long its last beat took to Redis and back, in seconds."""
        return _whole(self._field("rtt_us")) / 1e6

    @property
    def rss(self) -> int:
        """Its resident memory in bytes (in Redis stand KiB); 0 if unknown."""
        return _whole(self._field("rss")) * 1024

    @property
    def lease(self) -> float | None:
        """
        For how many seconds its claims are safe from recovery, when it was read.

        Below 0 it is over: others take its jobs back. None for a process without one,
        as Sidekiq's.
        """
        return self._record.lease

    @property
    def is_quiet(self) -> bool:
        """Whether it takes no new jobs."""
        return self._field("quiet") == "true"

    def stopping(self) -> bool:
        """Return whether it takes no new jobs, or is about to stop (Sidekiq's name for it)."""
        return self.is_quiet

    # What it may be told -------------------------------------------------------

    def quiet(self) -> bool:
        """
        Let it take no new jobs; what runs goes on. There is no way back but a restart.

        It obeys with its next beat, within ten seconds; an order that nobody takes is
        gone after a minute. Returns whether the process was still known; False also
        for an embedded one, which takes no orders.
        """
        return self._signal("TSTP")

    def stop(self) -> bool:
        """Let it stop as by SIGTERM, jobs that it cannot end given back; else as ``quiet``."""
        return self._signal("TERM")

    def dump_stacks(self) -> bool:
        """Let it log the stacks of all its threads (``dump_threads``); else as ``quiet``."""
        return self._signal("TTIN")

    def _signal(self, name: str) -> bool:
        return not self.embedded and self._store.processes.signal(self.identity, name)

    def _field(self, name: str) -> str:
        return self._record.fields.get(name, b"").decode(errors="replace")


class ProcessSet:
    """
    The worker processes that gave a sign of life within the last minute, by identity.

    Each iteration asks Redis, a hundred at a time. ``len()`` also counts processes that
    died a short while ago; ``cleanup`` takes those off the list. ``store`` is another
    Redis than the settings'.

    Raises, from every call: StoreUnavailable, StoreFull, StoreRefused.
    """

    def __init__(self, *, store: Store | None = None) -> None:
        self._given = store

    @property
    def _store(self) -> Store:
        return connection.store() if self._given is None else self._given

    def __len__(self) -> int:
        return self._store.processes.size()

    def __iter__(self) -> Iterator[Process]:
        store = self._store
        for record in store.processes.records():
            yield Process(store, record)

    def get(self, identity: str) -> Process | None:
        """Return one process, or None where it gave no sign of life for a minute."""
        store = self._store
        return next((Process(store, found) for found in store.processes.read([identity])), None)

    def cleanup(self) -> int:
        """Take processes off the list that gave no sign of life for a minute; return how many."""
        return self._store.processes.forget_lost()

    def leases(self) -> dict[str, float]:
        """
        Return the leases of all processes by identity, in seconds from now.

        Below 0 one is over, and the jobs of its process are taken back. One that is
        here and not in the set belongs to a process that died, or hangs.
        """
        return self._store.processes.leases()

    @property
    def total_concurrency(self) -> int:
        """How many jobs all processes run at once, at most."""
        return sum(process.concurrency for process in self)

    @property
    def total_rss(self) -> int:
        """The resident memory of all processes in bytes."""
        return sum(process.rss for process in self)

    @property
    def leader(self) -> str | None:
        """The identity of the process that promotes due jobs at the moment, if any."""
        return self._store.processes.leader()


class Work:
    """One job that a process runs, as it told with its last beat."""

    def __init__(self, process: str, thread: str, facts: bytes) -> None:
        #: The identity of the process, and what it calls the place where the job runs.
        self.process = process
        self.thread = thread
        self._facts = _object(facts)

    def __repr__(self) -> str:
        return f"<Work {self.job!r} process={printable(self.process)}>"

    @property
    def queue(self) -> str:
        """The queue that it came from."""
        return _text(self._facts.get("queue"))

    @property
    def run_at(self) -> datetime | None:
        """When it started, in UTC by the clock of its process, to the second."""
        return moment(_float(self._facts.get("run_at")))

    @property
    def elapsed(self) -> float:
        """For how many seconds it has been running; 0.0 if unknown."""
        since = _float(self._facts.get("run_at"))
        return 0.0 if since is None else max(0.0, clock.now() - since)

    @property
    def job(self) -> JobRecord:
        """The job. It stands among the claims of its process, so it has no verbs."""
        payload = self._facts.get("payload")
        if type(payload) is dict:  # as Sidekiq wrote it before 7.2
            payload = dump_json(payload)
        raw = payload.encode(errors="surrogatepass") if type(payload) is str else b""
        return JobRecord(raw, self.queue)

    @property
    def payload(self) -> JobRecord:
        """The job, by Sidekiq's name."""
        return self.job


class WorkSet:
    """
    The jobs that run, the one that runs longest first; of the last ten seconds, and moving.

    Iteration reads all of them, as many as the processes have threads and slots.
    ``len()`` is what the processes counted with their last beat. ``store`` is another
    Redis than the settings'.

    Raises, from every call: StoreUnavailable, StoreFull, StoreRefused.
    """

    def __init__(self, *, store: Store | None = None) -> None:
        self._given = store

    @property
    def _store(self) -> Store:
        return connection.store() if self._given is None else self._given

    def __len__(self) -> int:
        return self._store.processes.busy()

    def __iter__(self) -> Iterator[Work]:
        found = [Work(*each) for each in self._store.processes.work()]
        return iter(sorted(found, key=lambda work: -work.elapsed))

    def find(self, jid: str) -> Work | None:
        """Return the work on the job with this id, or None where none runs."""
        return next((work for work in self if work.job.jid == jid), None)


def _object(raw: bytes) -> dict[str, Any]:
    """Return a JSON object; an empty one for anything else."""
    try:
        found = json.loads(raw)
    except (ValueError, RecursionError):
        return {}
    return found if type(found) is dict else {}


def _text(value: object) -> str:
    return value if type(value) is str else ""


def _texts(value: object) -> list[str]:
    return [each for each in value if type(each) is str] if type(value) is list else []


def _float(value: object) -> float | None:
    """Return a number, also one that is written as text; None for anything else."""
    try:
        number = float(value) if type(value) in (int, float, str) else None  # type: ignore[arg-type]
    except (ValueError, OverflowError):
        return None
    return number if number is not None and math.isfinite(number) else None


def _whole(value: object) -> int:
    """Return a number from 0 on; 0 for anything else."""
    number = _float(value)
    return 0 if number is None else max(0, int(number))
