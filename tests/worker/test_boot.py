"""What must be true before a worker takes its first job."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from django_jobqueue import Job
from django_jobqueue.conf import get_settings
from django_jobqueue.connection import store
from django_jobqueue.exceptions import (
    AccessDenied,
    BootError,
    InvalidJobClasses,
    StoreRefused,
    StoreUnavailable,
)
from django_jobqueue.store.acl import Missing, Permissions
from django_jobqueue.store.server import Server, ServerFacts
from django_jobqueue.worker.boot import (
    RedisUnreachable,
    check_jobs,
    make_identity,
    new_nonce,
    wait_for_redis,
)
from tests.conftest import JobqueueSettings
from tests.support.clocks import FrozenClock, freeze
from tests.support.cluster import Cluster
from tests.support.prefixes import TOPOLOGY_VARIABLE, is_cluster, new_prefix
from tests.support.sentinel import Sentinel
from tests.support.server import RedisServer
from tests.support.tls import Authority, TlsServer

SECRET = "correct-horse"


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> FrozenClock:
    """Time stands still."""
    return freeze(monkeypatch)


def sleep_never(seconds: float) -> bool:
    pytest.fail("there was nothing to wait for")


def facts(**changes: Any) -> ServerFacts:
    sound: dict[str, Any] = {
        "version": "7.0.15", "mode": "standalone", "eviction": "noeviction", "uptime": 100,
    }  # fmt: skip
    return ServerFacts(**{**sound, **changes})


def tell(monkeypatch: pytest.MonkeyPatch, *answers: ServerFacts | Exception) -> None:
    """Have the server answer so, the last answer again and again."""
    script = list(answers)

    def answer(self: Server) -> ServerFacts:
        found = script.pop(0) if len(script) > 1 else script[0]
        if isinstance(found, Exception):
            raise found
        return found

    monkeypatch.setattr(Server, "facts", answer)
    monkeypatch.setattr(Permissions, "missing", lambda self: Missing([], []))
    stand_at(monkeypatch, "127.0.0.1")


def stand_at(monkeypatch: pytest.MonkeyPatch, peer: str) -> None:
    """Have the server be reached at this IP address."""
    monkeypatch.setattr(Server, "peer", lambda self: peer)


# Job classes ------------------------------------------------------------------


@pytest.fixture
def twins() -> Iterator[None]:
    """Two classes of one name, and another two."""
    body = {"__module__": __name__, "__qualname__": "TwinJob"}
    made: list[Any] = [type("TwinJob", (Job,), dict(body)) for _ in range(2)]
    made += [type(f"{n}Job", (Job,), {"__module__": n, "wire_name": "Shared"}) for n in "ab"]
    yield
    for cls in made:
        cls.abstract = True
    Job.definitions += 1


def test_job_classes_of_different_names_are_no_problem() -> None:
    check_jobs()


@pytest.mark.usefixtures("twins")
def test_all_classes_that_share_a_name_are_told_at_once() -> None:
    with pytest.raises(InvalidJobClasses) as caught:
        check_jobs()
    assert caught.value.problems == [
        f"'{__name__}.TwinJob' is the wire name of {__name__}.TwinJob and {__name__}.TwinJob",
        "'Shared' is the wire name of a.aJob and b.bJob",
    ]
    assert caught.value.exit_code == 1


# The server -------------------------------------------------------------------


def test_a_sound_server_lets_the_worker_start(jobqueue_settings: JobqueueSettings) -> None:
    jobqueue_settings()
    wait_for_redis(store(), get_settings(), sleep_never)


def test_the_real_facts_of_a_server_are_read(
    jobqueue_settings: JobqueueSettings, redis_server: RedisServer
) -> None:
    jobqueue_settings()
    found = store().server.facts()
    assert not found.is_too_old
    assert not found.evicts
    assert found.mode == ("cluster" if is_cluster() else "standalone")
    assert found.appends
    assert found.uptime >= 0
    assert store().server.peer() == "127.0.0.1"


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"version": "6.0.16"}, "Redis 6.0.16 at 127.0.0.1:1 is too old: 6.2 is needed."),
        ({"version": "5.0"}, "is too old"),
        ({"mode": "cluster"}, "set JOBQUEUE['KEY_PREFIX'] to '{jobs}:'"),
        ({"mode": "sentinel"}, "as in 'redis+sentinel://127.0.0.1:1/mymaster/0'"),
        ({"eviction": "allkeys-lru"}, "has maxmemory-policy allkeys-lru, so it throws jobs away"),
    ],
    ids=str,
)
def test_a_server_that_jobs_are_not_safe_with_is_refused_with_the_way_out(
    settings: Any, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], complaint: str
) -> None:
    settings.JOBQUEUE = {"REDIS_URL": "redis://127.0.0.1:1/0"}
    tell(monkeypatch, facts(**changes))
    with pytest.raises(BootError) as caught:
        wait_for_redis(store(), get_settings(), sleep_never)
    assert complaint in str(caught.value)
    assert caught.value.exit_code == 1


@pytest.mark.parametrize(
    ("changes", "options"),
    [
        ({"version": "6.2.0"}, {}),
        ({"version": "8.0.1-rc1"}, {}),
        ({"version": "10.1"}, {}),
        ({"eviction": "allkeys-lru"}, {"ALLOW_EVICTION": True}),
    ],
    ids=str,
)
def test_a_server_that_is_allowed_is_taken(
    settings: Any,
    monkeypatch: pytest.MonkeyPatch,
    changes: dict[str, Any],
    options: dict[str, Any],
) -> None:
    settings.JOBQUEUE = {"REDIS_URL": "redis://127.0.0.1:1/0", **options}
    tell(monkeypatch, facts(**changes))
    wait_for_redis(store(), get_settings(), sleep_never)


def test_a_user_who_may_not_do_it_all_is_refused_with_what_is_missing(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.JOBQUEUE = {"REDIS_URL": "redis://127.0.0.1:1/0"}
    lack = Missing(["cluster|slots", "zadd"], [f"key{n}" for n in range(5)])
    monkeypatch.setattr(Permissions, "missing", lambda self: lack)
    with pytest.raises(BootError) as caught:
        wait_for_redis(store(), get_settings(), sleep_never)
    assert "may not use the command CLUSTER SLOTS, the command ZADD, the key 'key0'" in str(
        caught.value
    )
    assert "'key2' and 2 kinds more: give it the rights that `manage.py jobqueue acl`" in str(
        caught.value
    )
    assert caught.value.exit_code == 1


def test_a_wrong_password_is_told_at_once_and_without_the_password(settings: Any) -> None:
    settings.JOBQUEUE = {"REDIS_URL": f"redis://:{SECRET}@127.0.0.1:1/0"}
    with pytest.MonkeyPatch.context() as monkeypatch:
        tell(monkeypatch, AccessDenied("WRONGPASS invalid username-password pair"))
        with pytest.raises(BootError, match="Redis refuses us: WRONGPASS") as caught:
            wait_for_redis(store(), get_settings(), sleep_never)
    assert caught.value.exit_code == 1
    assert SECRET not in str(caught.value)


def test_a_server_that_lacks_a_command_is_told_at_once(settings: Any) -> None:
    settings.JOBQUEUE = {"REDIS_URL": "redis://127.0.0.1:1/0"}
    with pytest.MonkeyPatch.context() as monkeypatch:
        tell(monkeypatch, StoreRefused("unknown command 'INFO'"))
        with pytest.raises(BootError, match="none that it can work with: unknown command 'INFO'"):
            wait_for_redis(store(), get_settings(), sleep_never)


@pytest.mark.parametrize("prefix", ["jobs:", "{}jobs:", "}jobs{:"])
def test_a_prefix_without_a_hash_tag_is_refused_on_a_cluster(
    settings: Any, monkeypatch: pytest.MonkeyPatch, prefix: str
) -> None:
    settings.JOBQUEUE = {"REDIS_URL": "redis://127.0.0.1:1/0", "KEY_PREFIX": prefix}
    tell(monkeypatch, facts(mode="cluster"))
    with pytest.raises(BootError, match="the keys must share a slot"):
        wait_for_redis(store(), get_settings(), sleep_never)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with Cluster() as made:
        yield made


@pytest.fixture
def tagged(monkeypatch: pytest.MonkeyPatch) -> str:
    """A prefix whose slot the owner of the cluster has."""
    monkeypatch.setenv(TOPOLOGY_VARIABLE, "cluster")
    return new_prefix()


def test_a_cluster_is_taken_by_the_url_of_one_node_only_if_that_has_our_slot(
    settings: Any, cluster: Cluster, tagged: str
) -> None:
    for url in (cluster.owner.url, cluster.owner.node_url):
        settings.JOBQUEUE = {"REDIS_URL": url, "KEY_PREFIX": tagged}
        wait_for_redis(store(), get_settings(), sleep_never)
    settings.JOBQUEUE = {"REDIS_URL": cluster.nodes[0].node_url, "KEY_PREFIX": tagged}
    with pytest.raises(BootError, match=r"name the nodes by a redis\+cluster:// URL"):
        wait_for_redis(store(), get_settings(), sleep_never)


def test_what_says_that_it_is_no_cluster_is_told_at_once(
    settings: Any, private_redis: Callable[..., RedisServer]
) -> None:
    url = f"redis+cluster://127.0.0.1:{private_redis().port}"
    settings.JOBQUEUE = {"REDIS_URL": url, "KEY_PREFIX": "{jobs}:"}
    with pytest.raises(BootError, match="does not lead to the Redis that it names") as caught:
        wait_for_redis(store(), get_settings(), sleep_never)
    assert caught.value.exit_code == 1


def test_a_sentinel_in_the_place_of_its_master_is_told_apart(
    settings: Any, private_redis: Callable[..., RedisServer]
) -> None:
    with Sentinel(private_redis()) as sentinel:
        settings.JOBQUEUE = {"REDIS_URL": sentinel.node_url}
        with pytest.raises(BootError, match="is a Sentinel, not the Redis that it watches"):
            wait_for_redis(store(), get_settings(), sleep_never)


# What is on the way there -------------------------------------------------------


PUBLIC, PRIVATE = "93.184.215.14", "10.1.2.3"


@pytest.mark.parametrize("peer", [PUBLIC, "2606:4700::1111"])
@pytest.mark.parametrize("scheme", ["redis", "rediss"])
def test_a_public_server_that_lets_everybody_in_is_refused(
    settings: Any, monkeypatch: pytest.MonkeyPatch, peer: str, scheme: str
) -> None:
    settings.JOBQUEUE = {"REDIS_URL": f"{scheme}://redis.example"}
    tell(monkeypatch, facts())
    stand_at(monkeypatch, peer)
    with pytest.raises(BootError) as caught:
        wait_for_redis(store(), get_settings(), sleep_never)
    assert "redis.example:6379, a public address, lets us in without a password" in str(
        caught.value
    )
    assert "ALLOW_NO_AUTH" in str(caught.value)
    assert caught.value.exit_code == 1


@pytest.mark.parametrize(
    ("url", "peer", "options", "warnings"),
    [
        ("redis://h", PUBLIC, {"ALLOW_NO_AUTH": True}, 1),
        ("rediss://h", PUBLIC, {"ALLOW_NO_AUTH": True}, 0),
        (f"redis://:{SECRET}@h", PUBLIC, {}, 1),
        (f"rediss://:{SECRET}@h", PUBLIC, {}, 0),
        ("redis://h", PRIVATE, {}, 0),
        ("redis://h", "100.64.0.7", {}, 0),
        ("redis://h", "127.0.0.1", {}, 0),
        ("redis://h", "fe80::1%eth0", {}, 0),
        ("redis://h", "::1", {}, 0),
        ("unix:///s", "", {}, 0),
    ],
)  # fmt: skip
def test_plain_text_on_the_internet_is_warned_of_and_nothing_else(
    settings: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture,
    url: str, peer: str, options: dict[str, Any], warnings: int,
) -> None:  # fmt: skip
    settings.JOBQUEUE = {"REDIS_URL": url, **options}
    tell(monkeypatch, facts())
    stand_at(monkeypatch, peer)
    wait_for_redis(store(), get_settings(), sleep_never)
    assert ["in plain text" in message for message in caplog.messages] == [True] * warnings
    assert SECRET not in caplog.text


def test_a_refused_certificate_is_told_at_once(
    settings: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    authority = Authority(tmp_path_factory.mktemp("authority"))
    with TlsServer(authority, authority.issue("localhost")) as server:
        settings.JOBQUEUE = {"REDIS_URL": server.tls_url(f"ssl_ca_certs={authority.path}")}
        wait_for_redis(store(), get_settings(), sleep_never)
        settings.JOBQUEUE = {"REDIS_URL": server.tls_url()}
        with pytest.raises(BootError, match="the certificate is refused, self-signed") as caught:
            wait_for_redis(store(), get_settings(), sleep_never)
    assert "by the parameter ssl_ca_certs" in str(caught.value)
    assert caught.value.exit_code == 1


def test_a_file_of_tls_that_is_not_there_is_named(settings: Any, tmp_path: Path) -> None:
    missing = tmp_path / "ca.pem"
    settings.JOBQUEUE = {"REDIS_URL": f"rediss://127.0.0.1:1/0?ssl_ca_certs={missing}"}
    with pytest.raises(BootError, match=r"ca\.pem' as ssl_ca_certs, which cannot be read"):
        wait_for_redis(store(), get_settings(), sleep_never)


# What a restart would leave -----------------------------------------------------


@pytest.mark.parametrize(
    ("config", "is_told"),
    [
        ({"appendonly": "no", "save": ""}, True),
        ({"appendonly": "no", "save": "3600 1"}, False),
        ({"appendonly": "yes", "save": ""}, False),
    ],
    ids=str,
)
def test_a_server_that_keeps_nothing_on_disk_is_warned_of(
    settings: Any, private_redis: Callable[..., RedisServer], caplog: pytest.LogCaptureFixture,
    config: dict[str, str], is_told: bool,
) -> None:  # fmt: skip
    # As a user who may ask for the settings: the one that is documented may not.
    settings.JOBQUEUE = {"REDIS_URL": f"redis://127.0.0.1:{private_redis(**config).port}/0"}
    wait_for_redis(store(), get_settings(), sleep_never)
    assert ["when it restarts, its jobs are gone" in line for line in caplog.messages] == (
        [True] if is_told else []
    )


def test_a_server_that_does_not_tell_its_settings_is_not_suspected(
    settings: Any, private_redis: Callable[..., RedisServer], caplog: pytest.LogCaptureFixture
) -> None:
    server = private_redis(appendonly="no", save="")
    with server.client() as client:
        client.execute_command(
            "ACL", "SETUSER", "app", "on", f">{SECRET}", "~*", "+@all", "-config"
        )
    settings.JOBQUEUE = {"REDIS_URL": f"redis://app:{SECRET}@127.0.0.1:{server.port}/0"}
    wait_for_redis(store(), get_settings(), sleep_never)
    assert caplog.messages == []


# Waiting ----------------------------------------------------------------------


def test_a_server_that_is_away_is_waited_for_and_the_wait_told_once(
    settings: Any,
    clock: FrozenClock,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    settings.JOBQUEUE = {"REDIS_URL": f"redis://:{SECRET}@127.0.0.1:1/0"}
    away = StoreUnavailable("Connection refused")
    tell(monkeypatch, away, away, away, facts())
    waits: list[float] = []

    def wait(seconds: float) -> bool:
        waits.append(seconds)
        clock.advance(seconds)
        return False

    wait_for_redis(store(), get_settings(), wait)
    assert len(waits) == 3
    assert caplog.messages == ["cannot reach Redis at 127.0.0.1:1 yet: Connection refused"]


def test_a_server_that_stays_away_ends_the_start_with_a_code_of_its_own(
    settings: Any, clock: FrozenClock
) -> None:
    settings.JOBQUEUE = {"REDIS_URL": f"redis://:{SECRET}@127.0.0.1:1/0", "BOOT_TIMEOUT": 60}
    began = clock.monotonic

    def wait(seconds: float) -> bool:
        clock.advance(seconds)
        return False

    with pytest.raises(RedisUnreachable) as caught:
        wait_for_redis(store(), get_settings(), wait)
    assert caught.value.exit_code == 75
    assert str(caught.value).startswith(
        "cannot reach Redis at 127.0.0.1:1 (password hidden) for 60 s: "
    )
    assert SECRET not in str(caught.value)
    assert 50 < clock.monotonic - began <= 60


def test_without_a_time_to_wait_one_look_decides(settings: Any, clock: FrozenClock) -> None:
    settings.JOBQUEUE = {"REDIS_URL": "redis://127.0.0.1:1/0", "BOOT_TIMEOUT": 0}
    with pytest.raises(RedisUnreachable):
        wait_for_redis(store(), get_settings(), sleep_never)


def test_a_signal_ends_the_wait_without_an_error(settings: Any) -> None:
    settings.JOBQUEUE = {"REDIS_URL": "redis://127.0.0.1:1/0"}
    wait_for_redis(store(), get_settings(), lambda seconds: True)


# Names ------------------------------------------------------------------------


def test_an_identity_is_host_pid_and_nonce() -> None:
    assert re.fullmatch(r".+:7:abc", make_identity(7, "abc"))
    nonces = {new_nonce() for _ in range(1000)}
    assert len(nonces) == 1000
    assert all(re.fullmatch("[0-9a-f]{12}", nonce) for nonce in nonces)
