"""The faulty network: each fault does what its name says, and can be taken back."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.support.polling import wait_until
from tests.support.proxy import TcpProxy
from tests.support.server import CLIENT_OPTIONS, RedisServer

Connect = Callable[..., redis.Redis]


def raw_socket(client: redis.Redis) -> socket.socket:
    """Return the socket of a client with a single connection, to write requests by hand."""
    assert client.connection is not None
    sock: Any = client.connection._sock
    assert isinstance(sock, socket.socket)
    return sock


@pytest.fixture
def proxy(redis_server: RedisServer) -> Iterator[TcpProxy]:
    # As the user who may do everything, whoever the run is.
    with TcpProxy(f"redis://127.0.0.1:{redis_server.port}/0") as proxy:
        yield proxy


@pytest.fixture
def connect(proxy: TcpProxy) -> Iterator[Connect]:
    """Clients through the proxy, one connection each, that give up after ``timeout``."""
    with ExitStack() as clients:

        def make(timeout: float = 10.0, **more: Any) -> redis.Redis:
            options = {**CLIENT_OPTIONS, "socket_timeout": timeout, **more}
            client: redis.Redis = redis.Redis.from_url(
                proxy.url, retry=Retry(NoBackoff(), 0), single_connection_client=True, **options
            )
            clients.enter_context(client)
            return client

        yield make


@pytest.fixture
def direct(redis_server: RedisServer) -> Iterator[redis.Redis]:
    with redis_server.client() as client:
        yield client


def test_it_passes_everything_both_ways(connect: Connect, key_prefix: str) -> None:
    client = connect()
    big = bytes(range(256)) * 4096
    client.set(f"{key_prefix}big", big)
    assert client.get(f"{key_prefix}big") == big


def test_it_also_stands_before_a_unix_socket(redis_server: RedisServer) -> None:
    with TcpProxy(f"unix://{redis_server.socket_path}?db=0") as proxy:
        assert proxy.url.startswith("redis://127.0.0.1:")
        with redis.Redis.from_url(proxy.url) as client:
            assert client.ping()


def test_the_url_keeps_user_database_and_options() -> None:
    proxy = TcpProxy("redis://me:word@example.invalid:6379/3?health_check_interval=5")
    assert proxy.url == "redis://me:word@127.0.0.1:0/3?health_check_interval=5"
    proxy.close()


def test_a_black_hole_answers_nothing_and_closes_nothing(
    proxy: TcpProxy, connect: Connect, direct: redis.Redis, key_prefix: str
) -> None:
    client = connect(0.1)
    client.ping()
    proxy.black_hole()
    with pytest.raises(redis.TimeoutError):
        client.set(f"{key_prefix}word", "1")
    assert direct.exists(f"{key_prefix}word") == 0
    accepted = proxy.accepted
    with pytest.raises(redis.TimeoutError):
        connect(0.1)
    assert proxy.accepted == accepted + 1  # a new connection is taken, and hears nothing either
    proxy.pass_through()
    assert connect().ping()


def test_a_connection_in_a_black_hole_stays_there(proxy: TcpProxy, connect: Connect) -> None:
    client = connect(0.1)
    sock = raw_socket(client)
    proxy.black_hole()
    sock.sendall(b"PING\r\n")
    proxy.pass_through()
    sock.sendall(b"PING\r\n")
    with pytest.raises(TimeoutError):
        sock.recv(100)


def test_a_delay_makes_the_line_slow(proxy: TcpProxy, connect: Connect) -> None:
    client = connect()
    proxy.delay(0.05)
    before = time.monotonic()
    client.ping()
    assert time.monotonic() - before >= 0.1  # there and back


def test_a_delayed_request_arrives_though_its_client_gave_up(
    proxy: TcpProxy, connect: Connect, direct: redis.Redis, key_prefix: str
) -> None:
    client = connect(0.05)
    proxy.delay(0.3)
    with pytest.raises(redis.TimeoutError):
        client.set(f"{key_prefix}late", "1")
    wait_until(lambda: direct.exists(f"{key_prefix}late"), what="the late request")


def test_bytes_can_come_one_by_one(proxy: TcpProxy, connect: Connect, key_prefix: str) -> None:
    client = connect()
    proxy.delay(0.0, chunk=1)
    client.rpush(f"{key_prefix}list", *range(100))
    assert len(client.lrange(f"{key_prefix}list", 0, -1)) == 100


def test_cutting_resets_every_connection(proxy: TcpProxy, connect: Connect) -> None:
    clients = [connect(), connect()]
    assert proxy.open_connections == 2
    assert proxy.cut_all() == 2
    for client in clients:
        with pytest.raises(redis.ConnectionError):
            client.ping()
    assert all(client.ping() for client in clients)  # reconnected


def test_a_half_closed_connection_hears_nothing_and_still_delivers(
    proxy: TcpProxy, connect: Connect, direct: redis.Redis, key_prefix: str
) -> None:
    sock = raw_socket(connect())
    assert proxy.half_close_all() == 1
    sock.sendall(f"INCR {key_prefix}count\r\n".encode())
    wait_until(lambda: direct.get(f"{key_prefix}count") == b"1", what="the request")
    assert sock.recv(100) == b""


def test_commands_are_answered_by_errors_and_none_is_delivered(
    proxy: TcpProxy, connect: Connect, direct: redis.Redis, key_prefix: str
) -> None:
    client = connect()
    client.ping()
    proxy.answer("MISCONF wait", "ERR oh")
    with pytest.raises(redis.ResponseError, match="MISCONF wait"):
        client.incr(f"{key_prefix}count")
    fresh = connect(client_name="fresh")  # that is told, or there would be no connection
    pipe = fresh.pipeline(transaction=False)
    for _ in range(3):
        pipe.incr(f"{key_prefix}count")
    found = [str(each).partition(" (")[0] for each in pipe.execute(raise_on_error=False)]
    assert found == ["oh", "MISCONF wait", "oh"]
    assert proxy.answered == 4
    proxy.pass_through()
    assert client.incr(f"{key_prefix}count") == 1


def test_refusing_is_a_server_that_is_down(proxy: TcpProxy, connect: Connect) -> None:
    client = connect()
    proxy.refuse()
    with pytest.raises(redis.ConnectionError):
        client.ping()
    with pytest.raises(redis.ConnectionError, match="refused"):
        client.ping()
    port = proxy.port
    proxy.pass_through()
    assert proxy.port == port
    assert client.ping()


def test_a_swallowed_reply_leaves_its_command_done(
    proxy: TcpProxy, connect: Connect, direct: redis.Redis, key_prefix: str
) -> None:
    client = connect(0.1)
    proxy.swallow_replies()
    with pytest.raises(redis.TimeoutError):
        client.incr(f"{key_prefix}count")
    assert direct.get(f"{key_prefix}count") == b"1"
    proxy.pass_through()
    client.close()
    assert connect().incr(f"{key_prefix}count") == 2


def test_only_the_named_command_loses_its_reply(
    proxy: TcpProxy, connect: Connect, direct: redis.Redis, key_prefix: str
) -> None:
    hit, spared = connect(0.1), connect()
    proxy.swallow_replies(to=b"INCRBY", times=1)
    assert hit.ping()
    with pytest.raises(redis.TimeoutError):
        hit.incr(f"{key_prefix}count")
    assert direct.get(f"{key_prefix}count") == b"1"
    assert spared.incr(f"{key_prefix}count") == 2
    hit.close()
    assert hit.incr(f"{key_prefix}count") == 3  # on a new connection, and once is over


def test_a_command_is_recognised_when_it_comes_in_pieces(
    proxy: TcpProxy, connect: Connect, direct: redis.Redis, key_prefix: str
) -> None:
    client = connect(0.1)
    sock = raw_socket(client)
    proxy.swallow_replies(to=b"INCR")
    for piece in (b"IN", b"CR ", f"{key_prefix}count\r\n".encode()):
        sock.sendall(piece)
    wait_until(lambda: direct.get(f"{key_prefix}count") == b"1", what="the command to arrive")
    with pytest.raises(TimeoutError):
        sock.recv(100)


def test_a_request_cut_in_the_middle_is_not_done(
    proxy: TcpProxy, connect: Connect, direct: redis.Redis, key_prefix: str
) -> None:
    client = connect()
    proxy.cut_after(20)
    with pytest.raises(redis.ConnectionError):
        client.set(f"{key_prefix}word", "long enough to be cut")
    assert direct.exists(f"{key_prefix}word") == 0
    assert proxy.hits == 1
    assert client.set(f"{key_prefix}word", "whole")  # one cut, then it passes again


def test_a_request_cut_at_its_end_is_done(
    proxy: TcpProxy, connect: Connect, direct: redis.Redis, key_prefix: str
) -> None:
    client = connect()
    sock = raw_socket(client)
    request = f"INCR {key_prefix}count\r\n".encode()
    proxy.cut_after(len(request))
    sock.sendall(request)
    wait_until(lambda: direct.get(f"{key_prefix}count") == b"1", what="the whole request")


def test_an_answer_can_be_cut_in_the_middle(
    proxy: TcpProxy, connect: Connect, direct: redis.Redis, key_prefix: str
) -> None:
    direct.set(f"{key_prefix}word", "abcdef")
    sock = raw_socket(connect())
    proxy.cut_after(7, direction="reply")
    sock.sendall(f"GET {key_prefix}word\r\n".encode())
    got = b""
    while piece := sock.recv(100):
        got += piece
    assert got == b"$6\r\nabc"


def test_a_server_that_hangs_up_is_heard(
    proxy: TcpProxy, connect: Connect, direct: redis.Redis
) -> None:
    client = connect()
    direct.client_kill_filter(_id=str(client.client_id()))
    with pytest.raises(redis.ConnectionError):
        client.ping()
    wait_until(lambda: proxy.open_connections == 0, what="the proxy to let go")


def test_a_client_that_leaves_is_let_go(proxy: TcpProxy, connect: Connect) -> None:
    connect().close()
    wait_until(lambda: proxy.open_connections == 0, what="the proxy to let go")


def test_a_dead_upstream_hangs_up_on_new_connections(
    private_redis: Callable[..., RedisServer],
) -> None:
    own = private_redis()
    with TcpProxy(own.url) as proxy:
        own.kill9()
        with (
            redis.Redis.from_url(proxy.url, retry=Retry(NoBackoff(), 0)) as client,
            pytest.raises(redis.ConnectionError),
        ):
            client.ping()
        own.start()
        with redis.Redis.from_url(proxy.url) as client:
            assert client.ping()


def test_closing_leaves_no_thread(redis_server: RedisServer) -> None:
    before = threading.active_count()
    with TcpProxy(redis_server.node_url) as proxy, redis.Redis.from_url(proxy.url) as client:
        client.ping()
        assert threading.active_count() == before + 1
    assert threading.active_count() == before
    proxy.close()
