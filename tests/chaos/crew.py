"""The workers of an experiment: one that is never hurt, and groups that are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.acceptance.site import Site
from tests.support.processes import RunJobs

#: What all workers are told. The jobs kill nobody, they are hit: however often.
SETTINGS: dict[str, Any] = {"POISON_CRASHES": 10_000, "POISON_RETRY_DELAY": 0.2}


#: What a reader has to know of that.
CROWDED = (
    "POISON_CRASHES is raised: these jobs are hit again and again and kill nobody, so none is "
    "to be buried for a death that it did not cause."
)


def await_work(worker: RunJobs) -> None:
    """Wait until a worker works. Who still starts has no handler yet, and dies of a SIGTERM."""
    worker.wait_for_line(" threads on ")


@dataclass(slots=True)
class Group:
    """One ``runjobs`` that may be hurt: a supervisor and its children."""

    worker: RunJobs
    children_killed: int = 0


@dataclass(slots=True)
class Crew:
    """
    The elder and the groups.

    A process judges others only when it is itself a lease old, so somebody has to
    live through it all for a killed group to be found: that is the elder.
    """

    site: Site
    concurrency: int
    #: Processes of each group, and of the elder.
    processes: int = 2
    elder_processes: int = 1
    env: Mapping[str, str] = field(default_factory=dict)
    #: Keys of JOBQUEUE beside the usual ones.
    settings: Mapping[str, Any] = field(default_factory=dict)
    groups: list[Group] = field(default_factory=list)
    elder: RunJobs = field(init=False)
    #: The exit codes of all that were asked to stop.
    codes: list[int] = field(default_factory=list)

    def start(self, groups: int) -> None:
        """Start the elder and so many groups, and return when all work."""
        self.elder = self._run(self.elder_processes)
        for _ in range(groups):
            self.add_group()
        for worker in self.everybody():
            await_work(worker)

    def add_group(self) -> Group:
        """Start a group; returns at once."""
        group = Group(self._run(self.processes))
        self.groups.append(group)
        return group

    def replace(self, group: Group) -> None:
        """Let go of a group that has ended, and start another."""
        group.worker.close()
        self.groups.remove(group)
        self.site.workers.remove(group.worker)
        self.add_group()

    def everybody(self) -> list[RunJobs]:
        """Return the workers that should be running."""
        return [self.elder, *(group.worker for group in self.groups)]

    def ready_children(self, group: Group, gone: set[str]) -> dict[int, str]:
        """
        Return the identities of a group's children that have begun to work, by their pids.

        ``gone`` are the killed: one that died a moment ago still has its lease.
        """
        alive = [name for name in self.site.identities() if name not in gone]
        by_pid = {int(name.split(":")[1]): name for name in alive}
        return {pid: by_pid[pid] for pid in group.worker.children() if pid in by_pid}

    def stop(self) -> None:
        """Ask everybody to stop, and wait until all have."""
        workers = self.everybody()
        for worker in workers:
            await_work(worker)
            worker.term()
        self.codes += [worker.wait(60) for worker in workers]

    def _run(self, processes: int) -> RunJobs:
        arguments = ["--processes", str(processes), "--concurrency", str(self.concurrency)]
        return self.site.run(*arguments, env=self.env, **{**SETTINGS, **self.settings})
