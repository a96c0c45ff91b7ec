"""Sidekiq::Web shows what we wrote, and its buttons work on it."""

from __future__ import annotations

import html
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from django_jobqueue.exceptions import PoisonPill
from django_jobqueue.payload import Payload, stamp
from django_jobqueue.retry import bury, decide
from tests.acceptance.site import payload
from tests.interop.fleet import Fleet
from tests.interop.jobs import DjangoEcho, DjangoFailure, DjangoWait
from tests.interop.ruby import Page

#: Enough for all that the tests leave behind.
ALL = "?count=500"


@pytest.fixture
def scheduled(at_home: Fleet) -> Iterator[Any]:
    """A scheduled job."""
    jid = DjangoEcho.set(tags=["<i>"]).perform_in(7200, "<b>", {"ä": [None]})
    entry = at_home.scheduled.find(jid or "")
    assert entry is not None
    yield entry
    entry.delete()


def failed(fleet: Fleet, *args: Any, retry: int = 5) -> Any:
    """Let our worker fail at a job; return its entry."""
    assert fleet.django.is_running
    jid = DjangoFailure.set(retry=retry).perform_async(*args) or ""
    sought = fleet.retries if retry else fleet.dead
    return fleet.wait("a job that failed", lambda: sought.find(jid))


def shown(page: Page) -> str:
    """Return the text of a page. Raises: AssertionError for another status than 200."""
    assert page.status == 200, page.body
    return html.unescape(page.body)


def test_the_first_page_and_its_figures(at_home: Fleet) -> None:
    failed(at_home, "counted")
    text = shown(at_home.ruby.page("/"))
    assert "redis_version" in text
    stats = at_home.ruby.page("/stats").body
    assert '"processed":' in stats
    assert '"retries":0' not in stats
    assert "django" in at_home.ruby.page("/stats/queues").body


def test_the_queues(at_home: Fleet) -> None:
    jid = DjangoEcho.set(queue="in.web_2", tags=["<i>"]).perform_async("<b>", {"ä": [None]})
    assert jid is not None
    assert "in.web_2" in shown(at_home.ruby.page("/queues"))
    text = shown(at_home.ruby.page("/queues/in.web_2"))
    for told in (jid, "DjangoEcho", '"<b>"', '"ä"=>[nil]', "<i>"):
        assert told in text, told
    (raw,) = at_home.raw_queue("in.web_2")
    # The button sends the bytes back to be removed, out of the page.
    page = at_home.ruby.post("/queues/in.web_2/delete", key_val=raw.decode())
    assert page.status == 302
    assert at_home.copies(jid) == {}


def test_the_scheduled_jobs(at_home: Fleet, scheduled: Any) -> None:
    assert scheduled.key in shown(at_home.ruby.page(f"/scheduled{ALL}"))
    text = shown(at_home.ruby.page(f"/scheduled/{quote(scheduled.key)}"))
    for told in (scheduled.jid, "DjangoEcho", '"<b>"', '{"ä"=>[nil]}'):
        assert told in text, told
    page = at_home.ruby.post(f"/scheduled/{quote(scheduled.key)}", add_to_queue="1")
    assert page.status == 302
    assert [note.args for note in at_home.await_notes(scheduled.jid)] == [["<b>", {"ä": [None]}]]


def test_a_scheduled_job_is_deleted(at_home: Fleet, scheduled: Any) -> None:
    page = at_home.ruby.post(f"/scheduled/{quote(scheduled.key)}", delete="1")
    assert page.status == 302
    assert at_home.copies(scheduled.jid) == {}


