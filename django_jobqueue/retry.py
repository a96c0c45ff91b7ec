"""When to try again and when to bury: pure functions, as Sidekiq counts."""

from __future__ import annotations

import base64
import json
import random
import traceback
import zlib
from dataclasses import dataclass
from enum import Enum
from typing import Any

from django_jobqueue import clock
from django_jobqueue.payload import DEFAULT_RETRIES, MESSAGE_LIMIT, Payload, stamp
from django_jobqueue.scrubbing import scrub

#: Frames kept of a traceback, the innermost ones.
BACKTRACE_LIMIT = 50

#: Retries after which the waits grow no more: a count may come from anywhere.
COUNT_LIMIT = 1000


class Fate(Enum):
    """What becomes of a job that failed."""

    RETRY = "retry"
    #: Again later, and no attempt is spent.
    POSTPONE = "snooze"
    #: To the dead set.
    BURY = "bury"
    #: Failed for good, and wanted nowhere.
    FORGET = "forget"


class Verdict(Enum):
    """What ``Job.retry_in`` may answer in place of seconds."""

    DISCARD = "discard"
    KILL = "kill"


@dataclass(frozen=True, slots=True)
class Decision:
    """The fate of a failed job, the payload to write, and for a retry the delay in seconds."""

    fate: Fate
    payload: Payload
    delay: float = 0.0


def backoff(count: int) -> float:
    """Return the seconds before retry ``count`` (0 is the first): ``count**4 + 15``."""
    return float(min(count, COUNT_LIMIT) ** 4 + 15)


def jitter(count: int) -> float:
    """Return the random seconds on top: up to ``10 * (count + 1)``."""
    return random.uniform(0, 10 * (min(count, COUNT_LIMIT) + 1))


def decide(
    payload: Payload,
    error: BaseException,
    *,
    retry_in: float | Verdict | None = None,
    default_retries: int = DEFAULT_RETRIES,
    unit: str = "milliseconds",
) -> Decision:
    """
    Return what becomes of a job whose attempt raised ``error``.

    ``retry_in`` is the job's own answer: seconds (jitter is added), a verdict,
    or None for the default curve. The count starts at 0 with the first failure.
    """
    failed = _with_failure(payload, error, unit)
    count = failed.retry_count or 0
    if retry_in is Verdict.DISCARD:
        return Decision(Fate.FORGET, failed)
    if payload.retry is False:
        return Decision(Fate.FORGET, failed)
    if isinstance(retry_in, Verdict) or _exhausted(failed, count, default_retries):
        return Decision(Fate.BURY if payload.dead else Fate.FORGET, failed)
    delay = backoff(count) if retry_in is None else retry_in
    if payload.retry_queue:
        failed = failed.replace(queue=payload.retry_queue)
    return Decision(Fate.RETRY, failed, delay + jitter(count))


def bury(payload: Payload, error: BaseException, *, unit: str = "milliseconds") -> Decision:
    """Return the decision for a failure that no further attempt can cure."""
    return Decision(Fate.BURY, _with_error(payload, error).replace(failed_at=stamp(unit=unit)))


def postpone_unknown(
    payload: Payload, error: BaseException, *, window: float, unit: str = "milliseconds"
) -> Decision:
    """
    Return what becomes of a job whose class this process does not know.

    It may be new, and this process old: for ``window`` seconds it is tried
    again elsewhere, then buried.
    """
    now = clock.now()
    since = payload.time("unknown_since")
    # Not from the future: then it would never be over.
    since = now if since is None else min(since, now)
    noted = _with_error(payload, error).replace(unknown_since=stamp(since, unit=unit))
    age = now - since
    if age >= window:
        return bury(payload, error, unit=unit)
    return Decision(Fate.POSTPONE, noted, min(30.0, max(window - age, 1.0)))


def error_name(error: BaseException) -> str:
    """Return the name an error is filed under: bare for builtins and our own, dotted for others."""
    kind = type(error)
    if kind.__module__ in ("builtins", "django_jobqueue.exceptions"):
        return kind.__qualname__
    return f"{kind.__module__}.{kind.__qualname__}"


def error_message(error: BaseException) -> str:
    """
    Return an error's sentence, cut, and in characters that any JSON can hold.

    Without what is hidden now: see ``scrubbing.hiding``.
    """
    try:
        text = str(error)
    except BaseException as broken:
        text = f"({type(broken).__name__} while printing the error)"
    return scrub(text)[:MESSAGE_LIMIT].encode(errors="replace").decode()


def pack_backtrace(lines: list[str]) -> str:
    """Return traceback lines as Sidekiq stores them: JSON, deflated, base64, one line."""
    return base64.b64encode(zlib.compress(json.dumps(lines).encode())).decode()


def unpack_backtrace(packed: str) -> list[str]:
    """Return the lines that ``pack_backtrace`` packed."""
    lines = json.loads(zlib.decompress(base64.b64decode(packed)))
    return [str(line) for line in lines]


def _exhausted(failed: Payload, count: int, default_retries: int) -> bool:
    window = failed.retry_for
    if window is not None:
        first = failed.time("failed_at")
        return first is not None and clock.now() - first >= window
    limit = default_retries if failed.retry is True else int(failed.retry)
    return count >= limit


def _with_failure(payload: Payload, error: BaseException, unit: str) -> Payload:
    failed = _with_error(payload, error)
    # It was run, so its class is known by now.
    changes: dict[str, Any] = {"unknown_since": None}
    now = stamp(unit=unit)
    if payload.retry_count is None:
        changes |= {"retry_count": 0, "failed_at": now}
    else:
        changes |= {"retry_count": payload.retry_count + 1, "retried_at": now}
        if payload.time("failed_at") is None:
            changes["failed_at"] = now
    if payload.backtrace:
        limit = BACKTRACE_LIMIT if payload.backtrace is True else int(payload.backtrace)
        frames = traceback.format_tb(error.__traceback__)[-min(limit, BACKTRACE_LIMIT) :]
        changes["error_backtrace"] = pack_backtrace([line.rstrip() for line in frames])
    return failed.replace(**changes)


def _with_error(payload: Payload, error: BaseException) -> Payload:
    return payload.replace(error_class=error_name(error), error_message=error_message(error))
