"""Where a push ends: what Redis refuses is told, and a test may send pushes elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest

from django_jobqueue.client.outlet import (
    Entry,
    RedisOutlet,
    make_outlet,
    outlet,
    use_outlet,
)
from django_jobqueue.exceptions import EnqueueError
from django_jobqueue.payload import Payload
from django_jobqueue.testing import FakeOutlet, InlineOutlet
from tests.conftest import JobqueueSettings
from tests.support.inside import Inside
from tests.support.server import RedisServer


class Own:
    """An outlet of somebody's own."""

    def push(self, entries: Sequence[Entry], *, healing: bool = False) -> Mapping[int, str]:
        """Take nothing."""
        return {}


def entry(*args: Any, queue: str = "default", at: float | None = None) -> Entry:
    payload = Payload({"class": "HardJob", "args": list(args), "jid": "b" * 24, "queue": queue})
    return Entry(payload, payload.encode(), at)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("redis", RedisOutlet),
        ("fake", FakeOutlet),
        ("inline", InlineOutlet),
        (f"{__name__}.Own", Own),
    ],
)
def test_the_settings_name_the_outlet(settings: Any, name: str, kind: type) -> None:
    settings.JOBQUEUE = {"REDIS_URL": "redis://127.0.0.1:1/0", "OUTLET": name}
    assert isinstance(outlet(), kind)
    assert outlet() is outlet()
    assert make_outlet(name) is not outlet()


def test_another_outlet_after_a_change_of_settings(settings: Any) -> None:
    settings.JOBQUEUE = {"OUTLET": "fake"}
    first = outlet()
    settings.JOBQUEUE = {"OUTLET": "inline"}
    assert type(outlet()) is InlineOutlet
    settings.JOBQUEUE = {"OUTLET": "fake"}
    assert outlet() is not first


def test_the_innermost_override_wins_and_ends_with_its_block(settings: Any) -> None:
    settings.JOBQUEUE = {"OUTLET": "fake"}
    chosen, outer, inner = outlet(), FakeOutlet(), FakeOutlet()
    with use_outlet(outer):
        with use_outlet(inner) as given:
            assert outlet() is inner is given
            with use_outlet(outer):
                assert outlet() is outer
            assert outlet() is inner
        assert outlet() is outer
    assert outlet() is chosen


def test_an_override_ends_with_an_exception_too(settings: Any) -> None:
    settings.JOBQUEUE = {"OUTLET": "fake"}
    chosen = outlet()
    with pytest.raises(ValueError, match="no"), use_outlet(FakeOutlet()):
        raise ValueError("no")
    assert outlet() is chosen


def test_jobs_run_in_the_order_of_their_push(
    jobqueue_settings: JobqueueSettings, inside: Inside
) -> None:
    jobqueue_settings()
    RedisOutlet().push([entry(1), entry(2, queue="low"), entry(3)])
    RedisOutlet().push([entry(4)])
    assert inside.args() == [[1], [3], [4]]
    assert inside.args("low") == [[2]]


def test_a_job_for_later_stands_under_its_time_to_the_microsecond(
    jobqueue_settings: JobqueueSettings, inside: Inside
) -> None:
    jobqueue_settings()
    RedisOutlet().push([entry(1, at=1_800_000_000.123456)])
    assert inside.entry("schedule")[1] == 1_800_000_000.123456
    assert inside.raw() == []


def test_a_full_redis_refuses_with_the_way_out_and_takes_nothing(
    settings: Any, private_redis: Callable[..., RedisServer]
) -> None:
    server = private_redis(maxmemory="1mb", maxmemory_policy="noeviction")
    settings.JOBQUEUE = {"REDIS_URL": server.url}

    def fill() -> None:
        for _ in range(100):
            RedisOutlet().push([entry("x" * 100_000), entry("x" * 100_000, queue="low")])

    with pytest.raises(EnqueueError, match="Redis is out of memory") as caught:
        fill()
    assert "raise maxmemory" in str(caught.value)
    assert f"127.0.0.1:{server.port}" in str(caught.value)
    with server.client() as client:
        assert client.llen("queue:default") == client.llen("queue:low")


def test_a_key_of_another_type_refuses_and_says_so(
    jobqueue_settings: JobqueueSettings, inside: Inside
) -> None:
    jobqueue_settings()
    inside.client.set(inside.key("queue:default"), "somebody's own")
    with pytest.raises(EnqueueError, match=r"Redis refused the job: .*WRONGTYPE"):
        RedisOutlet().push([entry(1)])
