"""The wire format: what a job looks like in Redis, in Sidekiq's layout, and nowhere else spelt."""

from __future__ import annotations

import base64
import os
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from django_jobqueue import clock, json_text
from django_jobqueue.exceptions import InvalidPayload, InvalidQueueName

#: What a queue may be called.
QUEUE_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")

#: Characters kept of an error's message, as Sidekiq does.
MESSAGE_LIMIT = 10_000

#: Seconds from the epoch beyond which a number is no time: no calendar goes there.
TIME_LIMIT = 1e12

#: Characters of anybody's text that a log line shows.
LOG_LIMIT = 500

#: Retries of ``retry = True`` where the settings say nothing, as Sidekiq's.
DEFAULT_RETRIES = 25

#: What names the lock of a unique job.
_DIGEST = re.compile(r"[0-9a-f]{32}")

_encode = json_text.writer()
_encode_in_ascii = json_text.writer(ascii_only=True)


def is_digest(text: str) -> bool:
    """Return whether a text may name the lock of a unique job."""
    return _DIGEST.fullmatch(text) is not None


def new_jid() -> str:
    """Return a new job id: 24 lower-case hex digits, 96 random bits."""
    return os.urandom(12).hex()


def new_jids() -> Iterator[str]:
    """Yield new job ids without end: for a call that makes many, a third of the time."""
    while True:
        digits = os.urandom(12 * 100).hex()
        for at in range(0, len(digits), 24):
            yield digits[at : at + 24]


def _is_queue_name(name: str) -> bool:
    # What is too long is not remembered: payloads of others may be full of it.
    return len(name) <= 64 and _matches_queue_name(name)


@lru_cache(maxsize=1000)
def _matches_queue_name(name: str) -> bool:
    return QUEUE_NAME.fullmatch(name) is not None


def check_queue_name(name: object) -> str:
    """Return ``name`` if a queue may be called so. Raises: InvalidQueueName."""
    if isinstance(name, str) and _is_queue_name(name):
        return name
    raise InvalidQueueName(name)


def dump_json(value: Any) -> str:
    """
    Return ``value`` as JSON in the bytes that Ruby's ``JSON.generate`` would write.

    But for floats below 0.0001 or from 1e15 on: those each version of Ruby writes in its own way.

    Raises: ValueError for NaN and infinities, TypeError for what JSON has not.
    """
    return _encode(value)


