"""The overview: everything at a glance, in one round trip, and nothing that can break it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import OperationalError
from django.test import Client

from django_jobqueue import clock, connection
from django_jobqueue.dashboard.pages.overview import MOST_QUEUES, SPANS
from django_jobqueue.job.declaration import wire_name
from django_jobqueue.permissions import Permission
from django_jobqueue.store.metrics import BUCKETS, Counts
from django_jobqueue.store.tally import REFUSED
from django_jobqueue.switches import flags
from django_jobqueue.switches.naming import flag_names
from django_jobqueue.switches.state import ON, State
from testproject.backups.jobs import BackupJob
from tests.conftest import JobqueueSettings
from tests.dashboard.conftest import address
from tests.dashboard.reading import Reader
from tests.support.clocks import FrozenClock, freeze
from tests.support.inside import Inside

HOSTILE = "<img src=x onerror=alert(1)>\n\x1b[31m'\"|&"


@pytest.fixture(autouse=True)
def _redis(jobqueue_settings: JobqueueSettings) -> None:
    jobqueue_settings()


@pytest.fixture
def frozen(monkeypatch: pytest.MonkeyPatch) -> FrozenClock:
    """Time stands still."""
    return freeze(monkeypatch)


def page(browser: Client, **query: Any) -> str:
    answer = browser.get(address("overview"), query)
    assert answer.status_code == 200
    return answer.content.decode()


def cards(told: str) -> dict[str, str]:
    """Return the numbers at a glance by what stands below them."""
    found = re.findall(r'<a class="jq-card[^>]*><b>(.*?)</b><span>(.*?)</span>', told)
    return {label: re.sub(r"<[^>]+>", "", number) for number, label in found}


def row(told: str, name: str) -> str:
    """Return the row of a table that has a name."""
    rows: list[str] = re.findall(r"<tr.*?</tr>", told, re.DOTALL)
    return next(row for row in rows if f">{name}" in row)


def put(inside: Inside, queue: str, count: int, *, age: float = 0.0) -> None:
    at = int((clock.now() - age) * 1000)
    jobs = [
        json.dumps({"class": "A", "args": [], "jid": f"{n:024x}", "enqueued_at": at})
        for n in range(count)
    ]
    inside.client.sadd(inside.key("queues"), queue)
    inside.client.lpush(inside.key(f"queue:{queue}"), *jobs)


def alive(inside: Inside, *queues: str, quiet: str = "false", **fields: Any) -> None:
    info = {"hostname": HOSTILE, "pid": 42, "queues": queues, "concurrency": 5} | fields
    inside.client.sadd(inside.key("processes"), "host:42:aa")
    inside.client.hset(
        inside.key("host:42:aa"),
        mapping={"info": json.dumps(info), "busy": 3, "beat": clock.now(), "quiet": quiet},
    )


def test_an_empty_redis_is_a_page_of_zeros(operator: Client) -> None:
    told = page(operator)
    assert set(cards(told).values()) == {"0", "0 / 0"}
    assert "There is no queue yet" in told
    assert "No process is alive" in told
    assert "jq-banner" not in told


def test_everything_is_counted_at_a_glance(operator: Client, inside: Inside) -> None:
    put(inside, "default", 3)
    put(inside, "mail", 2)
    alive(inside, "default", "mail")
    inside.client.set(inside.key("stat:processed"), 1_234_567)
    inside.client.set(inside.key("stat:failed"), 89)
    for name, count in (("schedule", 4), ("retry", 5), ("dead", 6)):
        for at in range(count):
            inside.put(name, f"{at}".encode(), at)
    told = page(operator)
    assert cards(told) == {
        "Processed": "1,234,567", "Failed": "89", "Busy": "3 / 5", "Enqueued": "5",
        "Scheduled": "4", "Retries": "5", "Held": "0", "Dead": "6", "Processes": "1",
    }  # fmt: skip
    # What the live chart is drawn of: numbers without the thousands apart.
    assert 'data-processed="1234567" data-failed="89"' in told


def test_a_queue_shows_its_size_how_long_the_oldest_waits_and_what_is_wrong(
    operator: Client, inside: Inside
) -> None:
    put(inside, "worked", 3, age=125)
    put(inside, "alone", 1)
    put(inside, "stopped", 1)
    inside.client.sadd(inside.key("paused"), "stopped")
    alive(inside, "worked", "stopped")
    told = page(operator)
    assert ">3<" in row(told, "worked")
    assert "2 min" in row(told, "worked")
    assert "nobody" not in row(told, "worked")
    assert "nobody works this queue" in row(told, "alone")
    assert "paused" in row(told, "stopped")
    # What needs somebody is at the top, whatever its size.
    assert told.index(">alone<") < told.index(">stopped<") < told.index(">worked<")


def test_jobs_that_wait_for_no_process_are_an_alarm(operator: Client, inside: Inside) -> None:
    put(inside, "default", 2)
    assert "No process is alive, and 2 jobs wait" in page(operator)
    alive(inside, "default", quiet="true")
    told = page(operator)
    assert "No process is alive" not in told
    assert "3 of 5" in told
    assert "quiet" in told


def test_a_key_that_is_no_queue_breaks_nothing(operator: Client, inside: Inside) -> None:
    put(inside, "default", 1)
    inside.client.sadd(inside.key("queues"), "odd", "")
    inside.client.set(inside.key("queue:odd"), "no list")
    inside.client.set(inside.key("dead"), "no set")
    told = page(operator)
    assert "wrong type in Redis" in row(told, "odd")
    assert cards(told)["Enqueued"] == "1"


def test_of_very_many_queues_the_rest_is_told_of(operator: Client, inside: Inside) -> None:
    names = [f"q{at:03}" for at in range(MOST_QUEUES + 7)]
    inside.client.sadd(inside.key("queues"), *names)
    told = page(operator)
    assert told.count("jq-name") == MOST_QUEUES
    assert "7 more queues" in told


def test_a_kill_switch_that_is_on_has_a_banner_with_its_age_and_what_it_refused(
    operator: Client,
) -> None:
    flag = flag_names(BackupJob)[0]
    flags.set_state(flag, ON)
    connection.store().tally.add(REFUSED, {wire_name(BackupJob): 1_234})
    told = page(operator)
    assert "Kill switch on:" in told
    assert flag in told
    assert re.search(r"thrown\s+<time[^>]*>(now|\d+ (s|ms) ago)", told)
    assert "1,234 refused since" in told
    assert f"{address('switches_one')}?flag={flag}" in told
    flags.set_state(flag, State.partial(30))
    assert "Kill switch on for 30 %:" in page(operator)
    flags.set_state(flag, State.partial(0))
    assert flag not in page(operator)


def test_without_waffle_there_are_no_banners(
    operator: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flags, "is_installed", lambda: False)
    assert "jq-banner" not in page(operator)


def test_the_history_is_of_a_week_a_month_or_half_a_year(operator: Client, inside: Inside) -> None:
    today = datetime.fromtimestamp(clock.now(), UTC).date()
    for ago, count in ((0, 11), (6, 77), (29, 2929), (181, 181181), (182, 999999)):
        day = (today - timedelta(days=ago)).isoformat()
        inside.client.set(inside.key(f"stat:processed:{day}"), count)
    seen = {7: ("11", "77"), 30: ("77", "2,929"), 182: ("2,929", "181,181")}
    for days in SPANS:
        told = page(operator, days=days)
        for number in seen[days]:
            assert f'<td class="jq-num">{number}</td>' in told
        assert "999,999" not in told
    assert '<td class="jq-num">2,929</td>' not in page(operator)


@pytest.mark.parametrize("days", ["0", "-7", "8", "x", "<b>", "7" * 5_000])
def test_other_days_are_refused_and_not_an_error(operator: Client, days: str) -> None:
    answer = operator.get(address("overview"), {"days": days})
    assert answer.status_code == 400
    assert "<b>" not in answer.content.decode().split('id="jq-page"')[1]


def test_the_last_hour_is_of_whole_minutes(operator: Client, frozen: FrozenClock) -> None:
    histogram = (4_321,) + (0,) * (BUCKETS - 1)
    connection.store().metrics.add({"A": Counts(2, 0, histogram)})
    assert "4,323" not in page(operator)
    frozen.advance(60)
    assert "4,323" in page(operator)


def test_whatever_a_queue_or_a_process_is_called_is_text(operator: Client, inside: Inside) -> None:
    put(inside, HOSTILE, 1)
    put(inside, "../x?y#z", 1)
    alive(inside, HOSTILE, tag=HOSTILE)
    told = page(operator)
    assert "<img" not in told
    assert "\x1b" not in told
    assert "&lt;img" in row(told, "&lt;img")


def test_it_is_one_round_trip_to_redis(
    operator: Client, inside: Inside, count_round_trips: Callable[[], int]
) -> None:
    put(inside, "default", 3)
    alive(inside, "default")
    page(operator)  # meets the names
    count_round_trips()
    page(operator, days=182)
    assert count_round_trips() == 1


def test_a_page_that_refreshes_itself_is_not_told_what_others_did(
    operator: Client, inside: Inside
) -> None:
    operator.post(address("queues_pause"), {"queue": "default", "of": "default"})
    first = operator.get(address("overview"), headers={"X-Jobqueue-Live": "1"})
    assert 'class="messagelist"' not in first.content.decode()
    assert 'class="messagelist"' in page(operator)
    assert 'class="messagelist"' not in page(operator)


def test_redis_that_is_away_is_told_and_no_error(
    operator: Client, jobqueue_settings: JobqueueSettings
) -> None:
    jobqueue_settings(REDIS_URL="redis://127.0.0.1:1/0")
    answer = operator.get(address("overview"))
    assert answer.status_code == 503
    assert "Redis does not answer" in answer.content.decode()


def test_every_live_part_of_a_page_can_be_found_again(operator: Client, inside: Inside) -> None:
    put(inside, "default", 1)
    alive(inside, "default")
    told = page(operator)
    ids = re.findall(r'\sid="([^"]+)"', told)
    assert len(ids) == len(set(ids))
    assert len(re.findall(r"<section id=\"[^\"]+\" data-live", told)) >= 5
    assert told.count(" data-live") == len(re.findall(r"<section id=\"[^\"]+\" data-live", told))
    for forbidden in (" style=", "<style", " onclick=", "javascript:"):
        assert forbidden not in told.split('id="jq-page"')[1].split("<footer")[0]


def test_a_job_is_found_by_its_id_from_here(operator: Client, inside: Inside) -> None:
    inside.put("dead", json.dumps({"class": "A", "args": [], "jid": "abc"}).encode(), 1.0)
    page = Reader(operator.get(address("overview")).content.decode())
    (form,) = [form for form in page.forms if form.action == address("job")]
    found = operator.get(form.action, dict.fromkeys(form.fields, "abc"), follow=True)
    assert "abc" in found.content.decode()
    assert found.context["place"] == "dead"


def test_to_look_takes_the_permission(staff: Callable[..., Client]) -> None:
    assert staff(Permission.TOGGLE_SWITCH).get(address("overview")).status_code == 403
    assert staff(Permission.VIEW_DASHBOARD).get(address("overview")).status_code == 200


def test_without_a_database_it_still_tells_what_redis_does(
    operator: Client, inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise OperationalError("no such table: waffle_flag")

    monkeypatch.setattr(flags, "read_states", fail)
    put(inside, "default", 3)
    told = page(operator)
    assert "no such table: waffle_flag" in told
    assert ">3<" in row(told, "default")


def test_a_key_of_a_wrong_type_is_not_passed_off_as_nothing(
    operator: Client, inside: Inside
) -> None:
    inside.client.set(inside.key("retry"), "somebody else's")
    told = page(operator)
    assert "hold something else than they should, and count as empty here: retry" in told
