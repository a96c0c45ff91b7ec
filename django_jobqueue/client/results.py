"""What a caller is told about a push."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum


class Status(Enum):
    """How a push ended."""

    PUSHED = "pushed"
    #: A client middleware stopped it.
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class EnqueueResult:
    """
    What ``Job.enqueue`` returns; true only when the job was accepted.

    ``jid`` is None unless pushed; ``reason`` is for people.
    """

    status: Status
    jid: str | None = None
    reason: str = ""

    def __bool__(self) -> bool:
        return self.status is Status.PUSHED


class BulkResult(list["str | None"]):
    """A list of jid or None, aligned with the rows of ``perform_bulk``, and its counts."""

    def __init__(self, jids: Iterable[str | None] = ()) -> None:
        super().__init__(jids)

    @property
    def pushed(self) -> int:
        """How many jobs were accepted."""
        return len(self) - self.refused

    @property
    def refused(self) -> int:
        """How many a client middleware stopped."""
        return self.count(None)
