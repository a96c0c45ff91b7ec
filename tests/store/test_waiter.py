"""Waiting for a push: it wakes at once, and it takes nothing."""

from __future__ import annotations

import os
import resource
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
import redis

from django_jobqueue import clock
from django_jobqueue.exceptions import StoreError, StoreFull, StoreRefused, StoreUnavailable
from django_jobqueue.store.store import Store
from django_jobqueue.store.waiter import BLOCK, SILENCE, Waiter
from tests.store.faults import wrong_type
from tests.support.polling import wait_until
from tests.support.proxy import TcpProxy
from tests.support.server import RedisServer

#: Seconds that a wait may last which ought to end much earlier.
LONG = 60.0


class Pipe:
    """A wake-up pipe, as the fetcher has one."""

    def __init__(self) -> None:
        self.reads, self.writes = os.pipe()
        os.set_blocking(self.reads, False)

    def ring(self) -> None:
        """Wake the waiter, as two threads that do it at once."""
        os.write(self.writes, b"xx")

    def close(self) -> None:
        """Close both ends."""
        os.close(self.reads)
        os.close(self.writes)


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    made = Pipe()
    yield made
    made.close()


@pytest.fixture
def waiter(store: Store, pipe: Pipe, raw: redis.Redis) -> Iterator[Waiter]:
    made = store.waiter(pipe.reads)
    yield made
    made.close()
    wait_until(lambda: not blocked(raw), what="the server to forget who waited")


@pytest.fixture
def in_thread() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as threads:
        yield threads


def blocked(client: redis.Redis) -> list[dict[str, str]]:
    """Return the connections that wait at the server for a push."""
    found = [entry for entry in client.client_list() if "b" in entry["flags"]]
    return [entry for entry in found if entry["cmd"] == "blmove"]


def test_a_push_ends_the_wait_and_stays_in_its_queue(
    store: Store, raw: redis.Redis, waiter: Waiter, in_thread: ThreadPoolExecutor
) -> None:
    waiting = in_thread.submit(waiter.wait, ["a", "b"], LONG)
    wait_until(lambda: len(blocked(raw)) == 2, what="two blocked connections")
    store.queues.push({"b": [b"1", b"2"]})
    assert waiting.result(LONG)
    assert store.queues.page("b") == [b"1", b"2"]


def test_a_queue_that_has_jobs_ends_the_wait_at_once_and_keeps_their_order(
    store: Store, waiter: Waiter
) -> None:
    jobs = [b"%d" % n for n in range(5)]
    store.queues.push({"q": jobs})
    for _ in range(4):
        assert waiter.wait(["q", "empty"], LONG)
    assert store.queues.page("q") == jobs


def test_a_wake_up_ends_the_wait_and_is_used_up(
    raw: redis.Redis, waiter: Waiter, pipe: Pipe, in_thread: ThreadPoolExecutor
) -> None:
    waiting = in_thread.submit(waiter.wait, ["q"], LONG)
    wait_until(lambda: blocked(raw), what="a blocked connection")
    pipe.ring()
    assert not waiting.result(LONG)
    with pytest.raises(BlockingIOError):
        os.read(pipe.reads, 1)


def test_a_wait_ends_by_itself(waiter: Waiter) -> None:
    assert not waiter.wait(["q"], 0.01)
    assert not waiter.wait([], 0.01)


def test_one_command_waits_over_several_calls(raw: redis.Redis, waiter: Waiter) -> None:
    for _ in range(3):
        waiter.wait(["q"], 0.01)
    assert len(blocked(raw)) == 1


