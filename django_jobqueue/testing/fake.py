"""A box in place of Redis: jobs are kept to be looked at, and run when the test says so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from django_jobqueue.client.outlet import Entry, use_outlet
from django_jobqueue.job.base import Job, wire_name
from django_jobqueue.payload import Payload
from django_jobqueue.worker.inline import InlineOutlet


class FakeOutlet:
    """
    Keeps what was pushed, encoded as Redis would hold it. Unique jobs are kept once.

    ::

        with use_outlet(FakeOutlet()) as box:
            BackupJob.perform_async(7)
            assert box.args_of(BackupJob) == [[7]]
            box.drain()
    """

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        #: What a kill switch stopped while the box was drained.
        self.held: list[Payload] = []
        self._locks: dict[str, str] = {}

    def push(self, entries: Sequence[Entry], *, healing: bool = False) -> Mapping[int, str]:
        """Keep the jobs, without those whose like is here; see ``Outlet.push``."""
        left_out: dict[int, str] = {}
        for index, entry in enumerate(entries):
            jid = entry.payload.jid
            owner = self._locks.setdefault(entry.lock.digest, jid) if entry.lock else jid
            if owner == jid:
                self.entries.append(entry)
            else:
                left_out[index] = owner
        return left_out

    def __len__(self) -> int:
        return len(self.entries)

    def jobs_of(self, cls: type[Job]) -> list[Entry]:
        """Return what was pushed of one class, in order."""
        return [entry for entry in self.entries if entry.payload.job_class == wire_name(cls)]

    def args_of(self, cls: type[Job]) -> list[list[object]]:
        """Return the arguments of what was pushed of one class, in order."""
        return [entry.payload.args for entry in self.jobs_of(cls)]

    def clear(self) -> None:
        """Forget everything that was pushed, with the locks."""
        self.entries.clear()
        self.held.clear()
        self._locks.clear()

    def drain(self) -> int:
        """
        Run all jobs, also those that they enqueue, whatever their time; return how many ran.

        Raises what a job raises; it is out of the box then, the rest is still in it.
        """
        ran = 0
        inline = InlineOutlet()
        with use_outlet(self):
            while self.entries:
                entry = self.entries.pop(0)
                if entry.lock and entry.payload.unique_until_start:
                    self._free(entry)
                try:
                    inline.perform(entry.raw)
                finally:
                    self._free(entry)
                ran += len(inline.held) == 0
                self.held += inline.held
                inline.held.clear()
        return ran

    def _free(self, entry: Entry) -> None:
        if entry.lock and self._locks.get(entry.lock.digest) == entry.payload.jid:
            del self._locks[entry.lock.digest]
