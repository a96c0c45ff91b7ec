"""The lists of what waits: paged, filtered, and steered one by one or as many as are ticked."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.admin.models import DELETION, LogEntry
from django.test import Client, override_settings

from django_jobqueue import api
from django_jobqueue.exceptions import StoreUnavailable
from django_jobqueue.permissions import Permission
from tests.api import samples
from tests.api.samples import NAME, payload, put
from tests.conftest import JobqueueSettings
from tests.dashboard.conftest import address
from tests.dashboard.reading import Reader
from tests.support.clocks import freeze
from tests.support.inside import Inside

pytestmark = pytest.mark.django_db

FAILED = {"error_class": "TimeoutError", "error_message": "after 30 s", "retry_count": 1}


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


def jids(content: str) -> list[int]:
    """Return the numbers of the jobs in a table, in its order."""
    return [int(found, 16) for found in re.findall(r'jq-muted[^"]*">([0-9a-f]{24})<', content)]


def act(browser: Client, verb: str, place: str, *keys: str, **fields: Any) -> list[str]:
    """Press a button below the ticked jobs; return what the operator is told."""
    form = {"place": place, "pick": keys, "next": address("retries"), **fields}
    answer = browser.post(address(f"job_{verb}"), form, follow=True)
    return [str(message) for message in answer.context["messages"]]


def keys_of(jobs: Any) -> list[str]:
    return [entry.key for entry in jobs]


# Looking ---------------------------------------------------------------------------


def test_each_list_shows_its_jobs_in_the_order_in_which_they_matter(
    operator: Client, inside: Inside
) -> None:
    for name, route, order in (
        ("retry", "retries", [1, 2, 3]),
        ("schedule", "scheduled", [1, 2, 3]),
        ("dead", "dead", [3, 2, 1]),
    ):
        put(inside, name, *(payload(n) for n in (1, 2, 3)))
        assert jids(look(operator, route)) == order
        other = "oldest" if route == "dead" else "newest"
        assert jids(look(operator, route, order=other)) == order[::-1]


def test_a_long_list_is_paged_by_rank_from_both_ends(operator: Client, inside: Inside) -> None:
    put(inside, "retry", *(payload(n) for n in range(120)))
    first = look(operator, "retries")
    assert jids(first) == list(range(50))
    assert "1 to 50 of 120" in first
    follow = {
        label: link.replace("&amp;", "&")
        for link, label in re.findall(r'href="([^"]*)">(Next|Last|Earliest first)', first)
    }
    assert jids(operator.get(follow["Next"]).content.decode()) == list(range(50, 100))
    assert jids(operator.get(follow["Last"]).content.decode()) == list(range(100, 120))
    assert "beyond the last job" in look(operator, "retries", start=500)


@override_settings(LANGUAGE_CODE="de", USE_THOUSAND_SEPARATOR=True)
def test_where_a_deep_page_begins_is_told_to_the_button_in_every_language(
    operator: Client, inside: Inside
) -> None:
    inside.client.zadd(inside.key("retry"), {str(n): n for n in range(1100)})
    told = look(operator, "retries", start=1050)
    assert "1.100" in told
    assert 'name="start" value="1050"' in told


def test_a_failure_is_shown_with_its_error_and_its_attempt(
    operator: Client, inside: Inside
) -> None:
    put(inside, "retry", payload(1, **FAILED, retry=4, tags=["nightly"]))
    content = look(operator, "retries")
    for text in ("TimeoutError", "after 30 s", "2 of 5", "nightly", "low", "LookJob"):
        assert text in content


def test_bytes_that_are_no_job_are_listed_and_can_be_deleted(
    operator: Client, inside: Inside
) -> None:
    raws = put(inside, "retry", *samples.ODD, samples.ruby())
    content = look(operator, "retries")
    assert content.count(">invalid<") == len(samples.ODD)
    assert "InvoiceMailer" in content
    for key in keys_of(api.RetrySet())[:-1]:
        act(operator, "delete", "retry", key)
    assert inside.client.zrange(inside.key("retry"), 0, -1) == [raws[-1]]


def test_arguments_are_only_for_who_may_see_them(
    staff: Callable[..., Client], inside: Inside
) -> None:
    put(inside, "retry", payload(1, args=["top secret", {"password": "hunter2"}]))
    looker = staff(Permission.VIEW_DASHBOARD)
    assert "top secret" not in look(looker, "retries")
    reader = staff(Permission.VIEW_DASHBOARD, Permission.VIEW_ARGUMENTS)
    content = look(reader, "retries")
    assert "top secret" in content
    assert "hunter2" not in content
    # Whoever may ask whether a text stands in them could guess them.
    assert looker.get(address("retries"), {"text": "top"}).status_code == 403
    assert jids(look(reader, "retries", text="top secret")) == [1]


def test_who_may_only_look_is_offered_nothing_else(
    staff: Callable[..., Client], inside: Inside
) -> None:
    put(inside, "dead", payload(1))
    page = Reader(look(staff(Permission.VIEW_DASHBOARD), "dead"))
    assert not any("/jobs/" in form.action for form in page.forms)
    assert not any("bulk/new" in link for link in page.links)


# Filtering -------------------------------------------------------------------------


def test_a_filter_finds_the_jobs_that_are_meant(operator: Client, inside: Inside) -> None:
    put(
        inside,
        "dead",
        payload(1, **FAILED),
        payload(2, **FAILED, queue="high"),
        payload(3, error_class="ValueError", error_message="no", tags=["mail"]),
        first=1_700_000_000,
    )
    for query, found in (
        ({"job_class": NAME}, {1, 2, 3}),
        ({"error_class": "TimeoutError"}, {1, 2}),
        ({"error_class": "TimeoutError", "queue": "high"}, {2}),
        ({"message": "after 7"}, {1, 2}),
        ({"tag": "mail"}, {3}),
        ({"jid": samples.jid_of(2)}, {2}),
        ({"since": "1700000001"}, {2, 3}),
        ({"until": "2023-11-14T22:13:20"}, {1}),
        ({"job_class": "Nothing"}, set()),
    ):
        content = look(operator, "dead", **query)
        assert set(jids(content)) == found
        if not found:
            assert "No job matches" in content
    for query in ({"since": "yesterday"}, {"start": "-1"}, {"order": "x"}, {"cursor": "9" * 40}):
        assert operator.get(address("dead"), query).status_code == 400


def test_a_search_goes_on_where_it_ended_and_shows_each_job_once(
    operator: Client, inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("django_jobqueue.dashboard.pages.entries.BUDGET", 0)
    put(inside, "dead", *(payload(n, **FAILED) for n in range(700)))
    put(inside, "dead", *(payload(n) for n in range(1000, 1700)))
    found: list[int] = []
    link = f"{address('dead')}?error_class=TimeoutError"
    while link:
        content = operator.get(link).content.decode()
        shown = jids(content)
        assert len(shown) <= 50
        found += shown
        more = re.search(r'jq-search-more" href="([^"]*)"', content)
        link = more[1].replace("&amp;", "&") if more else ""
    assert sorted(found) == list(range(700))


# Held jobs ---------------------------------------------------------------------------


def test_held_jobs_are_listed_by_class_and_released(operator: Client, inside: Inside) -> None:
    put(inside, f"jq:held:{NAME}", payload(1), payload(2, held_from="retry"))
    inside.client.sadd(inside.key("jq:held"), NAME)
    content = look(operator, "held")
    assert NAME in content
    content = look(operator, "held", **{"class": NAME})
    assert sorted(jids(content)) == [1, 2]
    key = keys_of(api.HeldSet(NAME))[0]
    assert act(operator, "release", f"held:{NAME}", key) == ["1 job was released."]
    assert [job["jid"] for job in inside.jobs("low")] == [samples.jid_of(1)]


# Steering ----------------------------------------------------------------------------


def test_the_ticked_jobs_go_their_way_and_the_others_stay(operator: Client, inside: Inside) -> None:
    put(inside, "retry", *(payload(n, **FAILED) for n in range(6)))
    keys = keys_of(api.RetrySet())
    assert act(operator, "retry", "retry", *keys[:2]) == ["2 jobs are tried again."]
    assert act(operator, "kill", "retry", keys[2]) == ["1 job was moved to the dead set."]
    assert act(operator, "delete", "retry", *keys[3:5]) == ["2 jobs were deleted."]
    assert {job["jid"] for job in inside.jobs("low")} == {samples.jid_of(n) for n in (0, 1)}
    assert inside.entry("dead")[0]["jid"] == samples.jid_of(2)
    assert keys_of(api.RetrySet()) == keys[5:]
    entries = LogEntry.objects.order_by("pk")
    assert [(e.object_id, e.change_message.split(")")[0]) for e in entries] == [
        ("job_retry", "job_retry (2"), ("job_kill", "job_kill (1"), ("job_delete", "job_delete (2"),
    ]  # fmt: skip
    assert entries[2].action_flag == DELETION
    assert samples.jid_of(3) in entries[2].object_repr


def test_the_button_of_a_row_leaves_what_is_ticked_beside_it(
    operator: Client, inside: Inside
) -> None:
    put(inside, "schedule", payload(1), payload(2))
    first, second = keys_of(api.ScheduledSet())
    told = act(operator, "enqueue", "schedule", second, only=first)
    assert told == ["1 job went to its queue."]
    assert [job["jid"] for job in inside.jobs("low")] == [samples.jid_of(1)]


def test_who_was_too_late_is_told_so_and_nothing_is_written_down(
    operator: Client, inside: Inside
) -> None:
    put(inside, "retry", payload(1, **FAILED))
    (key,) = keys_of(api.RetrySet())
    act(operator, "delete", "retry", key)
    (told,) = act(operator, "retry", "retry", key)
    assert told.startswith("Nothing was done.")
    assert "no longer there" in told
    assert LogEntry.objects.count() == 1


def test_what_a_kill_switch_stops_stays_and_the_rest_goes(operator: Client, inside: Inside) -> None:
    put(inside, "dead", payload(1, **FAILED), payload(2, once=True))
    samples.throw("on")
    (told,) = act(operator, "retry", "dead", *keys_of(api.DeadSet()))
    assert "1 job is tried again." in told
    assert "1 stayed: the kill switch is on." in told


def test_a_job_far_down_a_bulk_for_one_moment_is_found_again(
    operator: Client, inside: Inside
) -> None:
    raws = {payload(n).encode(): 5.0 for n in range(1_300)}
    inside.client.zadd(inside.key("schedule"), raws)
    key = api.ScheduledSet().page(1_250, 1)[0].key
    assert act(operator, "delete", "schedule", key, start="1250") == ["1 job was deleted."]
    key = api.ScheduledSet().page(1_250, 1)[0].key
    assert act(operator, "delete", "schedule", key) == ["1 job was deleted."]


def test_a_verb_that_does_not_fit_and_a_key_that_is_none_are_refused(
    operator: Client, inside: Inside
) -> None:
    put(inside, "dead", payload(1))
    (key,) = keys_of(api.DeadSet())
    for verb, place, keys in (
        ("enqueue", "dead", [key]), ("kill", "dead", [key]), ("retry", "nowhere", [key]),
        ("retry", "dead", ["x"]), ("retry", "dead", []), ("retry", "dead", ["1-a"]),
    ):  # fmt: skip
        (told,) = act(operator, verb, place, *keys)
        assert told
    assert keys_of(api.DeadSet()) == [key]
    assert not LogEntry.objects.exists()


def test_a_middleware_that_raises_keeps_its_job_and_no_other(
    operator: Client, inside: Inside, jobqueue_settings: JobqueueSettings
) -> None:
    jobqueue_settings(CLIENT_MIDDLEWARE=["tests.api.middleware.Picky"])
    put(inside, "dead", payload(13), payload(14), payload(1))
    (told,) = act(operator, "retry", "dead", *keys_of(api.DeadSet()))
    for part in ("1 job is tried again.", "client middleware refused it", "RuntimeError"):
        assert part in told
    assert len(api.DeadSet()) == 2


# Speed -------------------------------------------------------------------------------


def test_a_page_takes_few_trips_however_long_the_list_is(
    operator: Client, inside: Inside, count_round_trips: Callable[[], int]
) -> None:
    put(inside, "dead", *(payload(n, **FAILED) for n in range(300)))
    look(operator, "dead")
    count_round_trips()
    look(operator, "dead", start=200)
    assert count_round_trips() <= 2


# What somebody wrote to Redis, or typed to find out -----------------------------------


def test_what_is_hidden_cannot_be_guessed_by_a_filter(
    operator: Client, staff: Callable[..., Client], inside: Inside
) -> None:
    secret = payload(1, args=[{"token": "abcdef"}], **FAILED | {"error_message": "bad: abcdef"})
    put(inside, "dead", secret, payload(2, args=["abcdef"], **FAILED))
    looker = staff(Permission.VIEW_DASHBOARD)
    for guess in ("bad: a", "bad: abcdef"):
        assert "0 found" in look(looker, "dead", message=guess)
        sample = looker.get(
            address("bulk_new"), {"place": "dead", "verb": "retry", "message": guess}
        )
        assert "<b>0</b>" in sample.content.decode()
    assert "1 found" in look(looker, "dead", message="bad:")
    # Nor by who may see the arguments, and finds what is not hidden.
    assert "1 found" in look(operator, "dead", text="abcdef")
    assert "0 found" in look(operator, "dead", text='"token":"a')
    assert "1 found" in look(operator, "dead", text="token")


def test_what_no_page_can_hold_breaks_none(operator: Client, inside: Inside) -> None:
    text = "\ud800"  # JSON of a visitor's may have it, and an error's message then as well
    odd = payload(1, args=[text], queue=text, tags=[text], **FAILED | {"error_message": text})
    raw = odd.encode().replace(odd.jid.encode(), rb"\ud800" + odd.jid.encode()[1:])
    for name in ("dead", "retry", "schedule", "held:LookJob"):
        inside.client.zadd(inside.key(name), {raw: 1})
    inside.client.rpush(inside.key("queue:low"), raw)
    for route, query in (
        ("dead", {}), ("retries", {}), ("scheduled", {}), ("held", {"class": "LookJob"}),
        ("queues_queue", {"of": "low"}), ("errors", {}),
        ("bulk_new", {"place": "dead", "verb": "delete"}),
    ):  # fmt: skip
        assert operator.get(address(route), query).status_code == 200


@pytest.mark.parametrize("zone", ["Pacific/Auckland", "America/Chicago"])
def test_the_ends_of_the_calendar_are_shown_in_every_zone(
    operator: Client, inside: Inside, settings: Any, zone: str
) -> None:
    settings.TIME_ZONE = zone
    for score in (253_402_300_799, -62_135_596_800):
        inside.client.zadd(inside.key("dead"), {payload(1).encode(): score})
        (entry,) = api.DeadSet()
        look(operator, "dead", since=score, until=score)
        look(operator, "job", place="dead", key=entry.key)


def test_an_act_that_redis_breaks_off_is_written_down_with_what_was_done(
    operator: Client, inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(inside, "dead", *(payload(n) for n in range(5)))
    keys, delete = keys_of(api.DeadSet()), api.DeadEntry.delete

    def delete_three(entry: api.DeadEntry) -> bool:
        if len(api.DeadSet()) == 2:
            raise StoreUnavailable("127.0.0.1:1 is away")
        return delete(entry)

    monkeypatch.setattr(api.DeadEntry, "delete", delete_three)
    answer = operator.post(address("job_delete"), {"place": "dead", "pick": keys})
    assert answer.status_code == 503
    entry = LogEntry.objects.get()
    assert entry.action_flag == DELETION
    assert "job_delete (3): broke off" in entry.get_change_message()
    assert payload(4).jid in entry.object_repr


def test_what_a_middleware_raises_is_told_short_and_without_what_is_hidden(
    operator: Client, inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(inside, "dead", payload(1, args=[{"token": "abcdef"}]))

    def refuse(entry: api.DeadEntry) -> bool:
        raise ValueError(f"{entry.args} " * 1000)

    monkeypatch.setattr(api.DeadEntry, "retry", refuse)
    (told,) = act(operator, "retry", "dead", *keys_of(api.DeadSet()))
    assert "ValueError" in told
    assert "abcdef" not in told
    assert len(told) < 500


def test_many_that_have_gone_are_looked_for_no_longer_than_one(
    operator: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    frozen, budgets = freeze(monkeypatch), list[float]()

    def find(queue: api.Queue, jid: str, *, budget: float) -> None:
        budgets.append(budget)
        frozen.advance(0.1)

    monkeypatch.setattr(api.Queue, "find", find)
    act(operator, "delete", "queue:low", *(f"{n:024x}" for n in range(5)))
    assert budgets == pytest.approx([0.25, 0.15, 0.05, 0, 0])
