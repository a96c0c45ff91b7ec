"""A box in place of Redis: jobs are kept to be looked at, and run when the test says so."""

from __future__ import annotations

from collections.abc import Sequence

from django_jobqueue.client.outlet import Entry, use_outlet
from django_jobqueue.job.base import Job, wire_name
from django_jobqueue.worker.inline import InlineOutlet


class FakeOutlet:
    """
    Keeps what was pushed, encoded as Redis would hold it.

    ::

        with use_outlet(FakeOutlet()) as box:
            BackupJob.perform_async(7)
            assert box.args_of(BackupJob) == [[7]]
            box.drain()
    """

    def __init__(self) -> None:
        self.entries: list[Entry] = []

    def push(self, entries: Sequence[Entry]) -> None:
        """Keep the jobs."""
        self.entries.extend(entries)

    def __len__(self) -> int:
        return len(self.entries)

    def jobs_of(self, cls: type[Job]) -> list[Entry]:
        """Return what was pushed of one class, in order."""
        return [entry for entry in self.entries if entry.payload.job_class == wire_name(cls)]

    def args_of(self, cls: type[Job]) -> list[list[object]]:
        """Return the arguments of what was pushed of one class, in order."""
        return [entry.payload.args for entry in self.jobs_of(cls)]

    def clear(self) -> None:
        """Forget everything that was pushed."""
        self.entries.clear()

    def drain(self) -> int:
        """
        Run all jobs, also those that they enqueue, whatever their time; return how many ran.

        Raises what a job raises; it is out of the box then, the rest is still in it.
        """
        ran = 0
        inline = InlineOutlet()
        with use_outlet(self):
            while self.entries:
                inline.perform(self.entries.pop(0).raw)
                ran += 1
        return ran
