"""Where the server is: Sentinels and clusters that tell, lie, and change their minds."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest
from redis.crc import key_slot
from redis.exceptions import MovedError

from django_jobqueue.exceptions import AccessDenied, StoreUnavailable, WrongServer
from django_jobqueue.store.addresses import (
    UNANSWERED,
    Address,
    ClusterAddress,
    FixedAddress,
    SentinelAddress,
    shown,
)
from django_jobqueue.store.link import Link
from django_jobqueue.store.store import Store
from tests.support.clocks import FrozenClock, freeze
from tests.support.cluster import Cluster
from tests.support.polling import wait_until
from tests.support.prefixes import TOPOLOGY_VARIABLE, new_prefix
from tests.support.sentinel import MASTER, Sentinel
from tests.support.server import RedisServer, free_port

PASSWORD = "s3cret-word"

A, B, C = ("a", 1), ("b", 2), ("c", 3)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> FrozenClock:
    """Time stands still."""
    return freeze(monkeypatch)


class Nodes:
    """What nodes answer, and which were asked. A node without an answer is away."""

    def __init__(self, **answers: Any) -> None:
        self.answers = answers
        self.asked: list[str] = []

    def connect(self, node: Address) -> Any:
        """Return a connection to a node."""
        return _Asked(self, node[0])


class _Asked:
    def __init__(self, nodes: Nodes, host: str) -> None:
        self._nodes = nodes
        self._host = host

    def send_command(self, *command: str) -> None:
        self._nodes.asked.append(self._host)

    def read_response(self) -> Any:
        answer = self._nodes.answers.get(self._host, OSError("Connection refused"))
        if isinstance(answer, Exception):
            raise answer
        return answer

    def disconnect(self) -> None:
        pass


def state(ip: str, port: int, flags: str = "master") -> list[bytes]:
    """Return what a Sentinel says of a master."""
    words = ["name", "main", "ip", ip, "port", str(port), "flags", flags]
    return [word.encode() for word in words]


def sentinels(nodes: Nodes) -> SentinelAddress:
    return SentinelAddress([A, B, C], nodes.connect, "main")


def cluster(nodes: Nodes, slot: int = 9) -> ClusterAddress:
    return ClusterAddress([A, B], nodes.connect, slot)


def where(address: SentinelAddress | ClusterAddress) -> Address:
    found = address.where()
    return found["host"], found["port"]


# One server -----------------------------------------------------------------------


def test_a_server_in_the_url_is_the_only_one() -> None:
    fixed = FixedAddress("h:1")
    fixed.forget()
    assert (fixed.where(), str(fixed), fixed.has_changed()) == ({}, "h:1", False)
    assert not fixed.follow(MovedError("9 x:1"), "h")


@pytest.mark.parametrize(("address", "text"), [(("h", 1), "h:1"), (("::1", 6379), "[::1]:6379")])
def test_an_address_is_shown_as_people_write_it(address: Address, text: str) -> None:
    assert shown(address) == text


# Sentinels, as they answer --------------------------------------------------------


@pytest.mark.parametrize(
    "doubtful",
    [OSError("away"), state("old", 1, "master,s_down"), state("old", 1, "master,s_down,o_down")],
    ids=["away", "s_down", "o_down"],
)
def test_the_first_sentinel_that_vouches_for_a_master_is_believed(doubtful: Any) -> None:
    nodes = Nodes(a=doubtful, b=state("new", 7))
    address = sentinels(nodes)
    assert where(address) == ("new", 7)
    assert nodes.asked == ["a", "b"]
    assert str(address) == "new:7, the master 'main'"


def test_who_could_not_tell_is_asked_last_the_next_time(clock: FrozenClock) -> None:
    nodes = Nodes(b=state("new", 7))
    address = sentinels(nodes)
    address.where()
    clock.advance(60)
    address.where()
    assert nodes.asked == ["a", "b", "b"]


def test_many_connections_at_once_cost_one_question(clock: FrozenClock) -> None:
    nodes = Nodes(a=state("new", 7))
    address = sentinels(nodes)
    for _ in range(10):
        address.where()
    assert nodes.asked == ["a"]
    clock.advance(60)
    address.where()
    assert nodes.asked == ["a", "a"]


def test_where_the_server_could_not_serve_another_sentinel_is_asked() -> None:
    nodes = Nodes(a=state("old", 1), b=state("new", 7))
    address = sentinels(nodes)
    assert where(address) == ("old", 1)
    address.forget()
    address.forget()  # as several threads do, for one fault
    assert where(address) == ("new", 7)


def test_connections_that_are_well_are_left_when_the_master_has_changed(
    clock: FrozenClock,
) -> None:
    nodes = Nodes(a=state("old", 1))
    address = sentinels(nodes)
    address.where()
    assert not address.has_changed()
    clock.advance(60)
    assert not address.has_changed()
    nodes.answers["a"] = state("new", 7)
    assert not address.has_changed()  # asked a moment ago
    clock.advance(60)
    assert address.has_changed()
    assert where(address) == ("new", 7)
    assert not address.has_changed()


@pytest.mark.parametrize("answer", [OSError("away"), state("old", 1, "master,s_down")])
def test_a_sentinel_that_cannot_tell_is_no_reason_to_leave_a_master_that_answers(
    clock: FrozenClock, answer: Any
) -> None:
    nodes = Nodes(a=state("old", 1), b=state("new", 7))
    address = sentinels(nodes)
    address.where()
    nodes.answers["a"] = answer
    assert not address.has_changed()
    asked = len(nodes.asked)
    clock.advance(UNANSWERED - 1)
    assert not address.has_changed()
    assert len(nodes.asked) == asked
    clock.advance(2)
    assert address.has_changed()
    assert where(address) == ("new", 7)


def test_before_the_first_connection_there_is_nothing_to_leave() -> None:
    nodes = Nodes(a=state("old", 1))
    assert not sentinels(nodes).has_changed()
    assert nodes.asked == []


def test_without_an_answer_every_reason_is_told() -> None:
    nodes = Nodes(a=state("x", 1, "master,s_down"), c=state("x", 1, "master,o_down"))
    with pytest.raises(StoreUnavailable) as caught:
        sentinels(nodes).where()
    assert type(caught.value) is StoreUnavailable
    assert str(caught.value) == (
        "nobody names the master 'main': a:1 says that it is down; Connection refused (Redis at "
        "b:2); c:3 says that it is down"
    )


# Clusters, as they answer ---------------------------------------------------------


RANGES = [
    [0, 4, [b"n1", 11, b"id", []], [b"n2", 12, b"id", []]],
    [5, 10, [b"n3", 13, b"id", []]],
    [12, 16383, [b"", 14, b"id", []]],
]


def test_the_owner_of_the_slot_is_found_and_not_its_replicas() -> None:
    nodes = Nodes(a=RANGES)
    assert where(cluster(nodes, slot=0)) == ("n1", 11)
    assert where(cluster(nodes, slot=10)) == ("n3", 13)


@pytest.mark.parametrize("host", [None, b"", b"?"])
def test_a_node_that_does_not_know_its_own_host_is_where_it_was_asked(host: bytes | None) -> None:
    nodes = Nodes(b=[[0, 16383, [host, 14, b"id", []]]])
    assert where(cluster(nodes)) == ("b", 14)


def test_nodes_are_remembered_when_those_of_the_url_are_gone(clock: FrozenClock) -> None:
    nodes = Nodes(a=RANGES)
    address = cluster(nodes)
    address.where()
    nodes.answers = {"n2": [[0, 16383, [b"n4", 15, b"id", []]]]}
    clock.advance(60)
    assert where(address) == ("n4", 15)


def test_nodes_that_came_and_went_are_forgotten_and_those_of_the_url_are_not(
    clock: FrozenClock,
) -> None:
    nodes = Nodes()
    address = cluster(nodes)
    for name in ("n1", "n2", "n3"):  # as pods that are replaced, each with another address
        reply = [[0, 16383, [name.encode(), 11, b"id", []]]]
        nodes.answers = {"a": reply}
        assert where(address) == (name, 11)
        clock.advance(60)
    nodes.answers, nodes.asked = {}, []
    with pytest.raises(StoreUnavailable):
        address.where()
    assert sorted(nodes.asked) == ["a", "b", "n3"]


def test_a_slot_of_nobody_is_an_outage() -> None:
    with pytest.raises(StoreUnavailable, match="a:1 says that nobody serves it") as caught:
        cluster(Nodes(a=RANGES, b=RANGES), slot=11).where()
    assert type(caught.value) is StoreUnavailable


@pytest.mark.parametrize(
    ("moved", "expected"),
    [("9 n7:17", ("n7", 17)), ("9 :17", ("n3", 17)), ("9 ::1:17", ("::1", 17))],
)
def test_who_is_sent_on_goes_there(moved: str, expected: Address) -> None:
    nodes = Nodes(a=RANGES)
    address = cluster(nodes)
    address.where()
    assert address.follow(MovedError(moved), "n3")
    assert where(address) == expected
    assert nodes.asked == ["a"]


def test_who_is_sent_on_from_nowhere_asks() -> None:
    nodes = Nodes(a=RANGES, b=RANGES)
    address = cluster(nodes)
    address.where()
    assert address.follow(MovedError("9 :17"), "")
    assert where(address) == ("n3", 13)
    assert nodes.asked == ["a", "b"]


# Real clusters --------------------------------------------------------------------


@pytest.fixture(scope="module")
def real() -> Iterator[Cluster]:
    """Three nodes for the tests below, who give back what they take away."""
    with Cluster() as made:
        yield made


@pytest.fixture
def tagged(monkeypatch: pytest.MonkeyPatch) -> str:
    """A prefix whose slot the owner of the cluster has."""
    monkeypatch.setenv(TOPOLOGY_VARIABLE, "cluster")
    return new_prefix()


@pytest.fixture
def store(real: Cluster, tagged: str) -> Iterator[Store]:
    """A store by way of the other nodes, with a connection to the owner."""
    with closing(Store(real.owner.url, prefix=tagged)) as made:
        made.queues.names()
        yield made


@contextmanager
def given_away(cluster: Cluster, prefix: str) -> Iterator[RedisServer]:
    """Let another node have the slot of a prefix."""
    slot, other = key_slot(prefix.encode()), cluster.nodes[0]
    cluster.move(slot, other)
    try:
        yield other
    finally:
        with other.client() as client:
            if names := list(client.scan_iter(match=f"{prefix}*")):
                client.unlink(*names)
        cluster.move(slot, cluster.owner)


def test_keys_are_found_by_way_of_nodes_that_do_not_have_them(real: Cluster, store: Store) -> None:
    store.queues.push({"q": [b"1"]})
    with real.owner.client() as client:
        assert client.lrange(store.keys.queue("q"), 0, -1) == [b"1"]
    assert store.address.startswith(f"127.0.0.1:{real.owner.port}, the node with slot ")
    with closing(store.dedicated()) as dedicated:
        assert dedicated.queues.page("q") == [b"1"]


def test_nodes_that_are_away_are_passed_over(real: Cluster, tagged: str) -> None:
    url = f"redis+cluster://127.0.0.1:{free_port()},127.0.0.1:{real.nodes[0].port}"
    with closing(Store(url, prefix=tagged)) as store:
        store.queues.push({"q": [b"1"]})
        assert store.queues.page("q") == [b"1"]


@pytest.mark.parametrize(
    ("way", "expected"),
    [
        (lambda link, key: link.call("INCRBY", key, 1), 1),
        (lambda link, key: link.pipeline([("GET", f"{key}2"), ("INCRBY", key, 1)]), [None, 1]),
        (
            lambda link, key: link.pipeline([("INCRBY", key, 1), ("GET", key)], atomic=True),
            [1, b"1"],
        ),
    ],
    ids=["command", "pipeline", "transaction"],
)  # fmt: skip
def test_a_slot_that_was_given_away_is_followed_and_nothing_runs_twice(
    real: Cluster, store: Store, way: Callable[[Link, str], Any], expected: Any
) -> None:
    with given_away(real, store.keys.prefix) as other:
        assert way(store._link, f"{store.keys.prefix}n") == expected
        assert store.address.startswith(f"127.0.0.1:{other.port}, ")
    assert way(store._link, f"{store.keys.prefix}n") == expected


def test_a_script_that_the_new_node_does_not_know_is_followed(real: Cluster, store: Store) -> None:
    def step() -> int:
        store.queues.push({"q": [b"1", b"2"]})
        return len(store.claims.step("me", lease=60, batch="b", wanted=2, queues=["q"]).claimed)

    with given_away(real, store.keys.prefix) as other:
        with other.client() as client:
            client.script_flush()
        assert step() == 2


def test_who_waits_for_a_push_follows_too(real: Cluster, store: Store) -> None:
    reads, writes = os.pipe()
    waiter = store.waiter(reads)
    with given_away(real, store.keys.prefix):
        store.queues.push({"q": [b"1"]})
        assert waiter.wait(["q"], 30)
    # What waits at a node that loses the slot is told so, and asks anew.
    with pytest.raises(StoreUnavailable):
        wait_until(lambda: waiter.wait(["q"], 30), what="the end of a wait")
    store.queues.push({"q": [b"1"]})
    assert waiter.wait(["q"], 30)
    waiter.close()
    os.close(reads)
    os.close(writes)


def test_a_slot_on_its_way_is_a_short_outage(real: Cluster, store: Store) -> None:
    slot, other = key_slot(store.keys.prefix.encode()), real.nodes[0]
    with real.owner.client() as client, other.client() as new:
        client.execute_command(
            "CLUSTER", "SETSLOT", slot, "MIGRATING", new.execute_command("CLUSTER", "MYID")
        )
        with pytest.raises(StoreUnavailable) as caught:
            store.queues.names()
        assert type(caught.value) is StoreUnavailable
        client.execute_command("CLUSTER", "SETSLOT", slot, "STABLE")
    store.queues.names()


def test_a_url_of_one_node_does_when_that_has_the_slot(real: Cluster, tagged: str) -> None:
    with closing(Store(real.owner.node_url, prefix=tagged)) as store:
        store.queues.push({"q": [b"1"]})
    told = r"name the nodes by a redis\+cluster:// URL"
    with (
        closing(Store(real.nodes[0].node_url, prefix=tagged)) as store,
        pytest.raises(WrongServer, match=told),
    ):
        store.queues.push({"q": [b"1"]})


def test_what_is_no_cluster_is_the_wrong_server(private_redis: Callable[..., RedisServer]) -> None:
    url = f"redis+cluster://127.0.0.1:{private_redis().port}"
    with closing(Store(url)) as store, pytest.raises(WrongServer, match="support disabled"):
        store.ping()


# Real Sentinels -------------------------------------------------------------------


@pytest.fixture
def watched(private_redis: Callable[..., RedisServer]) -> Iterator[tuple[RedisServer, Sentinel]]:
    """A server, and a Sentinel that watches it."""
    server = private_redis()
    with Sentinel(server) as sentinel:
        yield server, sentinel


def test_a_master_that_was_replaced_in_good_health_is_left(
    watched: tuple[RedisServer, Sentinel], private_redis: Callable[..., RedisServer],
    clock: FrozenClock,
) -> None:  # fmt: skip
    server, sentinel = watched
    other = private_redis()
    reads, writes = os.pipe()
    with closing(Store(sentinel.master_url())) as store, sentinel.client() as client:
        waiter = store.waiter(reads)
        assert not waiter.wait(["q"], 0.01)
        store.queues.push({"p": [b"1"]})
        client.sentinel_remove(MASTER)
        client.sentinel_monitor(MASTER, "127.0.0.1", other.port, 1)
        clock.advance(60)
        store.queues.push({"q": [b"2"]})
        assert store.address == f"127.0.0.1:{other.port}, the master 'mymaster'"
        assert waiter.wait(["q"], 30)
        waiter.close()
    os.close(reads)
    os.close(writes)
    with server.client() as client:
        assert client.lrange("queue:q", 0, -1) == []


def test_a_master_that_became_a_replica_is_left(
    watched: tuple[RedisServer, Sentinel], private_redis: Callable[..., RedisServer]
) -> None:
    server, sentinel = watched
    other = private_redis()
    with closing(Store(sentinel.master_url())) as store, server.client() as client:
        store.queues.push({"q": [b"1"]})
        client.replicaof("127.0.0.1", str(other.port))
        with pytest.raises(StoreUnavailable):
            store.queues.push({"q": [b"2"]})
        with sentinel.client() as told:
            told.sentinel_remove(MASTER)
            told.sentinel_monitor(MASTER, "127.0.0.1", other.port, 1)
        store.queues.push({"q": [b"3"]})
        assert store.address.startswith(f"127.0.0.1:{other.port}, ")


def test_sentinels_and_their_master_have_users_of_their_own(
    watched: tuple[RedisServer, Sentinel],
) -> None:
    server, sentinel = watched
    for each, name in ((server, "app"), (sentinel, "watch")):
        with each.client() as client:
            client.execute_command("ACL", "SETUSER", name, "on", f">{PASSWORD}", "~*", "+@all")
            client.execute_command("ACL", "SETUSER", "default", "off")
    url = sentinel.master_url(f"app:{PASSWORD}@")
    with closing(Store(f"{url}?sentinel_username=watch&sentinel_password={PASSWORD}")) as store:
        store.queues.push({"q": [b"1"]})
    for wrong in (url, f"{url}?sentinel_username=watch&sentinel_password={PASSWORD}x"):
        with closing(Store(wrong)) as store, pytest.raises(AccessDenied) as caught:
            store.ping()
        assert PASSWORD not in str(caught.value)


def test_a_master_that_no_sentinel_knows_is_the_wrong_server(
    watched: tuple[RedisServer, Sentinel],
) -> None:
    _, sentinel = watched
    url = sentinel.master_url().replace(MASTER, "other")
    with closing(Store(url)) as store, pytest.raises(WrongServer, match="No such master"):
        store.ping()


def test_what_is_no_sentinel_is_the_wrong_server(private_redis: Callable[..., RedisServer]) -> None:
    url = f"redis+sentinel://127.0.0.1:{private_redis().port}/main"
    with closing(Store(url)) as store, pytest.raises(WrongServer, match="unknown command"):
        store.ping()
