"""The page of one job: wherever it is, all that is known of it, and what can be done."""

from __future__ import annotations

import base64
import json
import re
import zlib
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from django_jobqueue import Job, Payload, api
from django_jobqueue.connection import store
from django_jobqueue.job.declaration import wire_name
from django_jobqueue.permissions import Permission
from tests.api import samples
from tests.api.samples import enqueue, jid_of, payload, put
from tests.conftest import JobqueueSettings
from tests.dashboard.conftest import address
from tests.dashboard.reading import Reader
from tests.support.inside import Inside

pytestmark = pytest.mark.django_db

TRACE = ['  File "/srv/shop/jobs.py", line 7, in perform', "    raise TimeoutError"]
FAILED = {
    "error_class": "TimeoutError", "error_message": "no answer to s3cr3t-code", "retry_count": 0,
    "error_backtrace": base64.b64encode(zlib.compress(json.dumps(TRACE).encode())).decode(),
}  # fmt: skip


class PageJob(Job):
    """Has a secret, and a page of its own."""

    redact = ("code",)

    def perform(self, user: int, code: str) -> None:
        """Do nothing."""

    @classmethod
    def admin_url(cls, payload: Payload) -> str | None:
        """Lead to what it works on."""
        return f"/users/{payload.args[0]}/"


@pytest.fixture(autouse=True)
def _redis(jobqueue_settings: JobqueueSettings) -> None:
    jobqueue_settings()


def look(browser: Client, **query: Any) -> str:
    answer = browser.get(address("job"), query)
    assert answer.status_code == 200
    content = answer.content.decode()
    assert Reader(content).faults == []
    return content


def work_on(inside: Inside, raw: bytes, process: str = "host:1:abc") -> None:
    """Let a process say that it runs a job."""
    keys = store().keys
    inside.client.sadd(keys.processes, process)
    inside.client.hset(keys.process(process), mapping={"info": "{}", "busy": 1})
    facts = {"queue": "low", "run_at": 1_700_000_000, "payload": raw.decode()}
    inside.client.hset(keys.work(process), "t1", json.dumps(facts))


def test_a_dead_job_shows_all_that_is_known_of_it(operator: Client, inside: Inside) -> None:
    put(inside, "dead", payload(1, **FAILED, retry=3, tags=["mail"], cattr={"tenant": "acme"}))
    (entry,) = api.DeadSet()
    content = look(operator, place="dead", key=entry.key)
    for text in (jid_of(1), "TimeoutError", "no answer to", TRACE[1], "1 of 4", "mail", "acme"):
        assert text in content
    links = Reader(content).links
    assert any("error_class=TimeoutError" in link for link in links)


def test_what_a_class_hides_is_hidden_everywhere_on_the_page(
    operator: Client, staff: Callable[..., Client], inside: Inside
) -> None:
    job = payload(1, **{"class": wire_name(PageJob)}, args=[7, "s3cr3t-code"], **FAILED)
    put(inside, "dead", job, payload(2, args=["plain"], cattr={"who": "tenant-9"}))
    hidden, plain = (entry.key for entry in api.DeadSet())
    content = look(operator, place="dead", key=hidden)
    assert "s3cr3t-code" not in content
    assert "[redacted]" in content
    assert "/users/7/" in Reader(content).links
    assert "plain" in look(operator, place="dead", key=plain)
    looker = staff(Permission.VIEW_DASHBOARD)
    content = look(looker, place="dead", key=plain)
    assert "plain" not in content
    assert "tenant-9" not in content


def test_a_job_is_found_by_its_id_wherever_it_is(operator: Client, inside: Inside) -> None:
    put(inside, "dead", payload(1))
    put(inside, "retry", payload(2, **FAILED))
    put(inside, "schedule", payload(3))
    put(inside, "jq:held:shop.Job", payload(4))
    inside.client.sadd(inside.key("jq:held"), "shop.Job")
    enqueue(payload(5), payload(6))
    work_on(inside, payload(7).encode())
    inside.client.sadd(inside.key("queues"), "odd")
    inside.client.set(inside.key("queue:odd"), "no list")
    for number, place in (
        (1, "dead"), (2, "retry"), (3, "schedule"), (4, "held shop.Job"), (5, "queue &#x27;low"),
        (6, "queue &#x27;low"), (7, "runs in host:1:abc"),
    ):  # fmt: skip
        content = look(operator, jid=jid_of(number))
        assert jid_of(number) in content
        assert place in content
    assert "in no queue and no set" in look(operator, jid=jid_of(8))
    assert "Find a job" in look(operator)


