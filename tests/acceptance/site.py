"""One prefix on one server, with the workers of a test and what can be known about them."""

from __future__ import annotations

import json
import secrets
import sys
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from django_jobqueue import Job
from django_jobqueue.job.declaration import wire_name
from django_jobqueue.payload import Payload, new_jid, stamp
from django_jobqueue.store.store import Store
from tests.support.journal import Journal
from tests.support.polling import wait_until
from tests.support.prefixes import new_prefix
from tests.support.processes import Process, RunJobs
from tests.support.server import RedisServer

#: Seconds that a test waits for what should happen soon, on a machine that is busy.
SOON = 30.0

#: Seconds of the shortest lease that the settings allow.
LEASE = 15


def payload(job: type[Job] | str, *args: Any, **fields: Any) -> Payload:
    """Return a job as another program would push it; ``fields`` win, None leaves one out."""
    made = {
        "class": job if isinstance(job, str) else wire_name(job),
        "args": list(args),
        "jid": new_jid(),
        "queue": "default",
        "retry": True,
        "created_at": stamp(),
        "enqueued_at": stamp(),
        **fields,
    }
    return Payload({name: value for name, value in made.items() if value is not None})


class Site:
    """
    Workers, their jobs and their Redis keys.

    ``url`` is where the workers find Redis, when not where the test does: a proxy's;
    ``prefix`` is one of its own that nobody else has.
    A context manager: at its end every worker is killed.
    """

    def __init__(
        self, server: RedisServer, directory: Path, *, url: str | None = None, prefix: str = ""
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.server = server
        self.prefix = prefix or new_prefix()
        self.store = Store(server.url, prefix=self.prefix, timeout=10)
        self.keys = self.store.keys
        self.redis = server.client()
        self.journal = Journal(directory / "journal")
        self.workers: list[RunJobs] = []
        self._directory = directory
        self._url = url or server.url
        self._processes = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Kill the workers and clear the prefix. Idempotent."""
        self._processes.close()
        if self.server.is_running:
            keys = list(self.redis.scan_iter(match=f"{self.prefix}*", count=1000))
            for at in range(0, len(keys), 500):
                self.redis.unlink(*keys[at : at + 500])
        self.store.close()
        self.redis.close()

    # Workers ------------------------------------------------------------------------

    def run(
        self, *arguments: str, env: Mapping[str, str] | None = None, **overrides: Any
    ) -> RunJobs:
        """Start ``runjobs``; ``overrides`` are keys of JOBQUEUE. Returns at once."""
        worker = RunJobs(
            *arguments,
            url=self._url,
            prefix=self.prefix,
            directory=self._directory,
            journal=self.journal,
            overrides={"LEASE": LEASE, **overrides},
            env=env,
        )
        self.workers.append(self._processes.enter_context(worker))
        return worker

    def run_ready(
        self, *arguments: str, env: Mapping[str, str] | None = None, **overrides: Any
    ) -> RunJobs:
        """Start ``runjobs`` and return when its first child works."""
        worker = self.run(*arguments, env=env, **overrides)
        worker.wait_for_line(" threads on ")
        return worker

    def run_after(self, preparation: str, *arguments: str, **overrides: Any) -> Process:
        """Start ``runjobs`` in a process that first does ``preparation``, a line of Python."""
        script = (
            f"import os, sys; {preparation}; "
            "os.execv(sys.executable, [sys.executable, 'manage.py', 'runjobs', *sys.argv[1:]])"
        )
        process = Process(
            [sys.executable, "-c", script, *arguments],
            log_path=self._directory / f"prepared-{secrets.token_hex(4)}.log",
            env={
                "DJANGO_SETTINGS_MODULE": "tests.jobsite.settings",
                "JOBQUEUE_TEST_URL": self._url,
                "JOBQUEUE_TEST_PREFIX": self.prefix,
                "JOBQUEUE_TEST_JSON": json.dumps({"LEASE": LEASE, **overrides}),
                "JOBQUEUE_TEST_JOURNAL": str(self.journal.path),
                "JOBQUEUE_TEST_DATABASE": str(self._directory / "jobsite.sqlite3"),
            },
        )
        return self._processes.enter_context(process)

    def output(self) -> str:
        """Return what all workers said."""
        return "".join(worker.output() for worker in self.workers)

    # Jobs ---------------------------------------------------------------------------

    def push(self, job: type[Job] | str, *args: Any, **fields: Any) -> Payload:
        """Push one job, and return it as it stands in Redis."""
        made = payload(job, *args, **fields)
        self.push_all([made])
        return made

    def push_all(self, payloads: Iterable[Payload]) -> None:
        """Push jobs in one round trip, the first of a queue to run first."""
        with self.redis.pipeline(transaction=False) as pipe:
            for each in payloads:
                pipe.lpush(self.keys.queue(each.queue), each.encode())
                pipe.sadd(self.keys.queues, each.queue)
            pipe.execute()

    def schedule(self, at: float, job: type[Job], *args: Any, **fields: Any) -> Payload:
        """Schedule a job for epoch seconds, and return it as it stands in Redis."""
        made = payload(job, *args, enqueued_at=None, **fields)
        self.store.queues.push({}, [(at, made.encode())])
        return made

    def await_started(self, *idents: str, timeout: float = SOON) -> None:
        """Wait until each of these has started."""
        wait_until(
            lambda: self.journal.starts.keys() >= set(idents),
            timeout,
            lambda: f"the start of {set(idents) - self.journal.starts.keys()}{self._tails()}",
        )

    def await_finished(self, *idents: str, timeout: float = SOON) -> None:
        """Wait until each of these has finished."""
        wait_until(
            lambda: self.journal.finishes.keys() >= set(idents),
            timeout,
            lambda: f"the end of {self.missing(idents)}{self._tails()}",
        )

    def await_starts(self, count: int) -> None:
        """Wait until so many idents have started."""
        wait_until(
            lambda: len(self.journal.starts) >= count,
            SOON,
            lambda: f"{count} starts, not {len(self.journal.starts)}{self._tails()}",
        )

    def missing(self, idents: Iterable[str]) -> list[str]:
        """Return those of these that have not finished."""
        finishes = self.journal.finishes
        return [ident for ident in idents if ident not in finishes]

    def doubles(self) -> tuple[Counter[str], Counter[str]]:
        """Return the idents that started, and that finished, more than once, and how often more."""
        starts, finishes = self.journal.starts, self.journal.finishes
        return starts - Counter(starts.keys()), finishes - Counter(finishes.keys())

    # Redis --------------------------------------------------------------------------

    def queue(self, name: str = "default") -> list[bytes]:
        """Return the payloads of a queue, the next to run first."""
        return self.store.queues.page(name, 0, 100_000)

    def entries(self, name: str) -> list[Payload]:
        """Return the jobs in ``schedule``, ``retry`` or ``dead``, the earliest first."""
        return [Payload.decode(raw) for raw, _ in self.store.sets.page(name, 0, 100_000)]

    def counter(self, name: str) -> int:
        """Return one of the totals."""
        return self.store.stats.counters().get(name, 0)

    def identities(self) -> list[str]:
        """Return every process that has a lease."""
        return list(self.store.claims.leases())

    def identity(self, pid: int) -> str:
        """Return the identity of a worker process, once it has one."""

        def find() -> str | None:
            found = (name for name in self.identities() if name.split(":")[1] == str(pid))
            return next(found, None)

        return wait_until(find, SOON, lambda: f"a lease of process {pid}{self._tails()}")

    def held(self) -> dict[str, int]:
        """Return how many claims each process has, by its identity."""
        prefix = self.keys.claims("")
        names = [name.decode() for name in self.redis.scan_iter(match=f"{prefix}*", count=1000)]
        return {
            name.removeprefix(prefix): count
            for name in names
            if (count := self.store.claims.count(name.removeprefix(prefix)))
        }

    def await_settled(self, timeout: float = SOON) -> None:
        """Wait until nobody holds a claim and nothing waits in a queue."""
        names = self.store.queues.names
        wait_until(
            lambda: not self.held() and not any(self.store.queues.sizes(names()).values()),
            timeout,
            lambda: f"an end: {self.held()}, {self.store.queues.sizes(names())}{self._tails()}",
        )

    def leftovers(self) -> list[str]:
        """
        Return the keys that processes have left behind for good.

        What belongs to a process and does not expire; leases of processes that
        live are no leftovers, so ask when all have stopped.
        """
        ours = f"{self.keys.leases[: -len('leases')]}"
        lasting = {self.keys.counters, self.keys.leader, self.keys.epoch, self.keys.switches}
        found = []
        for name in self.redis.scan_iter(match=f"{self.prefix}*", count=1000):
            key = name.decode()
            of_a_process = key.startswith(ours) or key.removeprefix(self.prefix).count(":") >= 2
            is_statistic = key.startswith((self.keys.processed, self.keys.failed))
            if key in lasting or is_statistic or not of_a_process:
                continue
            if self.redis.ttl(name) < 0:
                found.append(key)
        return found

    def _tails(self) -> str:
        lines = []
        for worker in self.workers:
            said = [line for line in worker.output().splitlines() if " done in " not in line]
            lines += [f"--- {worker.pid}, {worker.returncode}", *said[-25:]]
        return "\n" + "\n".join(lines)


def elapse(seconds: float) -> None:
    """Let a fault last, or a moment come. Not to wait for an effect: that is ``wait_until``'s."""
    until = time.monotonic() + seconds
    wait_until(lambda: time.monotonic() >= until, seconds + SOON, "time to pass")


def tell(text: str) -> None:
    """Write a figure that was measured: pytest shows it with ``-rA``."""
    sys.stdout.write(f"{text}\n")


def count_lines(output: str, *texts: str) -> Sequence[int]:
    """Return how many lines contain each text."""
    lines = output.splitlines()
    return [sum(text in line for line in lines) for text in texts]