def test_every_waiting_process_is_woken_and_nobody_takes(
    redis_server: RedisServer, key_prefix: str, raw: redis.Redis
) -> None:
    fleet = 5
    pipes = [Pipe() for _ in range(fleet)]
    stores = [Store(redis_server.url, prefix=key_prefix) for _ in range(fleet)]
    waiters = [store.waiter(pipe.reads) for store, pipe in zip(stores, pipes, strict=True)]
    with ThreadPoolExecutor(fleet) as threads:
        waits = [threads.submit(waiter.wait, ["q"], LONG) for waiter in waiters]
        wait_until(lambda: len(blocked(raw)) == fleet, what="a waiting fleet")
        stores[0].queues.push({"q": [b"only one"]})
        assert all(wait.result(LONG) for wait in waits)
    assert stores[0].queues.page("q") == [b"only one"]
    for waiter in waiters:
        waiter.close()
    for store in stores:
        store.close()
    for pipe in pipes:
        pipe.close()


def test_a_dropped_connection_is_told_and_made_anew(
    store: Store, raw: redis.Redis, waiter: Waiter, in_thread: ThreadPoolExecutor
) -> None:
    waiting = in_thread.submit(waiter.wait, ["q"], LONG)
    (entry,) = wait_until(lambda: blocked(raw), what="a blocked connection")
    raw.client_kill_filter(_id=entry["id"])
    assert isinstance(waiting.exception(LONG), StoreUnavailable)
    store.queues.push({"q": [b"1"]})
    assert waiter.wait(["q"], LONG)


def test_a_wait_that_the_server_ends_is_told(
    store: Store, raw: redis.Redis, waiter: Waiter, in_thread: ThreadPoolExecutor
) -> None:
    """As a failover does: UNBLOCKED."""
    waiting = in_thread.submit(waiter.wait, ["q"], LONG)
    (entry,) = wait_until(lambda: blocked(raw), what="a blocked connection")
    raw.client_unblock(int(entry["id"]), error=True)
    assert isinstance(waiting.exception(LONG), StoreUnavailable)
    store.queues.push({"q": [b"1"]})
    assert waiter.wait(["q"], LONG)


def test_a_killed_server_is_told(
    private_redis: Callable[..., RedisServer], pipe: Pipe, in_thread: ThreadPoolExecutor
) -> None:
    server = private_redis()
    store = Store(server.url)
    waiter = store.waiter(pipe.reads)
    with server.client() as client:
        waiting = in_thread.submit(waiter.wait, ["q"], LONG)
        wait_until(lambda: blocked(client), what="a blocked connection")
        server.kill9()
        assert isinstance(waiting.exception(LONG), StoreUnavailable)
    with pytest.raises(StoreUnavailable):
        waiter.wait(["q"], LONG)
    server.start()
    store.queues.push({"q": [b"1"]})
    assert waiter.wait(["q"], LONG)
    waiter.close()
    store.close()


def test_a_full_redis_lets_nobody_wait(
    private_redis: Callable[..., RedisServer], pipe: Pipe
) -> None:
    server = private_redis(maxmemory=1)
    store = Store(server.url)
    waiter = store.waiter(pipe.reads)
    for _ in range(2):
        with pytest.raises(StoreFull):
            waiter.wait(["q"], LONG)
    with server.client() as client:
        client.config_set("maxmemory", 0)
    store.queues.push({"q": [b"1"]})
    assert waiter.wait(["q"], LONG)
    waiter.close()
    store.close()


def test_a_queue_of_a_wrong_type_is_told_each_time_and_the_others_can_be_waited_for(
    store: Store, raw: redis.Redis, waiter: Waiter
) -> None:
    store.queues.push({"good": [b"1"]})
    with wrong_type(raw, store.keys.queue("bad")):
        for _ in range(2):
            with pytest.raises(StoreRefused, match="WRONGTYPE"):
                _until_error(waiter, ["bad"])
        assert waiter.wait(["good"], LONG)
    assert store.queues.page("good") == [b"1"]


