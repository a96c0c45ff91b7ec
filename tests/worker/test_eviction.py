"""A server that begins to throw keys away while workers run."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing

import pytest

from django_jobqueue.store.store import Store
from django_jobqueue.worker.eviction import LOOK, EvictionWatch
from tests.support.server import RedisServer


def test_a_policy_that_throws_jobs_away_is_told_once_and_again_when_it_comes_back(
    private_redis: Callable[..., RedisServer], caplog: pytest.LogCaptureFixture
) -> None:
    server = private_redis()
    told = []
    with closing(Store(server.url)) as store, server.client() as client:
        watch = EvictionWatch(store)
        for policy in ("noeviction", "allkeys-lru", "allkeys-lru", "noeviction", "volatile-ttl"):
            client.config_set("maxmemory-policy", policy)
            caplog.clear()
            assert watch.tick() == LOOK
            told.append([record.levelname for record in caplog.records])
    assert told == [[], ["ERROR"], [], [], ["ERROR"]]
    assert f"Redis at 127.0.0.1:{server.port} has maxmemory-policy volatile-ttl" in caplog.text
