"""What must be true before a worker takes its first job."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from django_jobqueue import Job
from django_jobqueue.conf import get_settings
from django_jobqueue.connection import store
from django_jobqueue.exceptions import AccessDenied, BootError, InvalidJobClasses, StoreUnavailable
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
from tests.support.server import RedisServer

SECRET = "correct-horse"


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> FrozenClock:
    """Time stands still."""
    return freeze(monkeypatch)


def sleep_never(seconds: float) -> bool:
    pytest.fail("there was nothing to wait for")


def facts(**changes: Any) -> ServerFacts:
    sound: dict[str, Any] = {
        "version": "7.0.15", "cluster": False, "eviction": "noeviction", "uptime": 100,
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
    assert not found.cluster
    assert found.uptime >= 0


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"version": "6.0.16"}, "Redis 6.0.16 at 127.0.0.1:1 is too old: 6.2 is needed."),
        ({"version": "5.0"}, "is too old"),
        ({"cluster": True}, "set JOBQUEUE['KEY_PREFIX'] to '{jobs}:'"),
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
        ({"cluster": True}, {"KEY_PREFIX": "{jobs}:"}),
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


def test_a_wrong_password_is_told_at_once_and_without_the_password(settings: Any) -> None:
    settings.JOBQUEUE = {"REDIS_URL": f"redis://:{SECRET}@127.0.0.1:1/0"}
    with pytest.MonkeyPatch.context() as monkeypatch:
        tell(monkeypatch, AccessDenied("WRONGPASS invalid username-password pair"))
        with pytest.raises(BootError, match="Redis refuses us: WRONGPASS") as caught:
            wait_for_redis(store(), get_settings(), sleep_never)
    assert caught.value.exit_code == 1
    assert SECRET not in str(caught.value)


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
