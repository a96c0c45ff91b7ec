"""What a run of a reconciler was, in the words that commands, models and logs share."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any


class RunStatus(StrEnum):
    """How a run ended, or that it has not."""

    RUNNING = "running"
    #: Every row was looked at.
    DONE = "done"
    #: ``max_per_run`` rows were; the next run goes on.
    LIMITED = "limited"
    #: The worker stops, or a switch was thrown; the next run goes on.
    INTERRUPTED = "interrupted"
    #: Redis lost its data meanwhile: what was pushed before may be gone.
    PARTIAL = "partial"
    FAILED = "failed"
    #: Its kill switch is on, or that of its job. No row was looked at.
    DISABLED = "skipped_disabled"
    #: The jobs that wait already are late. No row was looked at.
    BACKPRESSURE = "skipped_backpressure"

    @property
    def is_skip(self) -> bool:
        """Whether no row was looked at."""
        return self in (RunStatus.DISABLED, RunStatus.BACKPRESSURE)

    @property
    def is_success(self) -> bool:
        """Whether the run did all that it was allowed to."""
        return self in (RunStatus.DONE, RunStatus.LIMITED)


@dataclass(frozen=True, slots=True)
class RunReport:
    """
    One run. Times are epoch seconds.

    ``found`` rows were looked at; each of them was ``pushed``, or is a
    duplicate of a job on its way, cools down after its job died, is stopped by
    a kill switch or another middleware, or had an error. ``oldest`` is the
    age in seconds of the oldest row, where there is an ``age_field``; ``cursor``
    the key after which the next run goes on, as JSON; ``error`` a traceback, or
    some errors of rows.
    """

    name: str
    status: RunStatus
    started_at: float
    finished_at: float
    jid: str = ""
    exact: bool = False
    pages: int = 0
    found: int = 0
    pushed: int = 0
    duplicates: int = 0
    cooling: int = 0
    disabled: int = 0
    refused: int = 0
    errors: int = 0
    oldest: float | None = None
    cursor: str = ""
    error: str = ""

    @property
    def elapsed(self) -> float:
        """How long it took, in seconds."""
        return self.finished_at - self.started_at

    @property
    def is_eventful(self) -> bool:
        """Whether it is worth a record: jobs were missing, or something went wrong."""
        troubled = self.status in (RunStatus.FAILED, RunStatus.PARTIAL, RunStatus.INTERRUPTED)
        return bool(self.pushed or self.errors) or troubled

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return asdict(self)
