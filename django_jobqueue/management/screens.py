"""What several subcommands show: the overview, the queues, the processes and what runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from django_jobqueue.management import tables
from django_jobqueue.payload import printable
from django_jobqueue.reports.overview import Overview
from django_jobqueue.reports.processes import Processes, ProcessFacts, Running
from django_jobqueue.reports.queues import QueueFacts


def overview_lines(found: Overview, *, limit: int | None = None) -> Iterator[str]:
    """Yield how much was done, waits and runs, and then what wants a look."""
    processes = _counted(found.processes, "process", "processes")
    yield from tables.facts(
        (
            ("processed", f"{found.processed:,}{_lately(found)}"),
            ("failed", f"{found.failed:,}{_failed_lately(found)}"),
            ("busy", f"{found.busy:,} of {found.concurrency:,} in {processes}"),
            ("enqueued", found.enqueued),
            ("scheduled", found.scheduled),
            ("retries", found.retries),
            ("dead", found.dead),
            ("held", found.held),
        ),
        limit=limit,
    )
    for line in warnings(found):
        yield tables.cut(f"! {line}", limit)


def warnings(found: Overview) -> Iterator[str]:
    """Yield what wants a look, in a line each."""
    for flag, state in sorted((found.switches or {}).items()):
        share = "" if state == "on" else f" for {state} %"
        yield f"The kill switch {printable(flag)} is on{share}."
    for key in found.broken:
        yield f"The key {printable(key)} has a wrong type: somebody else has written it."
    for queue in found.queues:
        if queue.paused and queue.size:
            jobs = _counted(queue.size, "job", "jobs")
            yield f"The queue {printable(queue.name)} is paused, with {jobs} in it."
        if queue.unworked:
            jobs = _counted(queue.size, "job", "jobs")
            yield f"Nobody works the queue {printable(queue.name)}, with {jobs} in it."


def queue_lines(found: Sequence[QueueFacts], *, limit: int | None = None) -> Iterator[str]:
    """Yield a table of queues."""
    if not found:
        yield "There is no queue yet: nothing was ever pushed."
        return
    rows = (
        (queue.name, queue.size, tables.span(queue.latency), ", ".join(_state(queue)) or "ok")
        for queue in found
    )
    yield from tables.table(("QUEUE", "JOBS", "LATENCY", "STATE"), rows, limit=limit)


def process_lines(found: Processes, *, limit: int | None = None) -> Iterator[str]:
    """Yield a table of processes."""
    if not found.processes:
        yield "No process works."
        return
    rows = [
        (
            process.identity,
            f"{process.busy:,} of {process.concurrency:,}",
            tables.size(process.rss or None),
            tables.ago(process.started_at, found.at),
            ", ".join(process_states(process, found.leader)) or "ok",
            queues_of(process),
        )
        for process in found.processes
    ]
    head = ("PROCESS", "BUSY", "MEMORY", "STARTED", "STATE", "QUEUES")
    yield from tables.table(head, rows, limit=limit)


def work_lines(found: Running, *, limit: int | None = None) -> Iterator[str]:
    """Yield a table of the jobs that run."""
    if not found.jobs:
        yield "Nothing runs."
        return
    rows = [
        (work.jid, tables.span(work.elapsed), work.display_class, work.queue, work.process)
        for work in found.jobs
    ]
    head = ("JID", "RUNS", "CLASS", "QUEUE", "PROCESS")
    yield from tables.table(head, rows, limit=limit)


def process_states(process: ProcessFacts, leader: str | None) -> Iterator[str]:
    """Yield what there is to say of a process beside its numbers."""
    if process.quiet:
        yield "quiet"
    if process.lease is not None and process.lease < 0:
        yield "lease lost"
    if process.identity == leader:
        yield "leader"
    if process.embedded:
        yield "embedded"


def queues_of(process: ProcessFacts) -> str:
    """Return the queues that a process works, with their weights: ``high,5 low``."""
    weights = process.weights
    return " ".join(
        f"{name},{weights[name]}" if weights.get(name, 0) > 1 else name for name in process.queues
    )


def _state(queue: QueueFacts) -> Iterator[str]:
    if queue.broken:
        yield "no list"
    if queue.paused:
        yield "paused"
    if queue.unworked:
        yield "unworked"


def _lately(found: Overview) -> str:
    count = sum(point.processed for point in found.minutes)
    if not found.minutes:
        return ""
    return f" ({count:,} in the last {len(found.minutes)} min, {_rate(found, count)})"


def _failed_lately(found: Overview) -> str:
    count = sum(point.failed for point in found.minutes)
    done = sum(point.processed for point in found.minutes)
    if not done:
        return ""
    return f" ({count:,} in the last {len(found.minutes)} min, {tables.share(count / done)})"


def _rate(found: Overview, count: int) -> str:
    return f"{count / (60 * len(found.minutes)):.3g} a second"


def _counted(count: int, noun: str, plural: str) -> str:
    return f"{count:,} {noun if count == 1 else plural}"
