"""What the tests of the cellar share: a store of their own, and a look at what it wrote."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import redis

from django_jobqueue.store.store import Store
from tests.store.contents import Contents
from tests.support.inside import count_round_trips, inside
from tests.support.server import RedisServer

__all__ = ["count_round_trips", "inside", "look", "raw", "store"]


@pytest.fixture
def store(redis_server: RedisServer, key_prefix: str) -> Iterator[Store]:
    """A store on the shared server, under the test's prefix."""
    made = Store(redis_server.url, prefix=key_prefix, timeout=10.0)
    yield made
    made.close()


@pytest.fixture
def raw(redis_server: RedisServer) -> Iterator[redis.Redis]:
    """A plain client of the shared server."""
    with redis_server.client() as client:
        yield client


@pytest.fixture
def look(raw: redis.Redis, key_prefix: str) -> Callable[[], Contents]:
    """Read everything that stands under the test's prefix."""
    return lambda: Contents.read(raw, key_prefix)
