"""Faults that a test puts into Redis and takes away again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import redis


@contextmanager
def wrong_type(client: redis.Redis, key: str) -> Iterator[None]:
    """Make a key one of a type that nobody expects there, for a while."""
    aside = f"{key}:aside"
    was_there = bool(client.exists(key))
    if was_there:
        client.rename(key, aside)
    client.xadd(key, {"not": "ours"})
    try:
        yield
    finally:
        client.delete(key)
        if was_there:
            client.rename(aside, key)