def test_a_search_that_takes_long_can_be_gone_on_with(
    operator: Client, inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("django_jobqueue.dashboard.lookup.BUDGET", 0)
    put(inside, "dead", *(payload(n) for n in range(100, 110)))
    enqueue(payload(1), *(payload(n) for n in range(200, 900)))
    found = look_on(operator, jid=jid_of(1))
    assert found > 1


def look_on(browser: Client, **query: Any) -> int:
    """Look for a job until it is found; return how many looks it took."""
    link, looks = f"{address('job')}?" + "&".join(f"{k}={v}" for k, v in query.items()), 0
    while link:
        content = browser.get(link).content.decode()
        looks += 1
        more = re.search(r'jq-search-more" href="([^"]*)"', content)
        link = more[1].replace("&amp;", "&") if more else ""
    assert "Where" in content
    return looks


def test_the_lock_of_a_unique_job_is_its_own_or_another_ones(
    operator: Client, inside: Inside
) -> None:
    mine, other = payload(1, once=True), payload(1, once=True, jid=jid_of(9))
    put(inside, "retry", mine)
    put(inside, "dead", other)
    (retry,), (dead,) = api.RetrySet(), api.DeadSet()
    assert "this job" in look(operator, place="retry", key=retry.key)
    content = look(operator, place="dead", key=dead.key)
    assert "another job" in content
    retry.delete()
    assert "nobody" in look(operator, place="dead", key=dead.key)


def test_its_buttons_are_those_that_the_user_may_press(
    operator: Client, staff: Callable[..., Client], inside: Inside
) -> None:
    put(inside, "retry", payload(1, **FAILED))
    (entry,) = api.RetrySet()

    def buttons(browser: Client) -> set[str]:
        page = Reader(look(browser, place="retry", key=entry.key))
        return {form.action.rstrip("/").rpartition("/")[2] for form in page.forms
                if "/jobs/" in form.action}  # fmt: skip

    assert buttons(operator) == {"retry", "kill", "delete"}
    assert buttons(staff(Permission.VIEW_DASHBOARD)) == set()
    assert buttons(staff(Permission.VIEW_DASHBOARD, Permission.KILL_JOB)) == {"kill"}


def test_after_a_retry_the_page_shows_where_the_job_is_now(
    operator: Client, inside: Inside
) -> None:
    put(inside, "dead", payload(1, **FAILED))
    (entry,) = api.DeadSet()
    here = f"{address('job')}?place=dead&key={entry.key}"
    answer = operator.post(
        address("job_retry"), {"place": "dead", "only": entry.key, "next": here}, follow=True
    )
    content = answer.content.decode()
    assert "1 job is tried again." in content
    assert "queue &#x27;low&#x27;" in content


def test_a_job_in_a_queue_is_killed_and_deleted_by_its_id(operator: Client, inside: Inside) -> None:
    enqueue(payload(1, once=True), payload(2))
    for number, verb in ((1, "delete"), (2, "kill")):
        content = look(operator, place="queue:low", key=jid_of(number))
        assert f"/jobs/{verb}/" in content
        operator.post(address(f"job_{verb}"), {"place": "queue:low", "only": jid_of(number)})
    assert inside.jobs("low") == []
    assert samples.owner_of(payload(1, once=True)) is None
    assert inside.entry("dead")[0]["jid"] == jid_of(2)


def test_a_job_deep_in_a_queue_is_found_by_the_page_that_it_was_on(
    operator: Client, inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("django_jobqueue.dashboard.lookup.BUDGET", 0)
    enqueue(*(payload(n) for n in range(1_500)))
    page = operator.get(f"{address('queues_queue')}?of=low&start=700")
    link = next(link for link in Reader(page.content.decode()).links if jid_of(702) in link)
    inside.client.rpop(inside.key("queue:low"), 30)  # workers are faster
    content = operator.get(link).content.decode()
    assert jid_of(702) in content
    form = next(f for f in Reader(content).forms if "/jobs/delete/" in f.action)
    operator.post(form.action, form.fields)
    assert len(inside.jobs("low")) == 1_469
    assert jid_of(702) not in {job["jid"] for job in inside.jobs("low")}


def test_bytes_that_are_no_job_are_shown_as_far_as_they_may(
    operator: Client, staff: Callable[..., Client], inside: Inside
) -> None:
    put(inside, "dead", b'{"password": "hunter2", "what": "left-over"')
    (entry,) = api.DeadSet()
    content = look(operator, place="dead", key=entry.key)
    assert "These bytes are no job" in content
    assert "left-over" in content
    assert "hunter2" not in content
    looker = staff(Permission.VIEW_DASHBOARD)
    assert "left-over" not in look(looker, place="dead", key=entry.key)


def test_what_is_no_place_and_no_key_is_a_bad_question(operator: Client) -> None:
    for query in ({"place": "x", "key": "1-a"}, {"place": "dead", "key": "x"},
                  {"jid": "a", "cursor": "x"}):  # fmt: skip
        assert operator.get(address("job"), query).status_code == 400
    assert "Find a job" in look(operator, place="dead")
