"""Strict arguments: what JSON holds and gives back equal, and nothing else."""

from __future__ import annotations

import math
from typing import Any

from django.db.models import Model, QuerySet

from django_jobqueue.exceptions import ArgumentNotSerializable

#: How deep lists and dicts may be nested.
DEPTH_LIMIT = 100


def check_arguments(args: list[Any]) -> None:
    """
    Refuse what would come out of Redis as something else, or not at all.

    Raises: ArgumentNotSerializable with the path to the offender.
    """
    for position, value in enumerate(args):
        kind = type(value)
        if kind is int or kind is bool or value is None:
            continue
        _check(value, f"args[{position}]", 1)


def _check(value: Any, path: str, depth: int) -> None:
    kind = type(value)
    if kind is str:
        if not value.isascii():
            _check_text(value, path)
    elif kind is float:
        if not math.isfinite(value):
            raise ArgumentNotSerializable(path, f"is {value!r}", "JSON has no such number")
    elif kind is list:
        if depth > DEPTH_LIMIT:
            raise _too_deep(path)
        for index, item in enumerate(value):
            _check(item, f"{path}[{index}]", depth + 1)
    elif kind is dict:
        if depth > DEPTH_LIMIT:
            raise _too_deep(path)
        for key, item in value.items():
            if type(key) is not str:
                raise ArgumentNotSerializable(
                    path, f"has the key {key!r}", "keys of a JSON object are strings"
                )
            _check_text(key, path)
            _check(item, f"{path}[{key!r}]", depth + 1)
    elif value is not None and kind is not int and kind is not bool:
        raise ArgumentNotSerializable(path, f"is a {kind.__name__}", _way_out(value))


def _check_text(text: str, path: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ArgumentNotSerializable(
            path, "has a lone surrogate", "UTF-8 cannot hold it; decode the text without them"
        ) from None


def _too_deep(path: str) -> ArgumentNotSerializable:
    return ArgumentNotSerializable(
        f"{path[:60]}...",
        f"is nested deeper than {DEPTH_LIMIT}",
        "pass a key and load the data in the job",
    )


def _way_out(value: Any) -> str:
    if isinstance(value, Model):
        return "pass its pk and load it in the job, for it may have changed by then"
    if isinstance(value, QuerySet):
        return "pass the primary keys as a list"
    if hasattr(value, "isoformat"):
        return "pass when.isoformat()"
    if isinstance(value, (tuple, set, frozenset)):
        return "pass a list"
    if isinstance(value, (bytes, bytearray, memoryview)):
        return "pass base64 text"
    for plain in (str, int, float, list, dict):
        if isinstance(value, plain):
            return f"pass a plain {plain.__name__}"
    return "pass str(), or only int, float, bool, None, str, list and dict with str keys"
