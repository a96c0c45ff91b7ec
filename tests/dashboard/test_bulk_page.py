"""Actions on all that match: asked about with an estimate, confirmed, watched, stopped, hurried."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.http import HttpResponse
from django.test import Client

from django_jobqueue import api, bulk
from django_jobqueue.connection import store
from django_jobqueue.permissions import Permission
from tests.api.samples import NAME, owner_of, payload, put
from tests.conftest import JobqueueSettings
from tests.dashboard.conftest import address
from tests.dashboard.reading import Reader
from tests.support.inside import Inside

pytestmark = pytest.mark.django_db

TIMEOUT = {"error_class": "TimeoutError", "error_message": "after 30 s", "retry_count": 1}


@pytest.fixture(autouse=True)
def _redis(jobqueue_settings: JobqueueSettings) -> None:
    jobqueue_settings()


@pytest.fixture
def failed(inside: Inside) -> None:
    """Five jobs that timed out, and five of another error."""
    put(inside, "retry", *(payload(n, **TIMEOUT) for n in range(5)))
    put(inside, "retry", *(payload(n, error_class="ValueError") for n in range(5, 10)))


def new(browser: Client, **query: str) -> HttpResponse:
    return browser.get(address("bulk_new"), query)  # type: ignore[return-value]


def ask(browser: Client, verb: str, **form: str) -> Any:
    """Order something; the answer is the page that follows."""
    return browser.post(
        address(f"bulk_{verb}_ask"), {"next": address("retries"), **form}, follow=True
    )


def told(answer: Any) -> list[str]:
    return [str(message) for message in answer.context["messages"]]


@pytest.mark.usefixtures("failed")
def test_it_is_asked_first_how_many_are_meant_and_which(operator: Client) -> None:
    answer: Any = new(operator, place="retry", verb="retry", error_class="TimeoutError")
    content = answer.content.decode()
    assert Reader(content).faults == []
    assert "<b>5</b> of 10" in content
    assert content.count("after 30 s") == 5
    assert "No worker takes jobs of the queue “reconcilers”" in content
    for bad in ({"place": "dead", "verb": "kill"}, {"place": "retry", "verb": "x"}, {}):
        assert new(operator, **bad).status_code == 400


def test_of_a_long_list_the_number_is_estimated(operator: Client, inside: Inside) -> None:
    put(inside, "dead", *(payload(n, **(TIMEOUT if n % 2 else {})) for n in range(1_200)))
    answer: Any = new(operator, place="dead", verb="retry", error_class="TimeoutError")
    estimate = answer.context["estimate"]
    assert not estimate.is_exact
    assert 400 < estimate.count < 800
    assert "estimated from" in answer.content.decode()


@pytest.mark.usefixtures("failed")
def test_an_order_is_carried_out_here_where_no_worker_is(operator: Client, inside: Inside) -> None:
    answer = ask(operator, "retry", place="retry", error_class="TimeoutError")
    assert "5 jobs" in told(answer)[0]
    assert "nobody begins with this" in answer.content.decode()
    (standing,) = bulk.recent()
    assert (standing.state, standing.order.actor) == ("waiting", "root")
    entry = LogEntry.objects.get()
    assert (entry.object_id, entry.object_repr) == (
        "bulk_retry_ask", "retry: error TimeoutError",
    )  # fmt: skip
    page = address("bulk_order") + f"?id={standing.id}"
    answer = operator.post(
        address("bulk_retry_run"), {"id": standing.id, "next": page}, follow=True
    )
    assert told(answer) == ["5 jobs more are done."]
    content = answer.content.decode()
    assert "5 jobs are tried again." in content
    assert "Work at it here" not in content
    assert len(inside.jobs("low")) == 5
    assert len(api.RetrySet()) == 5
    assert "error TimeoutError" in operator.get(address("bulk")).content.decode()
    again = operator.post(address("bulk_retry_run"), {"id": standing.id}, follow=True)
    assert "over" in told(again)[0]


@pytest.mark.usefixtures("failed")
def test_an_order_can_be_stopped_and_by_its_own_verb_only(operator: Client) -> None:
    ask(operator, "retry", place="retry")
    (standing,) = bulk.recent()
    for verb, id in (("kill", standing.id), ("retry", "0" * 24), ("retry", "x"), ("retry", "")):
        answer = operator.post(address(f"bulk_{verb}_stop"), {"id": id}, follow=True)
        assert told(answer)
        assert bulk.recent()[0].state == "waiting"
    operator.post(address("bulk_retry_stop"), {"id": standing.id})
    assert bulk.recent()[0].state == "stopped"
    assert "stopped" in operator.get(address("bulk_order"), {"id": standing.id}).content.decode()
    assert operator.get(address("bulk_order"), {"id": "0" * 24}).status_code == 404


@pytest.mark.usefixtures("failed")
def test_what_cannot_be_undone_has_to_be_typed(operator: Client) -> None:
    for form in ({}, {"confirm": "yes"}):
        answer = ask(operator, "delete", place="retry", error_class="TimeoutError", **form)
        assert "type “delete” exactly" in told(answer)[0]
    assert bulk.recent() == []
    ask(operator, "delete", place="retry", error_class="TimeoutError", confirm="delete")
    (standing,) = bulk.recent()
    operator.post(address("bulk_delete_run"), {"id": standing.id})
    assert {entry.error_class for entry in api.RetrySet()} == {"ValueError"}


def test_to_delete_all_of_a_place_is_to_clear_it_and_takes_that_permission(
    staff: Callable[..., Client], inside: Inside
) -> None:
    job = payload(1, once=True)
    put(inside, "retry", job)
    some = staff(Permission.VIEW_DASHBOARD, Permission.DELETE_JOB)
    everything = {"place": "retry", "confirm": "delete"}
    assert ask(some, "delete", **everything).status_code == 403
    page: Any = new(some, place="retry", verb="delete")
    assert "Can delete all jobs of a queue or a set" in page.content.decode()
    assert ask(some, "delete", **everything, job_class=job.job_class).status_code == 200
    clearer = staff(Permission.VIEW_DASHBOARD, Permission.DELETE_JOB, Permission.CLEAR_QUEUE)
    ask(clearer, "delete", **everything)
    for standing in bulk.recent():
        bulk.run_here(standing.id, 5)
    assert len(api.RetrySet()) == 0
    assert owner_of(job) is None


def test_a_text_of_arguments_is_only_shown_to_who_may_see_them(
    operator: Client, staff: Callable[..., Client], inside: Inside
) -> None:
    put(inside, "retry", payload(1, args=["top secret"]))
    ask(operator, "retry", place="retry", text="top secret")
    (standing,) = bulk.recent()
    assert "top secret" not in LogEntry.objects.get().change_message
    looker = staff(Permission.VIEW_DASHBOARD, Permission.RETRY_JOB)
    for name in ("bulk", "bulk_order"):
        assert "top secret" in operator.get(address(name), {"id": standing.id}).content.decode()
        assert "top secret" not in looker.get(address(name), {"id": standing.id}).content.decode()
    assert new(looker, place="retry", verb="retry", text="top").status_code == 403


def test_held_and_queued_jobs_are_meant_by_their_places_too(
    operator: Client, inside: Inside
) -> None:
    put(inside, f"jq:held:{NAME}", payload(1), payload(2))
    ask(operator, "release", place=f"held:{NAME}")
    bulk.run_here(bulk.recent()[0].id, 5)
    assert len(api.Queue("low")) == 2
    ask(operator, "kill", place="queue:low", confirm="kill")
    bulk.run_here(bulk.recent()[0].id, 5)
    assert len(api.DeadSet()) == 2
    assert store().queues.names()
