"""Which jobs run on the event loop: told from their bytes, before anything is decoded."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from django_jobqueue.exceptions import InvalidPayload
from django_jobqueue.job.base import Job
from django_jobqueue.job.declaration import wire_name
from django_jobqueue.job.registry import registry
from django_jobqueue.payload import Payload
from django_jobqueue.store.claims import Claim
from django_jobqueue.worker.options import WorkerOptions

#: How a payload begins that we have written.
_HEAD = b'{"class":"'

_BOTH = frozenset({True, False})


class Routing:
    """
    Tell jobs for the event loop from those for threads, and where each kind is found.

    What cannot be told is for a thread: there every job can run.
    """

    def __init__(self, classes: Iterable[type[Job]]) -> None:
        self._async_names: set[str] = set()
        self._kinds: dict[str, frozenset[bool]] = {}
        for cls in classes:
            if cls._is_async:
                self._async_names.add(wire_name(cls))
            for queue in (cls.queue, cls.retry_queue):
                if queue:
                    self._note(queue, cls._is_async)

    @property
    def has_async(self) -> bool:
        """Whether there is any job for the event loop."""
        return bool(self._async_names)

    def kinds_in(self, queue: str) -> frozenset[bool]:
        """Return whether jobs of a queue are async: True, False, or both where nobody knows."""
        return self._kinds.get(queue, _BOTH)

    def is_async(self, claim: Claim) -> bool:
        """
        Return whether a job runs on the event loop.

        Its queue is remembered: ``set(queue=...)`` puts jobs where no class says so.
        """
        found = _class_in(claim.raw) in self._async_names
        if found not in self.kinds_in(claim.queue):
            self._note(claim.queue, found)
        return found

    def _note(self, queue: str, is_async: bool) -> None:
        self._kinds[queue] = self._kinds.get(queue, frozenset()) | {is_async}


def with_routing(options: WorkerOptions) -> tuple[WorkerOptions, Routing | None]:
    """Return the options of a process as they hold: without async jobs it has no event loop."""
    routing = Routing(registry().classes())
    if options.async_concurrency and routing.has_async:
        return options, routing
    return replace(options, async_concurrency=0), None


def _class_in(raw: bytes) -> str:
    """Return the name of a job's class, or nothing where it cannot be read."""
    if raw.startswith(_HEAD):
        name = raw[len(_HEAD) : raw.find(b'"', len(_HEAD))]
        if b"\\" not in name and name.isascii():
            return name.decode()
    try:
        return Payload.decode(raw).job_class
    except (InvalidPayload, RecursionError):
        return ""
