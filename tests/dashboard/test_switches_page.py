"""The pages of the kill switches: what they show, who may throw, and what becomes of held jobs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.messages import get_messages
from django.test import Client
from waffle.models import Flag

from django_jobqueue import Job, Payload
from django_jobqueue.job.disabled import held
from django_jobqueue.models import KillSwitchEvent
from django_jobqueue.permissions import Permission
from django_jobqueue.store.sets import HOLD, Promotion
from django_jobqueue.store.store import Store
from django_jobqueue.switches import flags
from django_jobqueue.switches.state import OFF
from tests.conftest import JobqueueSettings
from tests.dashboard.conftest import address
from tests.support.flags import is_refused, set_flag
from tests.support.server import RedisServer

FLAG, ALIAS = "disable_paged_job", "disable_once_paged_job"

pytestmark = pytest.mark.django_db(transaction=True)


class PagedJob(Job):
    """Its switch is thrown from a page."""

    wire_name = "Paged::Job"
    queue = "paged"
    kill_switch_aliases = ("once_paged_job",)
    self_healing = False

    def perform(self) -> None:
        """Do nothing."""


@pytest.fixture(autouse=True)
def store(jobqueue_settings: JobqueueSettings, redis_server: RedisServer) -> Iterator[Store]:
    """The Redis of this test."""
    made = Store(redis_server.url, prefix=jobqueue_settings(), timeout=10.0)
    yield made
    made.close()


def state_of(flag: str = FLAG) -> str:
    return flags.read_states().get(flag, OFF).encode()


def page(browser: Client, name: str = "switches", **query: str) -> str:
    answer = browser.get(address(name), query)
    assert answer.status_code == 200
    return answer.content.decode()


def post(browser: Client, act: str, **form: Any) -> str:
    """Post to an act; return what the operator is told."""
    answer = browser.post(address(f"switches_{act}"), form)
    assert answer.status_code == 302
    return str(list(get_messages(answer.wsgi_request))[-1])


def hold(store: Store, count: int) -> None:
    """Hold jobs as a worker does."""
    made = [
        Payload({"class": "Paged::Job", "args": [], "jid": f"{n:024x}", "queue": "paged"})
        for n in range(count)
    ]
    store.queues.push({}, [(1.0, payload.encode()) for payload in made])
    store.sets.promote(
        "schedule",
        [
            Promotion(HOLD, p.encode(), held(p, "queue").encode(), job_class="Paged::Job")
            for p in made
        ],
    )


# Throwing -----------------------------------------------------------------------------


def test_a_job_is_disabled_and_history_names_the_user(operator: Client) -> None:
    told = post(operator, "disable", flag=FLAG)
    assert told == f"The kill switch {FLAG} is on: PagedJob is stopped everywhere within a second."
    assert is_refused(PagedJob)
    event = KillSwitchEvent.objects.get(flag=FLAG)
    assert (event.actor, event.source, event.new_state) == ("root", "admin", "on")
    assert LogEntry.objects.get(object_id="switches_disable").object_repr == FLAG
    told = post(operator, "enable", flag=FLAG)
    assert "goes again" in told
    assert not is_refused(PagedJob)


def test_a_share_is_stopped_and_nonsense_changes_nothing(operator: Client) -> None:
    post(operator, "percent", flag=FLAG, percent="33.3")
    assert state_of() == "33.3"
    for nonsense in ("", "101", "-1", "nan", "inf", "ten", "1e400"):
        told = post(operator, "percent", flag=FLAG, percent=nonsense)
        assert "is not a percentage" in told
    assert state_of() == "33.3"
    assert LogEntry.objects.filter(object_id="switches_percent").count() == 1


def test_enabling_turns_former_flags_off_and_tells_of_what_is_left(operator: Client) -> None:
    set_flag(FLAG, True)
    set_flag(ALIAS, True)
    told = post(operator, "enable", flag=ALIAS)
    assert told.endswith(f"It is still stopped by {FLAG}.")
    assert is_refused(PagedJob)
    set_flag(ALIAS, True)
    post(operator, "enable", flag=FLAG)
    assert (state_of(), state_of(ALIAS)) == ("off", "off")
    assert not is_refused(PagedJob)


def test_only_switches_that_there_are_can_be_thrown(operator: Client) -> None:
    count = Flag.objects.count()
    for name in ("", "disable_nothing_at_all", "beta_feature", "x" * 5000):
        for act in ("disable", "enable", "percent"):
            told = post(operator, act, flag=name, percent="5")
            assert told.startswith("There is no kill switch")
    assert Flag.objects.count() == count


def test_who_may_only_look_sees_no_button_and_throws_nothing(
    staff: Callable[..., Client],
) -> None:
    viewer = staff(Permission.VIEW_DASHBOARD)
    set_flag(FLAG, True)
    for text in (page(viewer), page(viewer, "switches_one", flag=FLAG)):
        assert FLAG in text
        assert "switches/enable" not in text
        assert "switches/percent" not in text
    for act in ("disable", "enable", "percent", "release", "purge"):
        assert viewer.post(address(f"switches_{act}"), {"flag": FLAG}).status_code == 403
    assert state_of() == "on"


# Looking ------------------------------------------------------------------------------


def test_thrown_switches_stand_first_with_what_they_stopped(operator: Client, store: Store) -> None:
    store.tally.add("refused", {"Paged::Job": 4321})
    post(operator, "disable", flag=FLAG)
    text = page(operator)
    first = text[text.index("<tbody>") :].partition("</tr>")[0]
    assert FLAG in first
    assert "4,321" in first
    assert "by root" in first
    assert page(operator, q="nothing has this name").count("<tr") < page(operator).count("<tr")
    assert FLAG in page(operator, q="PAGED job")


def test_one_switch_tells_what_it_would_stop(operator: Client) -> None:
    PagedJob.perform_bulk([()] * 12)
    text = page(operator, "switches_one", flag=FLAG)
    assert "What would be stopped" in text
    assert "in the queue paged" in text
    assert ">12<" in text
    assert "no reconciler" in text
    assert operator.get(address("switches_one"), {"flag": "disable_no_such"}).status_code == 404


def test_flags_with_hostile_names_are_text(operator: Client) -> None:
    name = 'disable_"><script>alert(1)</script>/../?&#\u202e'
    set_flag(name, True)
    for text in (page(operator), page(operator, "switches_one", flag=name)):
        assert "<script>alert" not in text
    post(operator, "enable", flag=name)
    assert state_of(name) == "off"


def test_a_flag_that_cannot_act_is_marked(operator: Client) -> None:
    set_flag(FLAG, None)
    assert "cannot act" in page(operator, q=FLAG)
    assert "This flag cannot act" in page(operator, "switches_one", flag=FLAG)
    post(operator, "enable", flag=FLAG)
    assert "cannot act" not in page(operator, q=FLAG)


def test_switches_are_thrown_while_redis_is_away(operator: Client, settings: Any) -> None:
    settings.JOBQUEUE = {"REDIS_URL": "redis://127.0.0.1:1/0"}
    assert "Redis cannot be asked" in page(operator, "switches_one", flag=FLAG)
    post(operator, "disable", flag=FLAG)
    assert state_of() == "on"
    assert "Redis cannot be asked" in page(operator)


def test_without_waffle_the_page_says_so(operator: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flags, "is_installed", lambda: False)
    assert "waffle" in page(operator)
    told = post(operator, "disable", flag=FLAG)
    assert told.startswith("There is no kill switch")


def test_many_switches_come_by_pages(operator: Client) -> None:
    Flag.objects.bulk_create(Flag(name=f"disable_many_{n:03}", everyone=False) for n in range(150))
    text = page(operator, q="many_")
    assert "disable_many_099" in text
    assert "disable_many_100" not in text
    text = page(operator, q="many_", start="100")
    assert "disable_many_149" in text
    assert page(operator, q="many_", start="9" * 40)
    assert page(operator, q="many_", start="-5")


# Held jobs ----------------------------------------------------------------------------


def test_held_jobs_are_released_some_or_all(operator: Client, store: Store) -> None:
    hold(store, 30)
    text = page(operator, "switches_one", flag=FLAG)
    assert "30 of Paged::Job" in text
    told = post(operator, "release", job="Paged::Job", limit="10")
    assert told == "10 jobs of PagedJob were released."
    assert store.held.classes() == {"Paged::Job": 20}
    post(operator, "release", job="Paged::Job", limit="5000")
    assert store.held.classes() == {}
    assert len(store.queues.page("paged", 0, 100)) == 30
    told = post(operator, "release", job="Paged::Job", limit="1")
    assert told.startswith("No job of PagedJob was released")


def test_nothing_is_released_while_the_switch_is_on_or_without_a_number(
    operator: Client, store: Store
) -> None:
    hold(store, 3)
    for limit in ("", "0", "-1", "5001", "9" * 30, "x"):
        told = post(operator, "release", job="Paged::Job", limit=limit)
        assert told.startswith("Give a number")
    set_flag(FLAG, True)
    told = post(operator, "release", job="Paged::Job", limit="3")
    assert "Turn it off first" in told
    told = post(operator, "release", job="No::Such", limit="3")
    assert "No::Such" in told
    assert store.held.classes() == {"Paged::Job": 3}


def test_held_jobs_are_deleted_only_when_the_class_is_typed(operator: Client, store: Store) -> None:
    hold(store, 5)
    for word in ("", "pagedjob", "Paged::Job"):
        told = post(operator, "purge", job="Paged::Job", confirm=word)
        assert "PagedJob" in told
    assert store.held.classes() == {"Paged::Job": 5}
    told = post(operator, "purge", job="Paged::Job", confirm="PagedJob")
    assert told == "5 held jobs of PagedJob were deleted."
    assert store.held.classes() == {}
    entry = LogEntry.objects.get(object_id="switches_purge")
    assert (entry.object_repr, entry.is_deletion()) == ("Paged::Job", True)
    assert "(5)" in entry.change_message


def test_too_many_held_jobs_are_left_to_a_bulk_action(
    operator: Client, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("django_jobqueue.dashboard.pages.switches.AT_ONCE", 4)
    hold(store, 5)
    text = page(operator, "switches_one", flag=FLAG)
    assert "bulk/new/?place=held%3APaged%3A%3AJob&amp;verb=release" in text
    assert "bulk/new/?place=held%3APaged%3A%3AJob&amp;verb=delete" in text
    told = post(operator, "purge", job="Paged::Job", confirm="PagedJob")
    assert "bulk action" in told
    assert store.held.classes() == {"Paged::Job": 5}