def test_a_connection_that_says_nothing_is_given_up(
    redis_server: RedisServer, key_prefix: str, pipe: Pipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr(clock, "monotonic", lambda: now)
    with TcpProxy(redis_server.node_url) as proxy:
        store = Store(proxy.url, prefix=key_prefix)
        waiter = store.waiter(pipe.reads)
        assert not waiter.wait(["q"], 0.01)
        proxy.black_hole()
        for _ in range(3):
            now += (SILENCE - 0.1) / 3
            assert not waiter.wait(["q"], 0.01)
        now += 0.2
        with pytest.raises(StoreUnavailable, match="no reply"):
            waiter.wait(["q"], 0.01)
        proxy.pass_through()
        store.close()
        store.queues.push({"q": [b"1"]})
        assert waiter.wait(["q"], LONG)
        waiter.close()
        store.close()


@pytest.mark.parametrize("has_answered", [False, True])
def test_a_connection_lost_while_nobody_waited_is_no_news(
    store: Store,
    raw: redis.Redis,
    waiter: Waiter,
    monkeypatch: pytest.MonkeyPatch,
    has_answered: bool,
) -> None:
    now = 1000.0
    monkeypatch.setattr(clock, "monotonic", lambda: now)
    if has_answered:
        store.queues.push({"q": [b"1"]})
    assert waiter.wait(["q"], LONG if has_answered else 0.01) == ["q"] * has_answered
    (entry,) = [each for each in raw.client_list() if each["cmd"] == "blmove"]
    raw.client_kill_filter(_id=entry["id"])
    now += BLOCK + 1.0
    store.queues.push({"q": [b"2"]})
    assert waiter.wait(["q"], LONG) == ["q"]


def test_a_queue_that_is_not_waited_for_any_more_is_not_missed(
    store: Store, waiter: Waiter, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr(clock, "monotonic", lambda: now)
    store.queues.push({"a": [b"1"]})
    assert waiter.wait(["a", "b"], LONG)
    now += SILENCE + 1
    assert waiter.wait(["a"], LONG)


def test_descriptors_of_any_number_are_waited_for(
    store: Store, raw: redis.Redis, in_thread: ThreadPoolExecutor
) -> None:
    """``select`` refuses those over 1023, which a leaking job may leave us with."""
    with _many_open_files(1100):
        pipe = Pipe()
        assert pipe.reads > 1023
        waiter = store.waiter(pipe.reads)
        waiting = in_thread.submit(waiter.wait, ["q"], LONG)
        wait_until(lambda: blocked(raw), what="a blocked connection")
        store.queues.push({"q": [b"1"]})
        assert waiting.result(LONG)
        pipe.ring()
        waiter.wait([], LONG)
        waiter.close()
        pipe.close()


def test_closing_takes_the_connections_away(raw: redis.Redis, waiter: Waiter) -> None:
    waiter.wait(["a", "b"], 0.01)
    waiter.close()
    wait_until(lambda: not blocked(raw), what="the server to forget who waited")


def test_waiting_needs_no_connection_that_others_use(store: Store, waiter: Waiter) -> None:
    waiter.wait(["q"], 0.01)
    store.close()
    store.queues.push({"q": [b"1"]})
    assert waiter.wait(["q"], LONG)


def test_a_job_taken_by_a_step_in_the_meantime_is_no_harm(
    store: Store, raw: redis.Redis, waiter: Waiter, in_thread: ThreadPoolExecutor
) -> None:
    waiting = in_thread.submit(waiter.wait, ["q"], LONG)
    wait_until(lambda: blocked(raw), what="a blocked connection")
    store.queues.push({"q": [b"1"]})
    store.claims.step("other", lease=60, batch="b", wanted=1, queues=["q"])
    assert waiting.result(LONG)  # there was one; who comes late finds nothing
    assert store.queues.page("q") == []
    assert store.claims.count("other") == 1


def _until_error(waiter: Waiter, queues: list[str]) -> None:
    """Wait until the waiter raises; the answer may take more than one call."""

    def raised() -> StoreError | None:
        try:
            waiter.wait(queues, 1.0)
        except StoreError as error:
            return error
        return None

    raise wait_until(raised, what="an error")


@contextmanager
def _many_open_files(count: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * count
    if hard != resource.RLIM_INFINITY and hard < wanted:
        pytest.skip(f"this machine allows {hard} open files")
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    opened = [os.open(os.devnull, os.O_RDONLY) for _ in range(count)]
    try:
        yield
    finally:
        for descriptor in opened:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