def test_the_retries(at_home: Fleet) -> None:
    entry = failed(at_home, "in the web")
    assert entry.key in shown(at_home.ruby.page(f"/retries{ALL}"))
    text = shown(at_home.ruby.page(f"/retries/{quote(entry.key)}"))
    for told in (entry.jid, "DjangoFailure", "ValueError", "by design: <é>", "jobs.py"):
        assert told in text, told
    page = at_home.ruby.post(f"/retries/{quote(entry.key)}", retry="1")
    assert page.status == 302
    at_home.await_notes(entry.jid, 2)
    again = at_home.wait("a job that failed", lambda: at_home.retries.find(entry.jid))
    assert at_home.copies(entry.jid) == {"retry": 1}
    # Its second failure has a page too: it shows another time.
    assert again.jid in shown(at_home.ruby.page(f"/retries/{quote(again.key)}"))
    page = at_home.ruby.post(f"/retries/{quote(again.key)}", kill="1")
    assert page.status == 302
    assert at_home.copies(entry.jid) == {"dead": 1}


def test_the_dead(at_home: Fleet) -> None:
    entry = failed(at_home, "in the morgue", retry=0)
    assert entry.key in shown(at_home.ruby.page(f"/morgue{ALL}"))
    text = shown(at_home.ruby.page(f"/morgue/{quote(entry.key)}"))
    for told in (entry.jid, "DjangoFailure", "ValueError", '"in the morgue"'):
        assert told in text, told
    assert at_home.ruby.post(f"/morgue/{quote(entry.key)}", retry="1").status == 302
    at_home.await_notes(entry.jid, 2)
    again = at_home.wait("a dead job", lambda: at_home.dead.find(entry.jid))
    assert at_home.copies(entry.jid) == {"dead": 1}
    assert at_home.ruby.post(f"/morgue/{quote(again.key)}", delete="1").status == 302
    assert at_home.copies(entry.jid) == {}


def test_the_processes_and_what_they_run(at_home: Fleet, tmp_path: Path) -> None:
    identity, end = at_home.identity(at_home.django), tmp_path / "end"
    jid = DjangoWait.perform_async(str(end))
    assert jid is not None
    at_home.await_notes(jid)
    key = f"{identity}:work"
    at_home.await_work(key, jid)
    at_home.redis.copy(key, f"{identity}:workers")  # its name before Sidekiq 6.5
    try:
        text = shown(at_home.ruby.page("/busy"))
    finally:
        at_home.redis.delete(f"{identity}:workers")
        end.touch()
    host, pid, _ = identity.rsplit(":", 2)
    for told in (identity, f"{host}:{pid}", "Queues: </b>", "django", jid, "DjangoWait"):
        assert told in text, told


@pytest.mark.parametrize("unit", ["seconds", "milliseconds"])
def test_every_page_bears_both_units_and_every_kind_of_failure(at_home: Fleet, unit: str) -> None:
    """With milliseconds the years are wrong before Sidekiq 8, and nothing else is."""
    now, error = stamp(unit=unit), ValueError("no luck")

    def made(**fields: Any) -> Payload:
        return payload("DjangoEcho", 1, created_at=now, enqueued_at=None, **fields)

    once = decide(made(backtrace=True), error, unit=unit).payload
    twice = decide(once, error, unit=unit).payload
    by_hand = decide(once.replace(retry_count=-1), error, unit=unit).payload
    poisoned = bury(made(), PoisonPill(3), unit=unit).payload
    never = made()  # killed before it ever ran
    places: list[tuple[str, str, Payload]] = [
        ("retry", "retries", once),
        ("retry", "retries", twice),
        ("retry", "retries", by_hand),
        ("dead", "morgue", twice),
        ("dead", "morgue", poisoned),
        ("dead", "morgue", never),
        ("schedule", "scheduled", never),
    ]
    for key, path, job in places:
        score, raw = 4e9 + 0.123456, job.encode()
        at_home.redis.zadd(key, {raw: score})
        try:
            assert job.jid in shown(at_home.ruby.page(f"/{path}{ALL}"))
            assert job.jid in shown(at_home.ruby.page(f"/{path}/{score!r}-{job.jid}"))
        finally:
            at_home.redis.zrem(key, raw)
