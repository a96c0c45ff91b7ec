"""The page of the processes: who works on what, and what they may be told."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client

from django_jobqueue import clock
from django_jobqueue.api import Process
from django_jobqueue.connection import store
from django_jobqueue.dashboard.pages import busy as room
from django_jobqueue.exceptions import StoreUnavailable
from django_jobqueue.permissions import Permission
from tests.api.samples import jid_of, payload
from tests.conftest import JobqueueSettings
from tests.dashboard.conftest import address
from tests.dashboard.test_queues_page import act, look
from tests.support.inside import Inside

pytestmark = pytest.mark.django_db

ONE, TWO = "host-1:7:0123456789ab", "host-2:9:ba9876543210"


@pytest.fixture(autouse=True)
def _redis(jobqueue_settings: JobqueueSettings) -> None:
    jobqueue_settings()


def start(identity: str, *jobs: int, quiet: bool = False, **facts: Any) -> None:
    """Let a process be alive that runs these jobs."""
    host, pid, _ = identity.split(":")
    info = {
        "hostname": host, "pid": int(pid), "started_at": clock.now() - 7200, "tag": "shop",
        "queues": ["high", "low"], "weights": [{"high": 5, "low": 1}], "version": "9.9", **facts,
    }  # fmt: skip
    running = {
        f"b:{n}:low": json.dumps(
            {
                "queue": "low",
                "run_at": int(clock.now()) - n,
                "payload": payload(n).encode().decode(),
            }
        )
        for n in jobs
    }
    record: dict[str, str | int | float] = {
        "info": json.dumps(info), "concurrency": 2, "busy": len(jobs), "beat": clock.now(),
        "rtt_us": 250_000, "rss": 51_200, "quiet": "true" if quiet else "false",
    }  # fmt: skip
    store().processes.record(identity, record, running)
    store().claims.join(identity, 60)


def orders(identity: str) -> list[str]:
    """Return what was told to a process."""
    found = []
    while (name := store().processes.take_signal(identity)) is not None:
        found.append(name)
    return found


# Looking ---------------------------------------------------------------------------


def test_processes_and_what_they_run_are_shown(operator: Client) -> None:
    start(ONE, 100, 7)
    start(TWO, quiet=True)
    store().sets.lead(TWO, 60.0)
    store().claims.join("gone:1:000000000000", 60)
    content = look(operator, "busy")
    for told in (
        "host-1:7", "shop, 9.9", "high (5), low", "2 of 2", "0 of 2", "52.4 MB",
        "Redis took 250 ms", "50 %", "leader", "gone:1:000000000000",
    ):  # fmt: skip
        assert told in content, told
    assert content.count("jq-badge-warn") == 1  # the quiet one
    assert content.index(jid_of(100)) < content.index(jid_of(7))
    assert "Nothing runs just now" not in content


def test_an_idle_place_says_how_to_start(operator: Client) -> None:
    content = look(operator, "busy")
    assert "manage.py runjobs" in content
    assert "Nothing runs just now" in content


def test_arguments_are_for_who_may_see_them(staff: Callable[..., Client]) -> None:
    start(ONE, 123456)
    row = f'<td class="jq-mono jq-wide">{123456}</td>'
    assert row not in look(staff(Permission.VIEW_DASHBOARD), "busy")
    assert row in look(staff(Permission.VIEW_DASHBOARD, Permission.VIEW_ARGUMENTS), "busy")


def test_many_are_paged(operator: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "PAGE", 1)
    start(ONE, 1, 2)
    first, second = look(operator, "busy"), look(operator, "busy", start=1)
    assert jid_of(2) in first
    assert jid_of(1) not in first
    assert jid_of(1) in second
    assert look(operator, "busy", start=10**9)


def test_a_page_takes_few_round_trips_whoever_works(
    operator: Client, count_round_trips: Callable[[], int]
) -> None:
    for number in range(100):
        start(f"host:{number}:0123456789ab", number)
    look(operator, "busy")
    count_round_trips()
    look(operator, "busy")
    assert count_round_trips() <= 7


# Steering --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("route", "signal"), [("busy_quiet", "TSTP"), ("busy_stop", "TERM"), ("busy_dump", "TTIN")]
)
def test_one_process_is_told_something(operator: Client, route: str, signal: str) -> None:
    start(ONE)
    start(TWO)
    (told,) = act(operator, route, identity=ONE)
    assert told.startswith("host-1:7 ")
    assert (orders(ONE), orders(TWO)) == ([signal], [])
    assert LogEntry.objects.get().object_repr == ONE


def test_who_is_gone_or_takes_no_orders_is_told_nothing(operator: Client) -> None:
    start(TWO, embedded=True)
    for identity in (ONE, TWO, "", "low-signals"):
        (told,) = act(operator, "busy_stop", identity=identity)
        assert told.startswith("Nothing was done")
    assert not LogEntry.objects.exists()


def test_all_are_told_at_once(operator: Client) -> None:
    assert act(operator, "busy_quiet_all") == [
        "Nothing was done: there is no process that takes orders."
    ]
    start(ONE)
    start(TWO)
    assert act(operator, "busy_quiet_all") == ["2 processes take no new jobs, within ten seconds."]
    (told,) = act(operator, "busy_stop_all", confirm="")
    assert "type “stop” exactly" in told
    assert (orders(ONE), orders(TWO)) == (["TSTP"], ["TSTP"])
    (told,) = act(operator, "busy_stop_all", confirm="stop")
    assert told.startswith("2 processes stop")
    assert (orders(ONE), orders(TWO)) == (["TERM"], ["TERM"])
    assert [entry.object_repr for entry in LogEntry.objects.all()] == ["all processes"] * 2


def test_that_the_settings_forbid_orders_is_said(
    operator: Client, jobqueue_settings: JobqueueSettings, inside: Inside
) -> None:
    start(ONE)
    assert "REMOTE_SIGNALS" not in look(operator, "busy")
    jobqueue_settings(REMOTE_SIGNALS=False)
    assert "REMOTE_SIGNALS" in look(operator, "busy")
    answer = operator.post(address("busy_quiet"), {"identity": ONE}, follow=True)
    assert [message.level_tag for message in answer.context["messages"]] == ["warning"]


def test_an_order_to_all_that_redis_breaks_off_is_written_down(
    operator: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    start(ONE)
    start(TWO)
    stop = Process.stop

    def stop_one(process: Process) -> bool:
        if process.identity == TWO:
            raise StoreUnavailable("127.0.0.1:1 is away")
        return stop(process)

    monkeypatch.setattr(room, "_STOP_ALL", room._all(stop_one, lambda count: "%(count)d stops."))
    answer = operator.post(address("busy_stop_all"), {"confirm": "stop"})
    assert answer.status_code == 503
    assert "busy_stop_all (1): broke off" in LogEntry.objects.get().get_change_message()
