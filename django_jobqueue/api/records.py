"""One job as it is found: read with care, for anybody may have written it."""

from __future__ import annotations

import base64
import contextlib
import json
import zlib
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from django_jobqueue import clock
from django_jobqueue.exceptions import InvalidPayload
from django_jobqueue.payload import Payload, printable, unwrap_invalid

#: Bytes of a traceback that are unpacked, and lines that are shown: a small text may hide a
#: huge one.
BACKTRACE_BYTES = 1_000_000
BACKTRACE_LINES = 1_000


class JobRecord:
    """
    A job in the bytes of a Redis entry, ours or a Sidekiq client's.

    ``raw`` are the bytes, ``payload`` what they say; it is None where they are
    no job, and then ``problem`` says why, texts are empty and times None. No
    property raises, whatever the types of what was written. Times are aware
    datetimes in UTC.
    """

    def __init__(self, raw: bytes, queue: str = "") -> None:
        self.raw = raw
        self.problem = ""
        self.payload: Payload | None = None
        self._found_in = queue
        try:
            self.payload = Payload.decode(raw)
        except InvalidPayload as error:
            self.problem = error.problem

    def __repr__(self) -> str:
        # Never the arguments: they may be secret, and a shell prints this.
        what = " ".join(f"{name}={printable(value)}" for name, value in self._facts() if value)
        return f"<{type(self).__name__} {what}>"

    def _facts(self) -> list[tuple[str, str]]:
        if self.payload is None:
            return [("problem", self.problem), ("queue", self.queue)]
        return [("jid", self.jid), ("job_class", self.display_class), ("queue", self.queue)]

    # What it is ----------------------------------------------------------------

    @property
    def is_valid(self) -> bool:
        """Whether the bytes are a job."""
        return self.payload is not None

    @property
    def fields(self) -> Mapping[str, Any]:
        """All fields as they were written (Sidekiq's ``item``), unknown ones too; do not change."""
        return {} if self.payload is None else self.payload.fields

    @property
    def jid(self) -> str:
        """The job's id; empty where the bytes are no job."""
        return "" if self.payload is None else self.payload.jid

    @property
    def job_class(self) -> str:
        """The wire name of the job's class (Sidekiq's ``klass``)."""
        return "" if self.payload is None else self.payload.job_class

    @property
    def display_class(self) -> str:
        """The name to show people: that of the job in a wrapper, as Active Job has, if any."""
        for name in ("display_class", "wrapped"):
            value = self.fields.get(name)
            if type(value) is str and value:
                return value
        return self.job_class

    @property
    def args(self) -> list[Any]:
        """The arguments, as JSON holds them."""
        return [] if self.payload is None else self.payload.args

    @property
    def queue(self) -> str:
        """The queue where it stands, or that it goes to from where it stands."""
        if self._found_in:
            return self._found_in
        return "default" if self.payload is None else self.payload.queue

    @property
    def tags(self) -> list[str]:
        """Labels for people."""
        return [] if self.payload is None else self.payload.tags

    @property
    def context(self) -> dict[str, Any]:
        """What middleware let travel with the job (Sidekiq's ``cattr``)."""
        return {} if self.payload is None else self.payload.context

    @property
    def unique_digest(self) -> str | None:
        """What names the lock of a unique job."""
        return None if self.payload is None else self.payload.unique_digest

    # When ----------------------------------------------------------------------

    @property
    def created_at(self) -> datetime | None:
        """When the job was made."""
        return self._time("created_at")

    @property
    def enqueued_at(self) -> datetime | None:
        """When it came into its queue; None while it waits for its time."""
        return self._time("enqueued_at")

    @property
    def failed_at(self) -> datetime | None:
        """When it failed first."""
        return self._time("failed_at")

    @property
    def retried_at(self) -> datetime | None:
        """When it failed last, where that was not the first time."""
        return self._time("retried_at")

    @property
    def held_at(self) -> datetime | None:
        """Since when a kill switch holds it."""
        return self._time("held_at")

    @property
    def latency(self) -> float:
        """For how many seconds it has been in its queue, or in the world; 0.0 if unknown."""
        if self.payload is None:
            return 0.0
        since = self.payload.time("enqueued_at") or self.payload.time("created_at")
        return 0.0 if since is None else max(0.0, clock.now() - since)

    # What went wrong -----------------------------------------------------------

    @property
    def retry_count(self) -> int | None:
        """How many retries were begun: None before the first failure, 0 after it."""
        return None if self.payload is None else self.payload.retry_count

    @property
    def crashes(self) -> int:
        """How often it was taken back from a process that died."""
        return 0 if self.payload is None else self.payload.crashes

    @property
    def error_class(self) -> str:
        """The name of the last error; empty without one."""
        return self._text("error_class")

    @property
    def error_message(self) -> str:
        """The sentence of the last error; empty without one."""
        return self._text("error_message")

    @property
    def error_backtrace(self) -> list[str]:
        """The lines of the traceback, where the job asks for one to be kept (``backtrace``)."""
        packed = self.fields.get("error_backtrace")
        if type(packed) is list:  # as Sidekiq wrote them long ago
            lines: Any = packed
        else:
            lines = _unpacked(packed) if type(packed) is str else None
        return [str(line) for line in lines[:BACKTRACE_LINES]] if type(lines) is list else []

    @property
    def original(self) -> bytes | None:
        """The bytes that a worker found to be no job and kept, to the byte; None of a job."""
        return None if self.payload is None else unwrap_invalid(self.payload)

    def _text(self, name: str) -> str:
        value = self.fields.get(name)
        return value if type(value) is str else ""

    def _time(self, name: str) -> datetime | None:
        return None if self.payload is None else moment(self.payload.time(name))


def moment(at: float | None) -> datetime | None:
    """Return epoch seconds as a datetime in UTC; None for what no calendar has."""
    if at is not None:
        with contextlib.suppress(ValueError, OverflowError, OSError):
            return datetime.fromtimestamp(at, UTC)
    return None


def _unpacked(packed: str) -> Any:
    with contextlib.suppress(ValueError, zlib.error, RecursionError):
        compressed = base64.b64decode(packed)
        return json.loads(zlib.decompressobj().decompress(compressed, BACKTRACE_BYTES))
    return None