@dataclass(frozen=True, slots=True)
class Payload:
    """
    One job as it travels: a mapping of Sidekiq's fields that is never changed in place.

    ``fields`` keeps the order and the unknown keys of what was read, so that a
    move through us loses nothing that another program wrote. Only the
    properties below have a meaning to us; each checks the type of what it reads
    and falls back to the default that it documents.
    """

    fields: Mapping[str, Any]

    def __repr__(self) -> str:
        # Never the arguments: they may be secret, and tracebacks and logs print this.
        told = {"jid": "jid", "job_class": "class", "queue": "queue"}
        shown = (f"{name}={printable(str(self.fields.get(key)))}" for name, key in told.items())
        return f"<Payload {' '.join(shown)}>"

    @classmethod
    def decode(cls, raw: bytes | str) -> Payload:
        """
        Read a job from the bytes of a Redis entry.

        Raises: InvalidPayload when it is not UTF-8, not JSON, not an object, or
        its class, args or jid are missing or of another type. Nothing is imported.
        """
        try:
            fields = json_text.read(raw.decode() if isinstance(raw, bytes) else raw)
        except UnicodeDecodeError as error:
            raise InvalidPayload(f"not UTF-8 ({error.reason} at byte {error.start})") from None
        except (ValueError, RecursionError) as error:
            raise InvalidPayload(f"not JSON ({error})") from None
        if type(fields) is not dict:
            raise InvalidPayload(f"a JSON {type(fields).__name__}, not an object")
        name, args, jid = fields.get("class"), fields.get("args"), fields.get("jid")
        if type(name) is not str or not name:
            raise InvalidPayload(f"'class' is {_shown(name)}, not a name")
        if type(args) is not list:
            raise InvalidPayload(f"'args' is {_shown(args)}, not an array")
        if type(jid) is not str or not 0 < len(jid) <= 64:
            raise InvalidPayload(f"'jid' is {_shown(jid)}, not an id")
        return cls(fields)

    def encode(self) -> bytes:
        """
        Return the bytes that stand in Redis.

        Raises: TypeError or ValueError for what is not JSON, RecursionError.
        """
        text = _encode(self.fields)
        try:
            return text.encode()
        except UnicodeEncodeError:
            # Lone surrogates, pushed by others: only escapes can hold them.
            return _encode_in_ascii(self.fields).encode()

    def replace(self, **changes: Any) -> Payload:
        """Return a copy with these fields set; a value of ``None`` removes the field."""
        fields = {**self.fields, **changes}
        for name, value in changes.items():
            if value is None:
                del fields[name]
        return Payload(fields)

    @property
    def job_class(self) -> str:
        """The wire name of the job's class."""
        return self.fields["class"]  # type: ignore[no-any-return]

    @property
    def jid(self) -> str:
        """The job's id."""
        return self.fields["jid"]  # type: ignore[no-any-return]

    @property
    def args(self) -> list[Any]:
        """The arguments of ``perform``, as JSON holds them."""
        return self.fields["args"]  # type: ignore[no-any-return]

    @property
    def queue(self) -> str:
        """The queue to run in; ``default`` where the field is missing or no name of a queue."""
        name = self.fields.get("queue")
        return name if type(name) is str and _is_queue_name(name) else "default"

    @property
    def retry_queue(self) -> str | None:
        """The queue that retries go to, where it is another one."""
        name = self.fields.get("retry_queue")
        return name if type(name) is str and _is_queue_name(name) else None

    @property
    def retry(self) -> bool | int:
        """True, False or the number of retries; True for anything else, as Sidekiq reads it."""
        value = self.fields.get("retry", True)
        if type(value) is bool:
            return value
        return max(value, 0) if type(value) is int else True

    @property
    def retry_for(self) -> float | None:
        """Seconds from the first failure in which to retry, instead of a count."""
        return _positive(self.fields.get("retry_for"))

    @property
    def retry_count(self) -> int | None:
        """How many retries were begun: None before the first failure, 0 after it."""
        value = self.fields.get("retry_count")
        return value if type(value) is int and value >= 0 else None

    @property
    def attempt(self) -> int:
        """Which attempt this is, from 1."""
        count = self.retry_count
        return 1 if count is None else count + 2

    @property
    def dead(self) -> bool:
        """Whether the job goes to the dead set when it has failed for good."""
        return self.fields.get("dead") is not False

    @property
    def backtrace(self) -> bool | int:
        """Whether, or how many lines of, the traceback travel with a failure."""
        value = self.fields.get("backtrace", False)
        if type(value) is bool:
            return value
        return max(value, 0) if type(value) is int else False

    @property
    def tags(self) -> list[str]:
        """Labels for people."""
        value = self.fields.get("tags")
        return [str(tag) for tag in value] if type(value) is list else []

    @property
    def expires_in(self) -> float | None:
        """Seconds after which a job that has not started is not wanted any more."""
        return _positive(self.fields.get("expires_in"))

    @property
    def crashes(self) -> int:
        """How often the job was taken back from a dead process."""
        value = self.fields.get("crashes")
        return value if type(value) is int and value > 0 else 0

    @property
    def unique_for(self) -> float | None:
        """Seconds for which the lock of a unique job outlives its next move."""
        return _positive(self.fields.get("unique_for"))

    @property
    def unique_until_start(self) -> bool:
        """Whether the lock is given up when the job starts, and not when it ends."""
        return self.fields.get("unique_until") == "start"

    @property
    def unique_digest(self) -> str | None:
        """What names the lock of a unique job; None for any other."""
        value = self.fields.get("unique_digest")
        return value if type(value) is str and is_digest(value) else None

    @property
    def reruns(self) -> bool:
        """Whether a duplicate that comes while the job runs is run after it."""
        return self.fields.get("on_conflict") == "rerun"

    @property
    def encrypted_with(self) -> str | None:
        """The name of the key that the arguments are encrypted with; None where they are not."""
        value = self.fields.get("encrypt")
        return value if type(value) is str else None

    @property
    def bypasses_kill_switch(self) -> bool:
        """Whether somebody said that no kill switch stops this one job."""
        return self.fields.get("bypass_kill_switch") is True

    @property
    def held_from(self) -> str | None:
        """Where a kill switch found the job: ``queue``, ``schedule`` or ``retry``."""
        value = self.fields.get("held_from")
        return value if value in ("queue", "schedule", "retry") else None

    @property
    def context(self) -> dict[str, Any]:
        """What middleware let travel with the job (Sidekiq's ``cattr``)."""
        value = self.fields.get("cattr")
        return dict(value) if type(value) is dict else {}

    def time(self, name: str) -> float | None:
        """
        Return one of the ``*_at`` fields in epoch seconds.

        Read by the type that JSON gives it: an integer is milliseconds, a float
        is seconds as Sidekiq wrote them before 8.0. None where it is no time.
        """
        value = self.fields.get(name)
        if type(value) is int and abs(value) <= TIME_LIMIT * 1000:
            return value / 1000
        return value if type(value) is float and abs(value) <= TIME_LIMIT else None


def stamp(at: float | None = None, *, unit: str = "milliseconds") -> int | float:
    """Return a moment (epoch seconds; default now) as a ``*_at`` field holds it."""
    moment = clock.now() if at is None else at
    # A float even where it is whole: read again, an integer would be milliseconds.
    return float(moment) if unit == "seconds" else int(moment * 1000)


def printable(text: str) -> str:
    """
    Return text for a log line: control characters escaped, so that one entry stays one line.

    A long text is cut: who pushes a name of 10 MB fills no disk with it.
    """
    shown = text if len(text) <= LOG_LIMIT else f"{text[:LOG_LIMIT]}..."
    return shown if shown.isprintable() else repr(shown)[1:-1]


def log_facts(payload: Payload) -> dict[str, Any]:
    """Return what a log record says of a job in its ``extra``: never the arguments."""
    return {
        "job": printable(payload.job_class),
        "jid": printable(payload.jid),
        "queue": payload.queue,
        "attempt": payload.attempt,
    }


def wrap_invalid(raw: bytes, queue: str) -> Payload:
    """
    Return an entry for the dead set that carries bytes which are no job.

    They are kept as base64 in ``raw``, to the byte, for an operator to look at
    and push again.
    """
    return Payload(
        {
            "class": "InvalidPayload",
            "args": [],
            "jid": new_jid(),
            "queue": queue,
            "retry": False,
            "raw": base64.b64encode(raw).decode(),
        }
    )


def unwrap_invalid(payload: Payload) -> bytes | None:
    """Return the bytes that ``wrap_invalid`` kept; None for an ordinary job."""
    raw = payload.fields.get("raw")
    if payload.job_class != "InvalidPayload" or type(raw) is not str:
        return None
    try:
        return base64.b64decode(raw, validate=True)
    except ValueError:  # somebody else's entry under that name
        return None


def _positive(value: Any) -> float | None:
    if type(value) in (int, float) and 0 < value <= sys.float_info.max:
        return float(value)
    return None


def _shown(value: Any) -> str:
    return "missing" if value is None else f"of type {type(value).__name__}"
