"""The worker processes, and what they run just now."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django_jobqueue.api import Process, ProcessSet, Work, WorkSet
from django_jobqueue.reports.moments import now
from django_jobqueue.reports.plain import Plain
from django_jobqueue.store.store import Store


@dataclass(frozen=True, slots=True)
class ProcessFacts(Plain):
    """
    One worker process as it told with its last beat, ``beat``.

    ``rss`` is in bytes, 0 if unknown. ``rtt`` and ``lease`` are in seconds: how long its beat took,
    and for how long its claims are safe; ``lease`` is None for one without, as Sidekiq's.
    ``weights`` has 0 for a queue without a weight. ``utilisation`` is the share of its threads and
    slots that run jobs, from 0.0 to 1.0.
    """

    identity: str
    hostname: str
    pid: int
    tag: str
    labels: tuple[str, ...]
    version: str
    started_at: datetime | None
    beat: datetime | None
    queues: tuple[str, ...]
    weights: dict[str, int]
    concurrency: int
    busy: int
    utilisation: float
    rss: int
    rtt: float
    lease: float | None
    quiet: bool
    embedded: bool


@dataclass(frozen=True, slots=True)
class Processes(Plain):
    """
    All processes that gave a sign of life within the last minute.

    ``leader`` is the identity of the one that promotes due jobs. ``silent`` has the leases
    (seconds from now; below 0 they are over) of processes that are here no more: their
    jobs are taken back once the lease is over.
    """

    at: datetime
    concurrency: int
    busy: int
    rss: int
    leader: str | None
    silent: dict[str, float]
    processes: tuple[ProcessFacts, ...]


@dataclass(frozen=True, slots=True)
class WorkFacts(Plain):
    """One job that runs; ``elapsed`` in seconds."""

    jid: str
    job_class: str
    display_class: str
    queue: str
    process: str
    thread: str
    run_at: datetime | None
    elapsed: float


@dataclass(frozen=True, slots=True)
class Running(Plain):
    """The jobs that run, as of the last beats: the one that runs longest first."""

    at: datetime
    jobs: tuple[WorkFacts, ...]


def processes(*, store: Store | None = None) -> Processes:
    """Return all processes. Raises: StoreError."""
    known = ProcessSet(store=store)
    found = tuple(map(facts_of, known))
    alive = {process.identity for process in found}
    return Processes(
        at=now(),
        concurrency=sum(process.concurrency for process in found),
        busy=sum(process.busy for process in found),
        rss=sum(process.rss for process in found),
        leader=known.leader,
        silent={name: left for name, left in known.leases().items() if name not in alive},
        processes=found,
    )


def work(*, store: Store | None = None) -> Running:
    """Return what runs. Raises: StoreError."""
    return Running(now(), tuple(map(_work_facts, WorkSet(store=store))))


def facts_of(process: Process) -> ProcessFacts:
    """Return what is reported of a process."""
    return ProcessFacts(
        identity=process.identity,
        hostname=process.hostname,
        pid=process.pid,
        tag=process.tag,
        labels=tuple(process.labels),
        version=process.version,
        started_at=process.started_at,
        beat=process.beat,
        queues=tuple(process.queues),
        weights=process.weights,
        concurrency=process.concurrency,
        busy=process.busy,
        utilisation=process.utilisation,
        rss=process.rss,
        rtt=process.rtt,
        lease=process.lease,
        quiet=process.is_quiet,
        embedded=process.embedded,
    )


def _work_facts(work: Work) -> WorkFacts:
    job = work.job
    return WorkFacts(
        jid=job.jid,
        job_class=job.job_class,
        display_class=job.display_class,
        queue=work.queue,
        process=work.process,
        thread=work.thread,
        run_at=work.run_at,
        elapsed=work.elapsed,
    )
