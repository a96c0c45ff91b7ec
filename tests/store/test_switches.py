"""The mirror of the kill switches: compare, then set."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import redis

from django_jobqueue.exceptions import StoreRefused
from django_jobqueue.store.store import Store
from django_jobqueue.store.switches import Replaced
from tests.store.faults import wrong_type
from tests.support.server import RedisServer


def test_where_there_is_no_mirror_nothing_is_read(store: Store) -> None:
    assert store.switches.read() is None
    assert store.switches.version() == ""


def test_a_mirror_without_switches_is_there_all_the_same(store: Store) -> None:
    assert store.switches.replace("", {}) is Replaced.DONE
    assert store.switches.read() == {}
    assert store.switches.version() == "1"
    assert store.switches.replace("1", {}) is Replaced.SAME


def test_all_switches_are_replaced_and_the_version_goes_on(store: Store) -> None:
    store.switches.replace("", {"disable_a": "on", "disable_b": "30.0"})
    wanted = {"disable_b": "50.0", "disable_c": "on"}
    assert store.switches.replace("1", wanted) is Replaced.DONE
    assert store.switches.read() == wanted
    assert store.switches.version() == "2"


def test_what_stands_there_already_is_not_written_again(store: Store, raw: redis.Redis) -> None:
    store.switches.replace("", {"disable_a": "on"})
    assert store.switches.replace("1", {"disable_a": "on"}) is Replaced.SAME
    assert store.switches.version() == "1"


@pytest.mark.parametrize(
    "wanted", [{}, {"disable_a": "off"}, {"disable_a": "on", "disable_b": "on"}]
)
def test_the_least_difference_is_written(store: Store, wanted: dict[str, str]) -> None:
    store.switches.replace("", {"disable_a": "on"})
    assert store.switches.replace("1", wanted) is Replaced.DONE
    assert store.switches.read() == wanted


def test_who_read_before_another_wrote_writes_nothing(store: Store) -> None:
    early = store.switches.version()
    assert store.switches.replace(store.switches.version(), {"disable_a": "on"}) is Replaced.DONE
    assert store.switches.replace(early, {}) is Replaced.LOST
    assert store.switches.read() == {"disable_a": "on"}


def test_a_mirror_that_was_flushed_is_begun_anew(store: Store, raw: redis.Redis) -> None:
    store.switches.replace("", {"disable_a": "on"})
    raw.delete(store.keys.switches)
    assert store.switches.replace("1", {"disable_a": "on"}) is Replaced.LOST
    assert store.switches.replace(store.switches.version(), {"disable_a": "on"}) is Replaced.DONE
    assert store.switches.read() == {"disable_a": "on"}


def test_a_version_that_is_no_number_is_begun_anew(store: Store, raw: redis.Redis) -> None:
    raw.hset(store.keys.switches, "version", "seven")
    assert store.switches.replace("seven", {"disable_a": "on"}) is Replaced.DONE
    assert store.switches.version() == "1"


def test_fields_without_a_version_are_no_mirror(store: Store, raw: redis.Redis) -> None:
    raw.hset(store.keys.switches, "disable_a", "on")
    assert store.switches.replace("", {"disable_a": "on"}) is Replaced.DONE
    assert store.switches.version() == "1"


def test_a_key_of_a_wrong_type_is_told(store: Store, raw: redis.Redis) -> None:
    with wrong_type(raw, store.keys.switches):
        with pytest.raises(StoreRefused):
            store.switches.read()
        with pytest.raises(StoreRefused):
            store.switches.replace("", {"disable_a": "on"})


@pytest.mark.parametrize("flags", [True, False], ids=["flags", "without flags"])
def test_a_switch_can_be_thrown_while_redis_is_full(
    private_redis: Callable[..., RedisServer], flags: bool
) -> None:
    server = private_redis()
    store = Store(server.url, timeout=10.0)
    store._link._flags = flags
    with server.client() as client:
        client.config_set("maxmemory", 1)
        assert store.switches.replace("", {"disable_a": "on"}) is Replaced.DONE
        assert store.switches.replace("1", {"disable_a": "50.0"}) is Replaced.DONE
        assert store.switches.read() == {"disable_a": "50.0"}
    store.close()
