"""
How one value of settings.JOBQUEUE is read, and what is said of a wrong one.

A reader takes what the user wrote and returns what stands in Settings, or
raises Wrong with every fault it found.
"""

from __future__ import annotations

import base64
import difflib
import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, NamedTuple, TypeVar

from django.conf import settings

from django_jobqueue.payload import QUEUE_NAME
from django_jobqueue.redis_url import find_fault, mask_url

#: Seconds of the longest duration, a hundred years: what is more is a slip.
MAX_DURATION = 100 * 365.25 * 86_400

#: Jobs a second that nobody means to exceed: what is more is a slip.
MAX_RATE = 1e9

#: Characters of the shortest token: fewer can be guessed.
MIN_TOKEN = 16

#: Bytes of the shortest secret that keys are made of, and of a key of Fernet.
MIN_SECRET = 32
FERNET_BYTES = 32

#: The check of a key that is no setting.
UNKNOWN = "django_jobqueue.E002"

#: The built-in outlets; any other is the dotted path of a class.
OUTLETS = ("redis", "fake", "inline")

_Entry = TypeVar("_Entry")


class WeightedQueue(NamedTuple):
    """A queue and how often it is asked first, in proportion to the others."""

    name: str
    weight: int = 1


@dataclass(frozen=True, slots=True)
class Fault:
    """The end of a sentence that begins with the option's name, and the way out."""

    complaint: str
    advice: str
    #: Where in the option: "[1]" in a list.
    place: str = ""
    id: str = "django_jobqueue.E005"


class Wrong(Exception):
    """A value cannot be used. Never leaves the reading of the settings."""

    def __init__(self, *faults: Fault) -> None:
        super().__init__(*faults)
        self.faults = faults


def boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        raise Wrong(Fault(f"is {show(value)}, not a bool", "Set it to True or False"))
    return value


def integer(minimum: int, maximum: int | None = None) -> Callable[[Any], int]:
    span = f"{minimum:,} or more" if maximum is None else f"from {minimum:,} to {maximum:,}"

    def read(value: Any) -> int:
        fits = isinstance(value, int) and not isinstance(value, bool) and value >= minimum
        if not fits or (maximum is not None and value > maximum):
            raise Wrong(Fault(f"is {show(value)}", f"Set it to a whole number, {span}"))
        return int(value)

    return read


def duration(minimum: float = 0.0, *, positive: bool = True) -> Callable[[Any], float]:
    if minimum:
        least = f"of {minimum:g} seconds or more"
    else:
        least = "of more than 0 seconds" if positive else "of 0 seconds or more"

    def read(value: Any) -> float:
        seconds = value.total_seconds() if isinstance(value, timedelta) else value
        fits = isinstance(seconds, (int, float)) and not isinstance(seconds, bool)
        # A NaN compares false with everything.
        fits = fits and minimum <= seconds <= MAX_DURATION
        if not fits or (positive and not seconds > 0):
            raise Wrong(
                Fault(
                    f"is {show(value)}, not a duration {least}",
                    "Give a timedelta or a number of seconds, a hundred years at most",
                )
            )
        return float(seconds)

    return read


def rate(value: Any) -> float:
    fits = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not fits or not 0 < value <= MAX_RATE:
        raise Wrong(Fault(f"is {show(value)}", "Set it to a number of jobs a second, above 0"))
    return float(value)


def mapping(value: Any, readers: Mapping[str, Callable[[Any], Any]]) -> dict[str, Any]:
    """Read a dict of settings inside a setting: those that are there, each by its reader."""
    if not isinstance(value, Mapping):
        raise Wrong(Fault(f"is {show(value)}, not a dict", f"There are {', '.join(readers)}"))
    read: dict[str, Any] = {}
    faults: list[Fault] = []
    for key, entry in value.items():
        place = f"[{show(key)}]"
        if key not in readers:
            close = difflib.get_close_matches(str(key).upper(), readers, n=1)
            guess = f"Did you mean {close[0]!r}? " if close else ""
            faults.append(
                Fault("is no setting", f"{guess}There are {', '.join(readers)}", place, UNKNOWN)
            )
            continue
        try:
            read[key] = readers[key](entry)
        except Wrong as wrong:
            faults += (replace(fault, place=f"{place}{fault.place}") for fault in wrong.faults)
    if faults:
        raise Wrong(*faults)
    return read


