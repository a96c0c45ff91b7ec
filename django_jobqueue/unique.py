"""Which jobs are the same work: the name of a unique lock, and the key for other systems."""

from __future__ import annotations

import hashlib
import uuid
from typing import Any

from django_jobqueue import json_text

#: What our keys are made in. Never changed: other systems remember them.
NAMESPACE = uuid.UUID("922ce5f5-aa9c-41f7-b006-bcee4cd90d8a")

_encode = json_text.writer(ascii_only=True, sort_keys=True)


def digest(name: str, key: Any) -> str:
    """
    Return what names the lock of a job: 32 hex digits over its wire name and ``key``.

    ``key`` is JSON (the arguments, or what ``unique_key`` makes of them). The
    queue is no part of it: a reconciler may heal into a slower one. The JSON is
    canonical, so that the order of keys does not matter, and ``1``, ``1.0`` and
    ``true`` stay apart.

    Raises: TypeError or ValueError for what is not JSON.
    """
    return hashlib.blake2b(canonical([name, key]).encode(), digest_size=16).hexdigest()


def idempotency_key(name: str, args: list[Any]) -> uuid.UUID:
    """
    Return the UUID (version 5) of a job's wire name and arguments.

    Raises: TypeError or ValueError for what is not JSON.
    """
    return uuid.uuid5(NAMESPACE, canonical([name, args]))


def canonical(value: Any) -> str:
    """
    Return JSON that is the same for the same value, whoever wrote it down, and in ASCII.

    Raises: TypeError or ValueError for what is not JSON.
    """
    return _encode(value)
