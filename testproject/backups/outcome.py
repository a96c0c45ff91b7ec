"""What a demonstration has shown: the counts, and whether any of them must not be."""

from __future__ import annotations

from dataclasses import dataclass, field

#: Seconds a worker may take to stop.
STOP_TIMEOUT = 40.0


@dataclass(slots=True)
class Outcome:
    """What happened. Counts are of databases unless they say otherwise."""

    databases: int = 0
    #: Jobs that were enqueued in bulk.
    jobs: int = 0
    #: From the first of them until the queue was drained.
    seconds: float = 0.0
    #: One sentence a kill.
    kills: list[str] = field(default_factory=list)
    #: Jobs that ran when they were hit.
    hit: int = 0
    #: Jobs taken back from dead processes, as Redis counted them.
    recovered: int = 0
    #: Keys that were in Redis when it was flushed.
    flushed: int = 0
    #: From the flush until all that waited had a job again; None where that was not seen.
    healed: float | None = None
    #: Jobs that the kill switch stopped: at the door, and in the queue.
    refused: int = 0
    held: int = 0
    #: Held jobs that went back to the queue, and the seconds that it took.
    released: int = 0
    release_seconds: float = 0.0
    #: Starts beyond the first of each database.
    duplicates: int = 0
    #: Names of those that two jobs worked on at once.
    doubled: list[str] = field(default_factory=list)
    #: Names of those without a backup.
    lost: list[str] = field(default_factory=list)
    verified: int = 0
    #: What the restoring found, a sentence each.
    faults: list[str] = field(default_factory=list)
    exit_codes: dict[str, int | None] = field(default_factory=dict)

    @property
    def problems(self) -> list[str]:
        """What must not be, a sentence each; empty when all is well."""
        found = [f"{name} was not backed up" for name in self.lost]
        found += [f"{name} was backed up by two jobs at once" for name in self.doubled]
        found += self.faults
        if self.flushed and self.healed is None:
            found.append("after the flush some databases were left without a job")
        if self.released < self.held:
            found.append(f"{self.held - self.released} held jobs were not released")
        found += [
            f"{name} did not stop within {STOP_TIMEOUT:g} s"
            if code is None
            else f"{name} ended with exit code {code}"
            for name, code in self.exit_codes.items()
            if code != 0
        ]
        return found

    @property
    def table(self) -> list[tuple[str, str]]:
        """The summary, line by line."""
        healed = "never" if self.healed is None else f"after {self.healed:.1f} s"
        codes = ", ".join(
            "none" if code is None else str(code) for code in self.exit_codes.values()
        )
        return [
            ("databases", str(self.databases)),
            ("jobs", f"{self.jobs} (enqueued in bulk)"),
            ("seconds", f"{self.seconds:.1f}"),
            ("kills", f"{len(self.kills)} (kill -9, {self.hit} jobs running)"),
            ("recovered", f"{self.recovered} (jobs taken back from the dead)"),
            ("flushed", f"{self.flushed} (keys of Redis, all jobs there again {healed})"),
            ("refused", f"{self.refused} (jobs, while the kill switch was on)"),
            ("held", f"{self.held} (queued jobs, as long as it was on)"),
            ("released", f"{self.released} (of them, in {self.release_seconds:.1f} s)"),
            ("duplicates", f"{self.duplicates} (extra starts)"),
            ("doubled", f"{len(self.doubled)} (rows backed up by two jobs at once)"),
            ("lost", str(len(self.lost))),
            ("verified", f"{self.verified} archives restored, {len(self.faults)} faults"),
            ("exit codes", codes),
        ]