def choice(*choices: str) -> Callable[[Any], str]:
    def read(value: Any) -> str:
        if value not in choices:
            raise Wrong(Fault(f"is {show(value)}", advise(value, choices)))
        return str(value)

    return read


def prefix(value: Any) -> str:
    # What is printable has no control character and no space but the plain one.
    if not isinstance(value, str) or not value.isprintable() or " " in value:
        raise Wrong(
            Fault(
                f"is {show(value)}",
                "Set it to a string without spaces and control characters, as 'shop:'",
            )
        )
    return value


def directory(value: Any) -> str | None:
    if value is None:
        return None
    path = os.fspath(value) if isinstance(value, os.PathLike) else value
    if not isinstance(path, str) or not path or "\0" in path:
        raise Wrong(Fault(f"is {show(value)}", "Set it to the path of a directory of its own"))
    return path


def outlet(value: Any) -> str:
    if value in OUTLETS or is_dotted(value):
        return str(value)
    raise Wrong(
        Fault(
            f"is {show(value)}",
            advise(value, OUTLETS) + ", or to the dotted path of a class",
        )
    )


def alias(value: Any) -> bool | str:
    aliases = list(getattr(settings, "DATABASES", {}) or {"default": {}})
    if isinstance(value, bool) or value in aliases:
        found: bool | str = value
        return found
    raise Wrong(
        Fault(
            f"is {show(value)}",
            f"{advise(value, aliases)} (of DATABASES), to True (the default database) or to False",
        )
    )


def middleware(value: Any) -> tuple[str, ...]:
    def read(entry: Any) -> str:
        if not is_dotted(entry):
            raise Wrong(
                Fault(
                    f"is {show(entry)}, not a dotted path",
                    "Name the class by a string, as 'shop.middleware.Tenant'",
                )
            )
        return str(entry)

    return _entries(value, read, key=str)


def queues(value: Any) -> tuple[WeightedQueue, ...]:
    def read(entry: Any) -> WeightedQueue:
        try:
            if not isinstance(entry, str):
                raise ValueError("a queue is a string")
            return parse_queue(entry)
        except ValueError as error:
            raise Wrong(
                Fault(f"is {show(entry)}: {error}", "Write 'name' or 'name,weight'")
            ) from None

    return _entries(value, read, key=lambda queue: queue.name)


def redact(value: Any) -> tuple[str, ...]:
    def read(entry: Any) -> str:
        if not isinstance(entry, str) or "://" in entry:
            raise Wrong(Fault(f"is {show(entry)}", "Write a name, or a regular expression of one"))
        try:
            matches_all = re.fullmatch(entry, "") is not None
            re.compile(f"(?:{entry})")  # as it is used: flags of its own cannot be
        except (re.error, RecursionError, OverflowError) as error:
            raise Wrong(
                Fault(f"is {show(entry)}, no regular expression ({error})", "Correct it")
            ) from None
        if matches_all:
            raise Wrong(Fault(f"is {show(entry)}, which matches every name", "Name something"))
        return entry

    return _entries(value, read, key=str)


def token(value: Any) -> str | None:
    if value is None:
        return None
    advice = (
        f"Set it to a secret of {MIN_TOKEN} characters or more, ASCII and without spaces, as "
        "secrets.token_urlsafe() makes, or to None"
    )
    # Never with the value: it may be a secret with one character too few.
    if not isinstance(value, str):
        raise Wrong(Fault(f"is of type {type(value).__name__}", advice))
    if len(value) < MIN_TOKEN:
        raise Wrong(Fault(f"has {len(value)} characters", advice))
    if not re.fullmatch("[!-~]+", value):
        raise Wrong(Fault("has a character that no header can carry", advice))
    return value


def secrets(value: Any) -> tuple[bytes, ...]:
    def read(entry: bytes) -> bytes:
        if len(entry) < MIN_SECRET:
            raise Wrong(Fault(f"has {len(entry)} characters, of which a secret has 32", advice))
        return entry

    advice = (
        "Write a list of secrets of 32 characters or more, as secrets.token_urlsafe(32) makes; the "
        "first signs"
    )
    return _secret_entries(value, read, advice)


