"""One Redis without a prefix, with a worker of Sidekiq and one of ours."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from django_jobqueue.api import DeadSet, ProcessSet, RetrySet, ScheduledSet
from django_jobqueue.payload import Payload
from django_jobqueue.store.store import Store
from tests.interop import notes, ruby
from tests.interop.notes import Note
from tests.support.journal import Journal
from tests.support.polling import wait_until
from tests.support.processes import Process, RunJobs
from tests.support.server import RedisServer

T = TypeVar("T")

#: Seconds that a test waits for what should happen soon, on a machine that is busy.
SOON = 30.0

#: How old versions of Sidekiq have times.
SECONDS = {"TIMESTAMPS": "seconds"}


class Fleet:
    """
    A Redis that both sides use, and what runs on it.

    ``ruby`` is Sidekiq's code to be asked; the workers are started when a test first asks for
    one, ``sidekiq`` for the queue "ruby" and ``django`` for "django", and serve all tests after
    it. So keep to your own jobs, and let nothing in Redis be counted but what is yours.
    The server has no ACL, whatever the run says: here all keys are without a prefix.
    """

    def __init__(self, server: RedisServer, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.url = f"redis://127.0.0.1:{server.port}/0"
        self.redis = server.client()
        self.store = Store(self.url, timeout=10)
        self.notes_path = directory / "notes"
        self._directory = directory
        self._stack = ExitStack()
        self._env = {"REDIS_URL": self.url, notes.VARIABLE: str(self.notes_path)}
        self.ruby = self._stack.enter_context(
            ruby.Ruby({**os.environ, **self._env}, directory / "ruby.log")
        )
        self._sidekiq: Process | None = None
        self._django: RunJobs | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stack.close()
        self.store.close()
        self.redis.close()

    # Workers ------------------------------------------------------------------------

    @property
    def sidekiq(self) -> Process:
        """The Ruby worker of all tests."""
        if self._sidekiq is None:
            self._sidekiq = self.start_sidekiq("ruby")
        return self._sidekiq

    @property
    def django(self) -> RunJobs:
        """The Django worker of all tests, with times as Sidekiq 6.4 reads them."""
        if self._django is None:
            self._django = self.start_django("-q", "django")
        return self._django

    def start_sidekiq(self, *queues: str) -> Process:
        """Start another Ruby worker."""
        number = sum(1 for _ in self._directory.glob("sidekiq-*.log"))
        return self._stack.enter_context(
            Process(
                ruby.worker_command(*queues),
                log_path=self._directory / f"sidekiq-{number}.log",
                env=self._env,
            )
        )

    def start_django(self, *arguments: str, **overrides: Any) -> RunJobs:
        """Start another Django worker, and return when it works."""
        worker = RunJobs(
            *arguments,
            url=self.url,
            prefix="",
            directory=self._directory,
            journal=Journal(self._directory / "journal"),
            overrides={"LEASE": 15, **SECONDS, **overrides},
            env={**self._env, "JOBQUEUE_TEST_APPS": "tests.interop"},
        )
        self._stack.enter_context(worker)
        worker.wait_for_line(" threads on ")
        return worker

    def identity(self, worker: Process) -> str:
        """Return the identity of a worker on either side, or of its child, once it has one."""

        def find() -> str | None:
            pids = {worker.pid, *worker.children()}
            found = (each.identity for each in self.processes if each.pid in pids)
            return next(found, None)

        return wait_until(find, SOON, lambda: f"the record of a process\n{worker.output()}")

    def await_work(self, key: str, jid: str) -> None:
        """Wait until the hash of what a process runs has a job."""
        self.wait(
            f"the record of {jid}",
            lambda: any(jid.encode() in running for running in self.redis.hvals(key)),
        )

    # What the jobs said -------------------------------------------------------------

    def notes(self, jid: str) -> list[Note]:
        """Return what a job wrote, in all its runs."""
        return [note for note in notes.read(self.notes_path) if note.jid == jid]

    def runs(self) -> Counter[str]:
        """Return how often each job has begun, by jid."""
        return Counter(note.jid for note in notes.read(self.notes_path))

    def await_notes(self, jid: str, count: int = 1) -> list[Note]:
        """Wait until a job has begun so many times, and return what it wrote."""

        def enough() -> list[Note] | None:
            found = self.notes(jid)
            return found if len(found) >= count else None

        return wait_until(enough, SOON, lambda: f"{count} runs of {jid}{self._tails()}")

    def await_all(self, jids: Iterable[str]) -> list[Note]:
        """Wait until each of these has begun, and return what they first wrote, in this order."""
        wanted = list(jids)

        def all_of_them() -> dict[str, Note] | None:
            found = {note.jid: note for note in reversed(notes.read(self.notes_path))}
            return found if found.keys() >= set(wanted) else None

        found = wait_until(all_of_them, SOON, lambda: f"the start of {len(wanted)}{self._tails()}")
        return [found[jid] for jid in wanted]

    def wait(self, what: str, look: Callable[[], T | None]) -> T:
        """Wait until a look finds something true, and return that."""
        return wait_until(look, SOON, lambda: f"{what}{self._tails()}")

    def _tails(self) -> str:
        workers = [each for each in (self._sidekiq, self._django) if each is not None]
        return "".join(f"\n--- {each.pid}\n{each.output()[-3000:]}" for each in workers)

    # What stands in Redis -------------------------------------------------------------

    @property
    def scheduled(self) -> ScheduledSet:
        """Our view of the schedule."""
        return ScheduledSet(store=self.store)

    @property
    def retries(self) -> RetrySet:
        """Our view of the retry set."""
        return RetrySet(store=self.store)

    @property
    def dead(self) -> DeadSet:
        """Our view of the dead set."""
        return DeadSet(store=self.store)

    @property
    def processes(self) -> ProcessSet:
        """Our view of the processes, of both sides."""
        return ProcessSet(store=self.store)

    def queue(self, name: str) -> list[Payload]:
        """Return the jobs of a queue, the next to run first."""
        return [Payload.decode(raw) for raw in reversed(self.raw_queue(name))]

    def raw_queue(self, name: str) -> list[bytes]:
        """Return the bytes of a queue, the last pushed first."""
        found: Any = self.redis.lrange(f"queue:{name}", 0, -1)
        return list(found)

    def copies(self, jid: str) -> dict[str, int]:
        """Return how often a job stands in Redis, by the key: in queues, sets and claims."""
        found: dict[str, int] = {}
        for name in self.redis.scan_iter(count=1000):
            key, kind = name.decode(), self.redis.type(name)
            if kind == b"list":
                members: Any = self.redis.lrange(name, 0, -1)
            elif kind == b"zset":
                members = self.redis.zrange(name, 0, -1)
            elif key.startswith("jq:claims:"):
                members = self.redis.hvals(name)
            else:
                continue
            count = sum(jid.encode() in member for member in members)
            if count:
                found[key] = count
        return found
