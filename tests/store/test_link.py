"""The line to Redis: its errors are ours, and one thread's trouble is not another's."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
import redis

from django_jobqueue.exceptions import (
    AccessDenied,
    StoreError,
    StoreFull,
    StoreRefused,
    StoreUnavailable,
)
from django_jobqueue.store.link import Link
from django_jobqueue.store.store import Store
from tests.support.polling import wait_until
from tests.support.proxy import TcpProxy
from tests.support.server import RedisServer

PASSWORD = "s3cret-word"


@pytest.fixture
def link(store: Store) -> Link:
    return store._link


# What an error becomes -------------------------------------------------------


@pytest.mark.parametrize(
    "word",
    [
        "LOADING", "READONLY", "MASTERDOWN", "CLUSTERDOWN", "NOREPLICAS", "MISCONF", "UNBLOCKED",
        "TRYAGAIN", "BUSY",
    ],
)  # fmt: skip
def test_a_server_that_will_serve_again_is_unavailable(link: Link, word: str) -> None:
    with pytest.raises(StoreUnavailable) as caught:
        _answer(link, f"{word} wait a little")
    assert not isinstance(caught.value, AccessDenied)


@pytest.mark.parametrize("text", ["MOVED 3999 127.0.0.1:6381", "ASK 3999 127.0.0.1:6381"])
def test_a_slot_that_moves_is_unavailable(link: Link, text: str) -> None:
    with pytest.raises(StoreUnavailable):
        _answer(link, text)


@pytest.mark.parametrize("word", ["NOAUTH", "WRONGPASS", "NOPERM"])
def test_a_server_that_does_not_let_us_in_denies_access(link: Link, word: str) -> None:
    with pytest.raises(AccessDenied):
        _answer(link, f"{word} who are you")


def test_a_full_server_is_full(link: Link) -> None:
    with pytest.raises(StoreFull):
        _answer(link, "OOM command not allowed when used memory > 'maxmemory'.")


@pytest.mark.parametrize("text", ["WRONGTYPE not a list", "ERR syntax error", "SOMETHING else"])
def test_any_other_answer_is_a_refusal(link: Link, text: str) -> None:
    with pytest.raises(StoreRefused) as caught:
        _answer(link, text)
    assert link.address in str(caught.value)


def test_errors_say_where_and_keep_their_cause(link: Link) -> None:
    with pytest.raises(StoreError) as caught:
        _answer(link, "ERR oh")
    assert str(caught.value) == caught.value.detail
    assert isinstance(caught.value.__cause__, redis.RedisError)


def test_a_pipeline_raises_its_first_error_and_runs_the_rest(link: Link, key_prefix: str) -> None:
    key = f"{key_prefix}k"
    with pytest.raises(StoreRefused):
        link.pipeline([("SET", key, "x"), ("LPUSH", key, "y"), ("SET", f"{key}2", "z")])
    assert link.call("GET", f"{key}2") == b"z"


def test_an_attempt_keeps_the_replies_that_others_spoil(link: Link, key_prefix: str) -> None:
    key = f"{key_prefix}text"
    link.call("SET", key, "a")
    refused, text, nothing = link.attempt([("LLEN", key), ("GET", key), ("HGETALL", f"{key}:none")])
    assert isinstance(refused, StoreRefused)
    assert (text, nothing) == (b"a", {})
    assert link.attempt([]) == []


def test_a_transaction_that_cannot_be_queued_does_nothing(link: Link, key_prefix: str) -> None:
    with pytest.raises(StoreRefused):
        link.pipeline([("SET", f"{key_prefix}k", "x"), ("NO_SUCH_COMMAND",)], atomic=True)
    assert link.call("EXISTS", f"{key_prefix}k") == 0
    assert link.pipeline([]) == []


# The server goes away --------------------------------------------------------


def test_a_killed_server_is_unavailable_and_a_new_one_is_used(
    private_redis: Callable[..., RedisServer],
) -> None:
    server = private_redis()
    store = Store(server.url)
    store.queues.push({"q": [b"1"]})
    server.kill9()
    verbs: list[Callable[[], object]] = [
        store.ping,
        lambda: store.queues.push({"q": [b"2"]}),
        lambda: store.claims.step("me", lease=60, batch="b", wanted=1, queues=["q"]),
        lambda: store.queues.sizes(["q"]),
    ]
    for verb in verbs:
        with pytest.raises(StoreUnavailable) as caught:
            verb()
        assert isinstance(caught.value, ConnectionError)  # the builtin a caller would expect
    server.start()
    store.ping()
    store.close()


def test_a_server_that_does_not_answer_is_unavailable_in_time(redis_server: RedisServer) -> None:
    with TcpProxy(redis_server.node_url) as proxy:
        store = Store(proxy.url, timeout=0.2)
        store.ping()
        proxy.black_hole()
        with pytest.raises(StoreUnavailable):
            store.ping()
        store.close()


def test_a_reply_that_comes_too_late_is_nobody_elses(
    redis_server: RedisServer, key_prefix: str
) -> None:
    with TcpProxy(redis_server.node_url) as proxy:
        link = Store(proxy.url, timeout=0.3)._link
        link.call("SET", f"{key_prefix}k", "mine")
        proxy.delay(1.0)
        with pytest.raises(StoreUnavailable):
            link.call("EVAL", "return ARGV[1]", 0, "late")
        proxy.pass_through()
        for _ in range(5):
            assert link.call("GET", f"{key_prefix}k") == b"mine"
        link.close()


def test_cut_connections_are_unavailable_once(redis_server: RedisServer) -> None:
    with TcpProxy(redis_server.node_url) as proxy:
        store = Store(proxy.url)
        store.ping()
        proxy.refuse()
        with pytest.raises(StoreUnavailable):
            store.ping()
        proxy.pass_through()
        store.ping()
        store.close()


def test_a_host_that_is_not_there_is_unavailable() -> None:
    store = Store("redis://127.0.0.1:1/0")
    with pytest.raises(StoreUnavailable, match=re.escape("127.0.0.1:1")):
        store.ping()
    store.close()


def test_a_store_that_was_closed_opens_again(store: Store) -> None:
    store.ping()
    store.close()
    store.ping()


# Threads ---------------------------------------------------------------------


def test_the_trouble_of_one_thread_does_not_cut_the_command_of_another(
    link: Link, key_prefix: str, raw: redis.Redis
) -> None:
    with ThreadPoolExecutor(1) as threads:
        key = f"{key_prefix}list"
        waiting = threads.submit(link.call, "BLMOVE", key, key, "RIGHT", "RIGHT", 8)
        wait_until(lambda: _blocked(raw, "blmove"), what="a blocked connection")
        for _ in range(3):
            with pytest.raises(StoreUnavailable):
                _answer(link, "MISCONF trouble")
        raw.lpush(key, "job")
        assert waiting.result(30) == b"job"


def test_threads_get_their_own_replies(link: Link) -> None:
    wrong: list[object] = []

    def ask(name: str) -> None:
        for n in range(200):
            reply = link.call("EVAL", "return ARGV[1]", 0, f"{name}:{n}")
            if reply != f"{name}:{n}".encode():
                wrong.append(reply)

    threads = [threading.Thread(target=ask, args=(f"t{n}",)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


# Who may come in -------------------------------------------------------------


def test_a_wrong_password_denies_access_and_is_never_told(
    private_redis: Callable[..., RedisServer],
) -> None:
    server = private_redis()
    with server.client() as client:
        client.acl_setuser(
            "worker", enabled=True, passwords=["+right"], keys=["*"], categories=["+@all"]
        )
    store = Store(f"redis://worker:{PASSWORD}@127.0.0.1:{server.port}/0")
    with pytest.raises(AccessDenied) as caught:
        store.ping()
    _assert_not_told(caught.value)
    assert PASSWORD not in store.address
    store.close()


def test_no_password_denies_access(private_redis: Callable[..., RedisServer]) -> None:
    server = private_redis()
    with server.client() as client:
        client.config_set("requirepass", PASSWORD)
        store = Store(f"redis://127.0.0.1:{server.port}/0")
        with pytest.raises(AccessDenied):
            store.ping()
        store.close()
        inside = Store(f"redis://:{PASSWORD}@127.0.0.1:{server.port}/0")
        inside.ping()
        inside.close()


@pytest.mark.parametrize(
    "revoked",
    ["-evalsha", "-zadd", "-hdel", "-time", "-@all"],
)
def test_a_permission_taken_away_denies_access_until_it_is_given_back(
    private_redis: Callable[..., RedisServer], revoked: str
) -> None:
    server = private_redis()
    store = Store(f"redis://worker:{PASSWORD}@127.0.0.1:{server.port}/0")
    with server.client() as client:
        client.execute_command("ACL", "SETUSER", "worker", "on", f">{PASSWORD}", "~*", "+@all")
        _step(store)
        client.execute_command("ACL", "SETUSER", "worker", revoked)
        with pytest.raises(AccessDenied) as caught:
            _step(store)
        _assert_not_told(caught.value)
        client.execute_command("ACL", "SETUSER", "worker", "+@all")
        _step(store)
    store.close()


def test_keys_out_of_reach_deny_access(private_redis: Callable[..., RedisServer]) -> None:
    server = private_redis()
    with server.client() as client:
        client.execute_command(
            "ACL", "SETUSER", "worker", "on", f">{PASSWORD}", "~mine:*", "+@all"
        )  # fmt: skip
    mine = Store(f"redis://worker:{PASSWORD}@127.0.0.1:{server.port}/0", prefix="mine:")
    _step(mine)
    theirs = Store(f"redis://worker:{PASSWORD}@127.0.0.1:{server.port}/0", prefix="theirs:")
    with pytest.raises(AccessDenied):
        _step(theirs)
    mine.close()
    theirs.close()


def test_a_password_is_in_no_error_of_an_outage(private_redis: Callable[..., RedisServer]) -> None:
    server = private_redis()
    store = Store(f"redis://:{PASSWORD}@127.0.0.1:{server.port}/0")
    server.kill9()
    with pytest.raises(StoreUnavailable) as caught:
        store.ping()
    _assert_not_told(caught.value)
    store.close()


# Addresses -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "address"),
    [
        (f"redis://user:{PASSWORD}@example.org:7000/3", "example.org:7000"),
        (f"rediss://:{PASSWORD}@example.org", "example.org:6379"),
        ("redis://example.org", "example.org:6379"),
        (f"unix://user:{PASSWORD}@/run/redis.sock?db=1", "/run/redis.sock"),
    ],
)
def test_an_address_has_no_password(url: str, address: str) -> None:
    store = Store(url)
    assert store.address == address
    store.close()


def test_a_unix_socket_does_as_well(redis_server: RedisServer, key_prefix: str) -> None:
    store = Store(redis_server.socket_url, prefix=key_prefix)
    store.queues.push({"q": [b"1"]})
    assert store.address == str(redis_server.socket_path)
    with redis_server.client() as client:
        assert client.lrange(store.keys.queue("q"), 0, -1) == [b"1"]
    store.close()


def test_a_dedicated_store_is_the_same_over_connections_of_its_own(
    store: Store, key_prefix: str
) -> None:
    dedicated = store.dedicated(timeout=1.5)
    assert dedicated.keys.prefix == key_prefix
    assert dedicated._link is not store._link
    assert dedicated._link.timeout == 1.5
    store.queues.push({"q": [b"1"]})
    assert dedicated.queues.page("q") == [b"1"]
    dedicated.close()


def _answer(link: Link, text: str) -> None:
    """Let the server answer with an error."""
    link.call("EVAL", "return redis.error_reply(ARGV[1])", 0, text)


def _step(store: Store) -> None:
    store.claims.step("me", lease=60, batch="b", wanted=1, queues=["q"])


def _blocked(client: redis.Redis, command: str) -> bool:
    return any(entry["cmd"] == command for entry in client.client_list())


def _assert_not_told(error: BaseException | None) -> None:
    while error is not None:
        assert PASSWORD not in str(error)
        assert PASSWORD not in repr(error)
        error = error.__cause__ or error.__context__
