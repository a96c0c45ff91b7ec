"""A drill removes what is ours, and nothing of anybody else."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing

import pytest

from django_jobqueue.store import eraser as room
from django_jobqueue.store.store import Store
from tests.support.inside import Inside
from tests.support.server import RedisServer

OURS = (
    "queues queue:default queue:a.b schedule retry dead processes paused stat:processed "
    "stat:failed:2027-01-15 jq:epoch jq:unique:00 jq:claims:host:1:0123456789ab j|270115|8:05 "
    "h|Class-15-8:5 host.name:12:0123456789ab host:12:0123456789ab:work "
    "host:12:0123456789ab-signals 20270115-marks deploylock-v1.2"
).split()


def test_everything_under_the_prefix_goes_and_nothing_else(
    inside: Inside, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "PAGE", 3)
    names = [*OURS, "anything"]
    for name in names:
        inside.client.set(inside.key(name), "x")
    neighbour = f"x{inside.prefix}queues"
    inside.client.set(neighbour, "x")
    try:
        assert store.eraser.foreign() is None
        assert len(store.eraser.ours()) == len(names)
        assert store.eraser.erase() == len(names)
        assert inside.names() == set()
        assert inside.client.exists(neighbour) == 1
    finally:
        inside.client.delete(neighbour)


def test_a_prefix_is_no_pattern(redis_server: RedisServer, inside: Inside) -> None:
    inside.client.set(inside.key("*[a]:queues"), "x")
    inside.client.set(inside.key("bba:queues"), "x")
    with closing(Store(redis_server.url, prefix=f"{inside.prefix}*[a]:")) as store:
        assert store.eraser.erase() == 1
    assert inside.names() == {"bba:queues"}


def test_without_a_prefix_only_names_that_we_know_are_ours(
    private_redis: Callable[..., RedisServer],
) -> None:
    server = private_redis()
    with closing(Store(server.url)) as store, server.client() as client:
        for name in OURS:
            client.set(name, "x")
        assert store.eraser.foreign() is None
        for name in ("session:7", "host:12:0123", "my:queues", "a:b:0123456789ab"):
            client.set(name, "x")
            assert store.eraser.foreign() == name.encode()
            client.delete(name)
        client.set("session:7", "x")
        assert store.eraser.erase() == len(OURS)
        assert client.keys("*") == [b"session:7"]


def test_nothing_is_removed_where_nothing_is(store: Store) -> None:
    assert store.eraser.erase() == 0
    assert store.eraser.locks() == {}


def test_every_lock_is_told_with_its_holder(inside: Inside, store: Store) -> None:
    inside.client.set(store.keys.unique("ab" * 16), "jid 1")
    inside.client.set(store.keys.tombstone("ab" * 16), "x")
    assert store.eraser.locks() == {"ab" * 16: "jid 1"}
