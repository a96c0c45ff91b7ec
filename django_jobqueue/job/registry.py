"""Which class a name in Redis stands for. Nothing is ever imported to find one."""

from __future__ import annotations

from collections.abc import Iterator

from django_jobqueue.exceptions import UnknownJob
from django_jobqueue.job.base import Job
from django_jobqueue.job.declaration import wire_name


class Registry:
    """
    The job classes of this process by wire name.

    It looks down at the subclasses of ``Job`` that were imported, anew when
    there are more of them than before.
    """

    def __init__(self) -> None:
        self._seen = -1
        self._classes: dict[str, type[Job]] = {}

    def get(self, name: str) -> type[Job]:
        """Return the class with this wire name. Raises: UnknownJob."""
        found = self._classes.get(name)
        if found is None:
            self._look()
            found = self._classes.get(name)
            if found is None:
                raise UnknownJob(name)
        return found

    def classes(self) -> list[type[Job]]:
        """Return all job classes that can run, by wire name."""
        self._look()
        return [cls for _, cls in sorted(self._classes.items(), key=lambda item: str(item[0]))]

    def queues(self) -> list[str]:
        """Return the names of all queues that a job class or its retries name, and ``default``."""
        names = {"default"}
        for cls in self.classes():
            names.add(cls.queue)
            if cls.retry_queue:
                names.add(cls.retry_queue)
        return sorted(names)

    def duplicates(self) -> dict[str, list[type[Job]]]:
        """Return the wire names that more than one class claims."""
        claims: dict[str, list[type[Job]]] = {}
        for cls in _concrete(Job):
            claims.setdefault(wire_name(cls), []).append(cls)
        return {name: classes for name, classes in claims.items() if len(classes) > 1}

    def _look(self) -> None:
        if self._seen != Job.definitions:
            seen = Job.definitions
            self._classes = {wire_name(cls): cls for cls in _concrete(Job)}
            self._seen = seen


def _concrete(parent: type[Job]) -> Iterator[type[Job]]:
    for cls in parent.__subclasses__():
        if not cls.abstract:
            yield cls
        yield from _concrete(cls)


_registry = Registry()


def registry() -> Registry:
    """Return this process's registry."""
    return _registry
