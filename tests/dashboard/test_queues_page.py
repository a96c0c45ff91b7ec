"""The pages of the queues: what needs somebody stands at the top, and each has its brakes."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.admin.models import DELETION, LogEntry
from django.test import Client

from django_jobqueue import bulk
from django_jobqueue.api import Queue
from django_jobqueue.connection import store
from django_jobqueue.dashboard.pages import queues as room
from django_jobqueue.exceptions import StoreUnavailable
from django_jobqueue.permissions import Permission
from django_jobqueue.store.removal import Removal
from tests.api.samples import enqueue, jid_of, owner_of, payload
from tests.conftest import JobqueueSettings
from tests.dashboard.conftest import address
from tests.dashboard.reading import Reader
from tests.doctor.conftest import work
from tests.support.inside import Inside

pytestmark = pytest.mark.django_db

#: What a path, a form or a terminal would not take as it is.
ODD = "a/b <b>\n"


@pytest.fixture(autouse=True)
def _redis(jobqueue_settings: JobqueueSettings) -> None:
    jobqueue_settings()


def look(browser: Client, name: str, **query: Any) -> str:
    """Return a page, which has to be one, and sound."""
    answer = browser.get(address(name), query)
    assert answer.status_code == 200
    content = answer.content.decode()
    assert Reader(content).faults == []
    return content


def act(browser: Client, name: str, **form: Any) -> list[str]:
    """Press a button; return what the operator is told."""
    answer = browser.post(address(name), {"next": address("queues"), **form}, follow=True)
    return [str(message) for message in answer.context["messages"]]


def rows(content: str) -> list[str]:
    """Return the names in a table, in its order."""
    page = content.partition('id="jq-page"')[2]  # past the admin's own tables
    heads = re.findall(r'<th scope="row"[^>]*>(.*?)</th>', page, re.DOTALL)
    return [re.sub(r"<[^>]*>", "", head.partition("<span")[0]).strip() for head in heads]


# Looking ---------------------------------------------------------------------------


def test_what_needs_somebody_comes_first_and_then_the_fullest(
    operator: Client, inside: Inside, count_round_trips: Callable[[], int]
) -> None:
    work("low", "high")
    enqueue(*map(payload, range(3)), queue="high")
    enqueue(payload(3))
    enqueue(payload(4), queue="nobody")
    for name in ("paused", "not-yet"):
        Queue(name).pause()
    enqueue(payload(5), queue="paused")
    inside.client.sadd(inside.key("queues"), "broken", "")
    inside.client.set(inside.key("queue:broken"), "x")
    look(operator, "queues")
    count_round_trips()
    content = look(operator, "queues")
    assert count_round_trips() == 1
    order = ["nobody", "broken", "paused", "not-yet", "high", "low", "“”"]
    assert sorted(rows(content)[:3]) == sorted(order[:3])
    assert rows(content)[3:] == order[3:]
    assert "6 jobs wait" in content
    assert "nobody works this queue" in content


def test_many_queues_are_paged(operator: Client, inside: Inside) -> None:
    assert "There is no queue yet" in look(operator, "queues")
    inside.client.sadd(inside.key("queues"), *(f"q{number:03}" for number in range(101)))
    first, second = look(operator, "queues"), look(operator, "queues", start=100)
    assert (len(rows(first)), rows(second)) == (room.PAGE, ["q100"])
    assert "1 to 100 of 101" in first
    assert rows(look(operator, "queues", start=10**20)) == []


def test_that_nobody_works_at_all_is_said_once(operator: Client) -> None:
    enqueue(payload(1))
    assert "No process is alive" in look(operator, "queues")
    work("low")
    assert "No process is alive" not in look(operator, "queues")


def test_one_queue_is_shown_from_either_end(operator: Client) -> None:
    enqueue(*map(payload, range(60)))
    found = [
        [int(jid, 16) for jid in re.findall(r'name="pick" value="([0-9a-f]{24})"', content)]
        for content in (
            look(operator, "queues_queue", of="low"),
            look(operator, "queues_queue", of="low", start=50),
            look(operator, "queues_queue", of="low", order="newest"),
        )
    ]
    assert found == [[*range(50)], [*range(50, 60)], [*range(59, 9, -1)]]
    assert 'value="low"' in look(operator, "queues_queue", of="low")


def test_a_search_stays_in_its_queue(operator: Client) -> None:
    enqueue(*map(payload, range(5)))
    content = look(operator, "queues_queue", of="low", jid=jid_of(3))
    assert jid_of(3) in content
    assert jid_of(2) not in content
    assert content.count('name="of" value="low"') >= 1
    assert "5 jobs" in content


def test_a_queue_with_an_odd_name_has_its_page_and_its_brakes(
    operator: Client, inside: Inside
) -> None:
    enqueue(payload(1), queue=ODD)
    inside.client.sadd(inside.key("queues"), ODD)
    page = look(operator, "queues")
    (link,) = {link for link in Reader(page).links if "of=a%2Fb" in link}
    content = operator.get(link).content.decode()
    assert "a/b &lt;b&gt;\\n" in content
    assert act(operator, "queues_pause", of=ODD) == [
        "Paused: the workers take no more jobs of a/b <b>\\n. What runs goes on."
    ]
    assert Queue(ODD).paused
    # What nobody can type is asked for by another word.
    assert act(operator, "queues_clear", of=ODD, confirm="clear") == [
        "1 job of a/b <b>\\n was deleted."
    ]
    assert "\n" not in LogEntry.objects.latest("pk").object_repr


def test_a_page_without_a_name_is_a_bad_question(operator: Client) -> None:
    assert operator.get(address("queues_queue")).status_code == 400
    assert operator.get(address("queues_queue"), {"of": "nobody"}).status_code == 200


# Steering --------------------------------------------------------------------------


def test_a_queue_is_paused_and_resumed(operator: Client) -> None:
    enqueue(payload(1))
    (told,) = act(operator, "queues_pause", of="low")
    assert told.startswith("Paused:")
    assert Queue("low").paused
    assert "no worker takes one" in look(operator, "queues_queue", of="low")
    (told,) = act(operator, "queues_resume", of="low")
    assert told.startswith("Resumed:")
    assert not Queue("low").paused
    logged = LogEntry.objects.order_by("pk").values_list("object_id", "object_repr")
    assert list(logged) == [("queues_pause", "low"), ("queues_resume", "low")]


@pytest.mark.parametrize("name", ["nobody", ""])
def test_a_queue_that_there_is_not_is_not_steered(operator: Client, name: str) -> None:
    for route in ("queues_pause", "queues_resume", "queues_clear"):
        assert len(act(operator, route, of=name, confirm=name)) == 1
    assert not LogEntry.objects.exists()
    assert store().stats.overview().paused == frozenset()


def test_a_queue_is_cleared_by_who_types_its_name(operator: Client) -> None:
    jobs = [payload(n, once=True) for n in range(3)]
    enqueue(*jobs)
    for typed in ("", "LOW", "clear"):
        (told,) = act(operator, "queues_clear", of="low", confirm=typed)
        assert "type “low” exactly" in told
    assert len(Queue("low")) == 3
    assert act(operator, "queues_clear", of="low", confirm=" low ") == [
        "3 jobs of low were deleted."
    ]
    assert len(Queue("low")) == 0
    assert {owner_of(job) for job in jobs} == {None}
    entry = LogEntry.objects.get()
    assert (entry.action_flag, entry.change_message) == (
        DELETION, "queues_clear (3): 3 jobs of low were deleted."
    )  # fmt: skip


def test_a_long_queue_is_cleared_by_a_worker(
    operator: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "AT_ONCE", 2)
    enqueue(*map(payload, range(3)))
    answer = operator.post(address("queues_clear"), {"of": "low", "confirm": "low"}, follow=True)
    (made,) = bulk.recent()
    assert answer.redirect_chain[0][0] == f"{address('bulk_order')}?id={made.id}"
    assert (made.order.place, made.order.verb, made.order.actor) == ("queue:low", "delete", "root")
    assert len(Queue("low")) == 3
    enqueue(payload(9, created_at=2_000_000_000_000))
    bulk.run_here(made.id, 10.0)
    assert [entry.jid for entry in Queue("low")] == [jid_of(9)]  # it came later


def test_one_job_is_deleted_from_its_row(operator: Client) -> None:
    enqueue(*map(payload, range(60)))
    form = {"place": "queue:low", "only": jid_of(55), "start": 50, "order": "oldest"}
    assert act(operator, "job_delete", **form) == ["1 job was deleted."]
    assert len(Queue("low")) == 59


def test_who_may_only_look_sees_no_button(staff: Callable[..., Client]) -> None:
    enqueue(payload(1, args=["secret-word"]))
    browser = staff(Permission.VIEW_DASHBOARD)
    for content in (look(browser, "queues"), look(browser, "queues_queue", of="low")):
        assert address("queues_pause") not in content
        assert address("queues_clear") not in content
        assert "secret-word" not in content


def test_a_clear_that_redis_breaks_off_is_written_down_with_what_it_deleted(
    operator: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    enqueue(*(payload(n) for n in range(150)))
    delete = Removal.delete

    def delete_a_page(removal: Removal, *given: Any) -> int:
        if len(Queue("low")) < 150:
            raise StoreUnavailable("127.0.0.1:1 is away")
        return delete(removal, *given)

    monkeypatch.setattr(Removal, "delete", delete_a_page)
    answer = operator.post(address("queues_clear"), {"of": "low", "confirm": "low"})
    assert answer.status_code == 503
    assert "100 jobs of low were deleted" in answer.content.decode()
    entry = LogEntry.objects.get()
    assert (entry.action_flag, entry.object_repr) == (DELETION, "low")
    assert "queues_clear (100): broke off" in entry.get_change_message()
