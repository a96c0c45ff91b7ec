"""The log as JSON, an object a line: what a machine reads, and what no job can forge."""

from __future__ import annotations

import json
import logging
import os
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

from django_jobqueue.payload import Payload, log_facts

#: The payload of the job that runs in this context, for the records of its lines.
running: ContextVar[Payload | None] = ContextVar("jobqueue_payload", default=None)

#: What every record has, beside what ``extra`` put there.
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime"}

#: What a record says of its job.
_JOB = frozenset({"job", "jid", "queue", "attempt"})

_NATIVE = (str, int, float, bool, list, dict, type(None))

#: The identity of each worker process that has one, by its pid: forks are not their parents.
_identities: dict[int, str] = {}


def identify(identity: str) -> None:
    """Have the lines of this process say which worker it is."""
    _identities[os.getpid()] = identity


class JsonFormatter(logging.Formatter):
    """
    Formats a record as one JSON object in one line, in ASCII, control characters escaped.

    Always there: ``time`` (ISO 8601, UTC), ``level``, ``logger``, ``message``,
    ``pid`` and ``thread``. Where it is known: ``identity`` of the worker; ``job``,
    ``jid``, ``queue`` and ``attempt`` of the job that runs; ``exception`` and
    ``stack`` as text. Whatever ``extra`` holds in JSON's types comes along under
    its name, as ``elapsed`` in seconds; other objects are left out.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, without its end."""
        made: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            "pid": record.process,
            "thread": record.threadName,
        }
        if identity := _identities.get(record.process or 0):
            made["identity"] = identity
        if record.exc_info and not record.exc_text:
            record.exc_text = self.formatException(record.exc_info)
        if record.exc_text:
            made["exception"] = record.exc_text
        if record.stack_info:
            made["stack"] = self.formatStack(record.stack_info)
        payload = running.get()
        extra = {} if payload is None else log_facts(payload)
        extra |= {name: value for name, value in vars(record).items() if name not in _STANDARD}
        for name, value in extra.items():
            # The filter of the middleware says "" of a job where none runs.
            if name not in made and not (value == "" and name in _JOB) and _is_json(value):
                made[name] = value
        # DEL is the one control character that JSON lets pass.
        return json.dumps(made).replace("\x7f", "\\u007f")


def _is_json(value: Any) -> bool:
    if not isinstance(value, _NATIVE):
        return False
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        return False
    return True
