"""The options of a job class: how they are checked, and how they go into a payload."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypedDict

from django_jobqueue.client.arguments import check_arguments
from django_jobqueue.exceptions import InvalidArguments, InvalidOption
from django_jobqueue.payload import QUEUE_NAME

#: The arguments of one job.
Row = Sequence[Any]

_Check = Callable[[Any], "str | None"]

#: What a kill switch may be called, behind ``disable_``; waffle takes 100 characters.
SWITCH_NAME = re.compile(r"[A-Za-z0-9_]{1,92}")


def _queue(value: Any) -> str | None:
    if isinstance(value, str) and QUEUE_NAME.fullmatch(value):
        return None
    return "a queue's name has 1 to 64 of the characters A-Z, a-z, 0-9, '_', '.' and '-'"


def _optional_queue(value: Any) -> str | None:
    return None if value is None else _queue(value)


def _retry(value: Any) -> str | None:
    if isinstance(value, bool) or (isinstance(value, int) and value >= 0):
        return None
    return "it is True, False or a number of retries from 0 on"


def _flag(value: Any) -> str | None:
    return None if isinstance(value, bool) else "it is True or False"


def _backtrace(value: Any) -> str | None:
    if isinstance(value, bool) or (isinstance(value, int) and value >= 0):
        return None
    return "it is True, False or a number of lines"


def _duration(value: Any) -> str | None:
    if value is None:
        return None
    length = value.total_seconds() if isinstance(value, timedelta) else value
    number = isinstance(length, (int, float)) and not isinstance(length, bool)
    if number and 0 < length <= sys.float_info.max:
        return None
    return "it is None, a timedelta or seconds above 0"


def _tags(value: Any) -> str | None:
    if isinstance(value, (list, tuple)) and all(isinstance(tag, str) for tag in value):
        return None
    return "it is a list or tuple of strings"


def _on_commit(value: Any) -> str | None:
    return None if isinstance(value, (bool, str)) else "it is True, False or a database alias"


def _one_of(*choices: str | None) -> _Check:
    def check(value: Any) -> str | None:
        if value in choices:
            return None
        return f"it is {' or '.join(map(repr, choices))}"

    return check


def _unique_key(value: Any) -> str | None:
    names = isinstance(value, (list, tuple)) and value and all(isinstance(v, str) for v in value)
    if value is None or names or callable(value):
        return None
    return "it is a tuple of names of arguments, or a function of the arguments"


def _switch_name(value: Any) -> str | None:
    if value is None or (isinstance(value, str) and SWITCH_NAME.fullmatch(value)):
        return None
    return "it is the flag's name without 'disable_': letters, digits and '_'"


def _names(value: Any) -> str | None:
    if isinstance(value, (list, tuple)) and all(isinstance(v, str) and v for v in value):
        return None
    return "it is a tuple of names of perform's arguments"


def _switch_names(value: Any) -> str | None:
    if isinstance(value, (list, tuple)) and not any(v is None or _switch_name(v) for v in value):
        return None
    return "it is a tuple of names of flags, each without 'disable_'"


#: What each option may be: a function that returns None, or what is right.
CHECKS: Mapping[str, _Check] = {
    "queue": _queue,
    "retry": _retry,
    "retry_for": _duration,
    "retry_queue": _optional_queue,
    "dead": _flag,
    "backtrace": _backtrace,
    "tags": _tags,
    "expires_in": _duration,
    "timeout": _duration,
    "on_commit": _on_commit,
    "unique_for": _duration,
    "unique_until": _one_of("success", "start"),
    "unique_key": _unique_key,
    "on_conflict": _one_of("drop", "rerun"),
    "kill_switch": _switch_name,
    "kill_switch_aliases": _switch_names,
    "kill_switch_fail": _one_of("open", "closed"),
    "when_disabled": _one_of(None, "hold", "run", "drop"),
    "self_healing": _flag,
    "redact": _names,
    "encrypt": _flag,
}

#: What belongs to a class, and cannot be another thing for one call.
OF_THE_CLASS = frozenset(
    {
        "timeout", "unique_until", "unique_key", "on_conflict", "kill_switch",
        "kill_switch_aliases", "kill_switch_fail", "when_disabled", "self_healing", "redact",
        "encrypt",
    }
)  # fmt: skip


class CallOptions(TypedDict, total=False):
    """
    What ``Job.set()`` takes: options of the job, for one call.

    Durations are a timedelta or seconds, ``at`` a datetime or epoch seconds.
    """

    queue: str
    retry: bool | int
    retry_for: timedelta | float | None
    retry_queue: str | None
    dead: bool
    backtrace: bool | int
    tags: Sequence[str]
    expires_in: timedelta | float | None
    on_commit: bool | str
    unique_for: timedelta | float | None
    bypass_kill_switch: bool
    wait: timedelta | float
    at: datetime | float


def check_option(name: str, value: Any) -> None:
    """Raise InvalidOption when an option cannot have this value."""
    if name == "bypass_kill_switch":
        check: _Check | None = _flag
    else:
        check = None if name in OF_THE_CLASS else CHECKS.get(name)
    if check is None:
        names = sorted({*CHECKS, "bypass_kill_switch"} - OF_THE_CLASS)
        raise InvalidOption(name, value, f"the options are {', '.join(names)}")
    problem = check(value)
    if problem:
        raise InvalidOption(name, value, problem)


def option_problems(cls: type) -> list[tuple[str, str]]:
    """Return what is wrong with a job class, as pairs of a sentence and the way out."""
    problems = []
    for name, check in CHECKS.items():
        value = getattr(cls, name)
        hint = check(value)
        if hint:
            problems.append(
                (f"{cls.__qualname__}.{name} is {value!r}.", f"{hint[0].upper()}{hint[1:]}.")
            )
    problems += _unknown_names(cls)
    wire_name = cls.__dict__.get("wire_name")
    if wire_name is not None and (
        not isinstance(wire_name, str) or not wire_name or "|" in wire_name
    ):
        problems.append(
            (f"{cls.__qualname__}.wire_name is {wire_name!r}.", "It is a string without '|'.")
        )
    return problems


def _unknown_names(cls: Any) -> Iterator[tuple[str, str]]:
    """Yield what ``redact`` names in vain: a slip there would show a secret."""
    if _names(cls.redact):
        return
    known = cls._arity.signature.parameters
    for name in cls.redact:
        if name not in known:
            yield (
                f"{cls.__qualname__}.redact names {name!r}, which is no argument of "
                f"perform{cls._arity.signature}.",
                f"There are {', '.join(known)}." if known else "It has none: leave redact empty.",
            )


def to_seconds(value: timedelta | float) -> float:
    """Return a checked duration in seconds."""
    return value.total_seconds() if isinstance(value, timedelta) else float(value)


@dataclass(frozen=True, slots=True)
class Arity:
    """How many positional arguments a ``perform`` takes; ``most`` is None for any number."""

    least: int
    most: int | None
    signature: inspect.Signature

    @classmethod
    def of(cls, perform: Callable[..., Any]) -> Arity:
        """Read it off an unbound ``perform``; ``self`` does not count."""
        signature = inspect.signature(perform)
        parameters = list(signature.parameters.values())[1:]
        signature = signature.replace(parameters=parameters)
        positional = [
            p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
        ]
        least = sum(p.default is p.empty for p in positional)
        if any(p.kind is p.KEYWORD_ONLY and p.default is p.empty for p in parameters):
            # Arguments travel as an array: a required keyword can never be given.
            return cls(1, 0, signature)
        unbounded = any(p.kind is p.VAR_POSITIONAL for p in parameters)
        return cls(least, None if unbounded else len(positional), signature)

    def check(self, job: str, args: list[Any] | tuple[Any, ...]) -> None:
        """Raise InvalidArguments when ``perform`` cannot be called with these."""
        given = len(args)
        if given >= self.least and (self.most is None or given <= self.most):
            return
        try:
            self.signature.bind(*args)
        except TypeError as error:
            raise InvalidArguments(job, f"{error} for perform{self.signature}") from None
        raise InvalidArguments(job, f"{given} given for perform{self.signature}")


def unique_key(cls: Any, arity: Arity, args: Sequence[Any]) -> Any:
    """
    Return what makes a job unique by its class's ``unique_key``.

    Raises: InvalidOption where it names an argument that ``perform`` has not,
    ArgumentNotSerializable where it is not JSON.
    """
    chosen = cls.unique_key
    if callable(chosen):
        key = chosen(*args)
    else:
        bound = arity.signature.bind(*args)
        bound.apply_defaults()
        unknown = [name for name in chosen if name not in bound.arguments]
        if unknown:
            raise InvalidOption(
                f"{cls.__qualname__}.unique_key", chosen,
                f"perform{arity.signature} has no argument {unknown[0]!r}",
            )  # fmt: skip
        key = [bound.arguments[name] for name in chosen]
    check_arguments([key])
    return key
