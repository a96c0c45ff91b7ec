"""The way to the server: a name that leads somewhere else by now, and a database of our own."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from typing import Any

import pytest

from django_jobqueue.exceptions import StoreUnavailable
from django_jobqueue.store.store import Store
from tests.support import acl
from tests.support.server import RedisServer

PrivateRedis = Callable[..., RedisServer]

NAME = "redis.example"

_getaddrinfo = socket.getaddrinfo


class Names:
    """What a resolver says of ``NAME``: a server, or that nobody knows it."""

    def __init__(self) -> None:
        self.server: RedisServer | None = None
        self.asked = 0

    def getaddrinfo(self, host: str, *arguments: Any, **options: Any) -> Any:
        """Answer as ``socket.getaddrinfo``; here a name has a port too."""
        if host != NAME:  # a test's own clients
            return _getaddrinfo(host, *arguments, **options)
        self.asked += 1
        if self.server is None:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        address = ("127.0.0.1", self.server.port)
        return [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", address)]


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    made = Names()
    monkeypatch.setattr(socket, "getaddrinfo", made.getaddrinfo)
    return made


@pytest.fixture
def store(names: Names) -> Iterator[Store]:
    """A store on the server of that name."""
    with closing(Store(f"redis://{acl.login()}{NAME}/0", prefix="t:", timeout=10.0)) as made:
        yield made


def entries(server: RedisServer, db: int = 0) -> list[bytes]:
    with server.client(db=db) as client:
        found: list[bytes] = client.lrange("t:queue:q", 0, -1)
    return found


def test_a_name_is_looked_up_with_each_connection(
    private_redis: PrivateRedis, names: Names, store: Store
) -> None:
    old, new = private_redis(), private_redis()
    names.server = old
    store.queues.push({"q": [b"1"]})
    store.queues.push({"q": [b"2"]})
    assert names.asked == 1
    names.server = new
    old.kill9()
    with suppress(StoreUnavailable):  # a line that was used a moment ago is believed to be whole
        store.ping()
    store.queues.push({"q": [b"3"]})
    assert entries(new) == [b"3"]
    assert names.asked == 2


def test_a_name_that_nobody_knows_is_an_outage(
    private_redis: PrivateRedis, names: Names, store: Store
) -> None:
    with pytest.raises(StoreUnavailable, match=NAME):
        store.ping()
    names.server = private_redis()
    store.ping()


def test_a_database_of_another_number_is_a_place_of_its_own(private_redis: PrivateRedis) -> None:
    server = private_redis()
    url = server.url.removesuffix("/0")
    with closing(Store(f"{url}/7", prefix="t:", timeout=10.0)) as store:
        store.queues.push({"q": [b"1", b"2"]})
        (claim, _) = store.claims.step("me", lease=60, batch="b", wanted=2, queues=["q"]).claimed
        done = [claim.field]
        step = store.claims.step("me", lease=60, batch="c", wanted=0, queues=[], done=done)
        assert step.fenced == 0
        store.queues.push({"q": [b"3"]})
        assert store.claims.count("me") == 1
    assert entries(server, 7) == [b"3"]
    with server.client() as client:
        assert client.dbsize() == 0
