"""What a caller is told about a push."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from django_jobqueue.payload import Payload


class Status(Enum):
    """How a push ended."""

    PUSHED = "pushed"
    #: A client middleware stopped it.
    REFUSED = "refused"
    #: Its kill switch is on.
    DISABLED = "disabled"
    #: A unique job with the same arguments is on its way.
    DUPLICATE = "duplicate"
    #: The job of this row died a short while ago. Only a reconciler is told so.
    COOLING = "cooling"
    #: It is not where it was seen: somebody else has moved it. Only ``api`` answers so.
    GONE = "gone"


@dataclass(frozen=True, slots=True)
class EnqueueResult:
    """
    What ``Job.enqueue`` returns; true only when the job was accepted.

    ``status`` says how it ended; ``jid`` is None unless pushed; ``existing_jid`` is
    the job that a duplicate is one of; ``reason`` is for people.
    """

    status: Status
    jid: str | None = None
    existing_jid: str | None = None
    reason: str = ""

    def __bool__(self) -> bool:
        return self.status is Status.PUSHED


@dataclass(slots=True)  # not frozen: that would take three times as long to make
class Answer:
    """What became of one payload of a push: accepted as ``payload``, or why not."""

    status: Status
    payload: Payload
    existing_jid: str | None = None

    @property
    def jid(self) -> str | None:
        """The jid of an accepted job, else None."""
        return self.payload.jid if self.status is Status.PUSHED else None


class BulkResult(list["str | None"]):
    """A list of jid or None, aligned with the rows of ``perform_bulk``, and its counts."""

    def __init__(self) -> None:
        super().__init__()
        self._counts: Counter[Status] = Counter()

    def add(self, answers: Iterable[Answer]) -> None:
        """Take in what became of the next rows."""
        for answer in answers:
            if answer.status is Status.PUSHED:
                self.append(answer.payload.jid)
            else:
                self.append(None)
                self._counts[answer.status] += 1

    @property
    def pushed(self) -> int:
        """How many jobs were accepted."""
        return len(self) - self._counts.total()

    @property
    def duplicates(self) -> int:
        """How many were on their way already."""
        return self._counts[Status.DUPLICATE]

    @property
    def disabled(self) -> int:
        """How many a kill switch stopped."""
        return self._counts[Status.DISABLED]

    @property
    def cooling(self) -> int:
        """How many were left alone because their job died a short while ago."""
        return self._counts[Status.COOLING]

    @property
    def refused(self) -> int:
        """How many another client middleware stopped."""
        return self._counts[Status.REFUSED]
