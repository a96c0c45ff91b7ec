"""The pages as people use them, in a browser that lets nothing run which is not a file of ours."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.urls import resolve, reverse

from django_jobqueue.connection import store
from django_jobqueue.dashboard.navigation import _TABS as TABS
from django_jobqueue.switches import throwing
from django_jobqueue.switches.events import Source
from django_jobqueue.switches.naming import flag_names
from django_jobqueue.switches.state import State
from tests.browser.conftest import OpenTab
from tests.conftest import StartRunJobs
from tests.dashboard.hostile import TEXTS, payload_of, plant, plant_rows
from tests.jobsite.jobs import NoopJob
from tests.support.browser import Tab
from tests.support.inside import Inside
from tests.support.journal import Journal
from tests.support.polling import wait_until

#: A phone, held upright.
PHONE = {"width": 360, "height": 740}


def address(name: str, **query: Any) -> str:
    return reverse(f"admin:jobqueue_{name}", query=query or None)


def walk(tab: Tab) -> Iterator[str]:
    """
    Open one page of each kind that links lead to, and yield its address while it is open.

    What has more than a page of its own kind is opened as the first link has it.
    """
    waiting, kinds = [address("overview")], {"jobqueue_overview"}
    while waiting:
        page = waiting.pop(0)
        tab.open(page)
        yield page
        links = "[...document.querySelectorAll('#content a[href]')].map(a => a.pathname + a.search)"
        for link in tab.evaluate(links):
            kind = resolve(link.partition("?")[0]).url_name or ""
            if kind.startswith("jobqueue_") and kind not in kinds:
                kinds.add(kind)
                waiting.append(link)
    assert len(kinds) > len(TABS)


def bury(inside: Inside, text: str = "it broke", **fields: Any) -> None:
    raw = payload_of(text, queue="default", retry=True, **{"class": "tests.NoJob", **fields})
    inside.put("dead", raw, time.time())


def test_who_logs_in_comes_to_the_overview(open_tab: OpenTab, operator: User) -> None:
    tab = open_tab()
    tab.open(address("overview"))
    tab.fill("Username:", "operator")
    tab.fill("Password:", "open sesame")
    tab.press("Log in")
    assert tab.path == address("overview")
    assert tab.text("h1") == "Overview"


def test_the_overview_follows_the_workers_by_itself(
    tab: Tab, inside: Inside, run_jobs: StartRunJobs, journal: Journal
) -> None:
    for number in range(3):
        NoopJob.perform_async(str(number))
    tab.hold_time()
    tab.open(address("overview"))
    processed = "document.querySelector('#jq-totals').dataset.processed"
    assert tab.evaluate(processed) == "0"
    run_jobs("--burst").wait()
    assert len(inside.raw()) == 0
    tab.pass_time(6)
    wait_until(lambda: tab.evaluate(processed) == "3", what="the refreshed total")
    # Its figures a second are made of two looks.
    tab.pass_time(6)
    tab.wait_for_text("0", "[data-rate=failed]")


def test_a_page_that_is_told_to_stand_still_asks_for_nothing(tab: Tab) -> None:
    tab.hold_time()
    tab.open(address("queues"))
    tab.press("Pause live refresh")
    asked: list[str] = []
    tab.do(lambda page: page.on("request", lambda request: asked.append(request.url)))
    tab.pass_time(60)
    assert asked == []


def test_a_dead_job_is_retried(tab: Tab, inside: Inside) -> None:
    bury(inside, jid="a-dead-job")
    tab.open(address("dead"))
    tab.tick("input[name=pick]")
    tab.press("Retry now", within="#jq-picked")
    assert tab.path == address("dead")
    assert inside.entries("dead") == []
    assert [job["jid"] for job in inside.jobs()] == ["a-dead-job"]
    assert LogEntry.objects.get().user.get_username() == "operator"


def test_a_job_is_disabled_and_enabled_again(tab: Tab) -> None:
    assert NoopJob.perform_async("before")
    tab.open(address("switches"))
    tab.press("NoopJob")
    tab.press("Disable the job")
    tab.wait_for_text("every job is stopped", "#jq-switch")
    assert NoopJob.perform_async("refused") is None
    tab.open(address("overview"))
    assert "disable_noop_job" in tab.text("#jq-alarms")
    assert "1 refused since" in tab.text("#jq-alarms")
    tab.open(address("switches"))
    tab.press("Enable job disable_noop_job")
    assert NoopJob.perform_async("after")
    assert [(entry.user.get_username(), entry.object_repr) for entry in LogEntry.objects.all()] == [
        ("operator", "disable_noop_job")
    ] * 2


def test_what_is_typed_stays_and_a_double_click_counts_once(tab: Tab) -> None:
    flag, label = flag_names(NoopJob)[0], "Stop a share of the jobs, in percent:"
    tab.hold_time()
    tab.open(address("switches_one", flag=flag))
    tab.fill(label, "5")
    tab.evaluate("document.activeElement.blur()")
    throwing.throw([flag], State.partial(30), actor="another", source=Source.CODE)
    tab.pass_time(6)
    tab.wait_for_text("another", "#jq-history")
    assert tab.evaluate("document.querySelector('[name=percent]').value") == "5"
    sent = """(() => {
        let count = 0;
        addEventListener("submit", (event) => {
            count += event.defaultPrevented ? 0 : 1;
            event.preventDefault();
        });
        const form = document.querySelector("form:has([name=percent])");
        form.requestSubmit();
        form.requestSubmit();
        return count;
    })()"""
    assert tab.evaluate(sent) == 1


def test_all_that_match_are_retried_and_no_other(tab: Tab, inside: Inside) -> None:
    for number in range(3):
        bury(inside, jid=f"wanted-{number}", **{"class": "Wanted", "display_class": "Wanted"})
    bury(inside, jid="another")
    tab.open(address("dead", job_class="Wanted"))
    tab.press("Retry now…")
    tab.press("Retry now: all that match")
    tab.press("Work at it here")
    tab.wait_for_text("3 jobs are tried again", "#jq-order")
    assert [job["jid"] for job, _ in inside.entries("dead")] == ["another"]
    jobs = [job["jid"] for job in inside.jobs()]
    assert sorted(jid for jid in jobs if jid.startswith("wanted")) == [
        "wanted-0", "wanted-1", "wanted-2",
    ]  # fmt: skip


def test_an_error_message_full_of_markup_is_text(tab: Tab, inside: Inside) -> None:
    markup = "<img src=/x onerror='window.xss=1'><script>window.xss=1</script><b>bold</b>"
    bury(inside, markup, jid="hostile")
    for page in (
        address("dead"),
        address("errors"),
        address("job", jid="hostile"),
    ):
        tab.open(page)
        assert "<b>bold</b>" in tab.text(), page
        assert tab.evaluate("window.xss") is None, page


def test_no_hostile_text_runs_or_is_too_wide_for_a_phone(
    open_tab: OpenTab, operator: User, inside: Inside
) -> None:
    plant(inside.client, store().keys, TEXTS)
    plant_rows(TEXTS)
    tab = open_tab(operator, color_scheme="dark", is_mobile=True, viewport=PHONE)
    for page in walk(tab):
        assert tab.evaluate("window.xss") is None, page
        assert tab.evaluate("document.documentElement.scrollWidth") <= PHONE["width"], page


def test_who_may_only_look_sees_every_page_and_no_button(
    open_tab: OpenTab, viewer: User, inside: Inside
) -> None:
    NoopJob.perform_async("x")
    bury(inside)
    tab = open_tab(viewer)
    for page in walk(tab):
        assert tab.count("#content form[method=post]") == 0, page