def fernet_keys(value: Any) -> tuple[bytes, ...]:
    def read(entry: bytes) -> bytes:
        try:
            right = len(base64.urlsafe_b64decode(entry)) == FERNET_BYTES
        except ValueError:
            right = False
        if not right:
            raise Wrong(Fault("is no key of Fernet", advice))
        return entry

    advice = (
        "Write a list of keys as Fernet.generate_key() of cryptography makes them; the first "
        "encrypts"
    )
    return _secret_entries(value, read, advice)


def _secret_entries(value: Any, read: Callable[[bytes], bytes], advice: str) -> tuple[bytes, ...]:
    """Read a list of secrets. None is ever told, not even one with a character too few."""
    if not isinstance(value, (list, tuple)):
        raise Wrong(Fault(f"is of type {type(value).__name__}, not a list", advice))
    found: dict[bytes, int] = {}
    faults: list[Fault] = []
    for index, entry in enumerate(value):
        place = f"[{index}]"
        if not isinstance(entry, (str, bytes)):
            faults.append(Fault(f"is of type {type(entry).__name__}", advice, place))
            continue
        try:
            key = read(entry.encode(errors="surrogatepass") if isinstance(entry, str) else entry)
        except Wrong as wrong:
            faults += (replace(fault, place=place) for fault in wrong.faults)
            continue
        if key in found:
            complaint = f"is the same as [{found[key]}]"
            faults.append(Fault(complaint, "Name it once", place, "django_jobqueue.E006"))
        found.setdefault(key, index)
    if faults:
        raise Wrong(*faults)
    return tuple(found)


def _entries(
    value: Any, read: Callable[[Any], _Entry], key: Callable[[_Entry], str]
) -> tuple[_Entry, ...]:
    """Read a list entry by entry; entries with one key are doubles."""
    if not isinstance(value, (list, tuple)):
        raise Wrong(Fault(f"is {show(value)}, not a list", "Write a list of strings"))
    entries: dict[str, _Entry] = {}
    faults: list[Fault] = []
    for index, raw in enumerate(value):
        place = f"[{index}]"
        try:
            entry = read(raw)
        except Wrong as wrong:
            faults += (replace(fault, place=place) for fault in wrong.faults)
            continue
        if key(entry) in entries:
            complaint = f"is {show(raw)} a second time"
            faults.append(Fault(complaint, "Name it once", place, "django_jobqueue.E006"))
        entries[key(entry)] = entry
    if faults:
        raise Wrong(*faults)
    return tuple(entries.values())


def url(value: Any) -> str | None:
    if value is None:
        return None
    fault = find_fault(value)
    if fault is not None:
        raise Wrong(Fault(*fault, id="django_jobqueue.E004"))
    return str(value)


def is_dotted(value: object) -> bool:
    """Return whether this may be the dotted path of something that can be imported."""
    return (
        isinstance(value, str)
        and "." in value
        and all(part.isidentifier() for part in value.split("."))
    )


def parse_queue(entry: str) -> WeightedQueue:
    """
    Return the queue that ``"name"`` or ``"name,weight"`` stands for; the weight is 1 if untold.

    Raises: ValueError, with the way out.
    """
    name, comma, weight = (part.strip() for part in entry.partition(","))
    if not QUEUE_NAME.fullmatch(name):
        raise ValueError(
            "a queue's name is 1 to 64 of the characters A-Z, a-z, 0-9, '_', '.' and '-'"
        )
    if comma and not re.fullmatch("0*[1-9][0-9]{0,5}", weight):
        raise ValueError("a queue's weight is a whole number from 1 to 999999")
    return WeightedQueue(name, int(weight) if comma else 1)


def advise(value: object, choices: Iterable[str]) -> str:
    choices = list(choices)
    close = difflib.get_close_matches(str(value).lower(), choices, n=1)
    guess = f"Did you mean {close[0]!r}? " if close else ""
    return f"{guess}Set it to {' or '.join(map(repr, choices))}"


def show(value: object) -> str:
    """Return the value as a message may quote it: without passwords, and not endless."""
    if isinstance(value, str) and "://" in value:
        value = mask_url(value)
    try:
        text = repr(value)
    except Exception:  # a number of more digits than Python prints, somebody's own class
        return f"an unprintable {type(value).__name__}"
    if not isinstance(value, str) and "://" in text:
        text = mask_url(text)
    return text if len(text) <= 200 else f"{text[:200]}..."
