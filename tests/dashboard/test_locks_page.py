"""The page of the locks: who holds them, those whose holder is nowhere, and how one is released."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client

from django_jobqueue.dashboard.pages import locks as room
from django_jobqueue.permissions import Permission
from tests.api.samples import enqueue, jid_of, lock, owner_of, payload
from tests.conftest import JobqueueSettings
from tests.dashboard.conftest import address
from tests.dashboard.test_queues_page import act, look
from tests.support.inside import Inside

pytestmark = pytest.mark.django_db

QUEUED, LOST = payload(1, once=True), payload(2, once=True)


@pytest.fixture(autouse=True)
def _redis(jobqueue_settings: JobqueueSettings) -> None:
    jobqueue_settings()


def test_locks_are_shown_with_where_their_job_is(operator: Client, inside: Inside) -> None:
    assert "No unique job holds a lock" in look(operator, "locks")
    enqueue(QUEUED)
    lock([LOST])
    content = look(operator, "locks")
    for told in (jid_of(1), jid_of(2), str(LOST.unique_digest), "queue:low"):
        assert told in content, told
    assert content.count("no live holder") == 1
    assert "The job that holds 1 of these locks is nowhere" in content
    inside.client.persist(inside.key(f"jq:unique:{LOST.unique_digest}"))
    assert "never by itself" in look(operator, "locks")


def test_one_lock_is_found_by_its_digest(operator: Client) -> None:
    enqueue(QUEUED)
    lock([LOST])
    content = look(operator, "locks", digest=f" {LOST.unique_digest} ")
    assert jid_of(2) in content
    assert jid_of(1) not in content
    assert "Nobody holds this lock" in look(operator, "locks", digest="0" * 32)
    assert operator.get(address("locks"), {"digest": "*"}).status_code == 400
    assert operator.get(address("locks"), {"cursor": "x"}).status_code == 400


def test_many_locks_are_looked_through_a_page_at_a_time(
    operator: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "PAGE", 3)
    jobs = [payload(n, once=True) for n in range(40)]
    enqueue(*jobs)
    seen = ""
    query: dict[str, str] = {}
    for _ in range(1000):
        answer = operator.get(address("locks"), query)
        seen += answer.content.decode()
        more = answer.context["more"]
        if not more:
            break
        query = {"cursor": more.rpartition("=")[2]}
    assert all(job.jid in seen for job in jobs)


def test_a_lock_is_released_and_its_like_is_accepted(operator: Client) -> None:
    lock([LOST])
    form = {"digest": str(LOST.unique_digest), "jid": LOST.jid}
    assert act(operator, "locks_release", **form) == [
        "Released: the next job with these arguments is accepted."
    ]
    assert owner_of(LOST) is None
    assert LogEntry.objects.get().object_repr == f"{LOST.unique_digest} of {LOST.jid}"
    (told,) = act(operator, "locks_release", **form)
    assert told.startswith("Nothing was done")


def test_a_lock_that_a_newer_job_has_taken_is_left_alone(operator: Client) -> None:
    lock([LOST])
    digest = str(LOST.unique_digest)
    for form in ({"digest": digest, "jid": jid_of(9)}, {"digest": digest}, {"digest": "*"}, {}):
        assert len(act(operator, "locks_release", **form)) == 1
    assert owner_of(LOST) == LOST.jid
    assert not LogEntry.objects.exists()


def test_who_may_only_look_sees_no_button(staff: Callable[..., Client]) -> None:
    lock([LOST])
    browser = staff(Permission.VIEW_DASHBOARD)
    assert address("locks_release") not in look(browser, "locks")
