"""The harness sees what it is there for: a page that breaks the policy, or a script that breaks."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse
from django.urls import path

from tests.browser.conftest import OpenTab
from tests.support.browser import Tab, trouble_of
from tests.support.polling import wait_until

PAGES = {
    "well": "<p id=content>All is well</p>",
    "style": "<p id=content style='color: red'>In line</p>",
    "script": "<p id=content>In line</p><script>window.xss = 1</script>",
    "handler": "<p id=content>In line</p><img src=/x onerror='window.xss = 1'>",
    "elsewhere": "<p id=content>Far</p><img src='http://127.0.0.2:9/x.png'>",
}


def page(request: HttpRequest, name: str) -> HttpResponse:
    return HttpResponse(f"<!doctype html><title>A page</title>{PAGES[name]}")


urlpatterns = [path("<str:name>/", page)]


@pytest.fixture
def lonely(open_tab: OpenTab, settings: object, monkeypatch: pytest.MonkeyPatch) -> Tab:
    """A tab on the pages of this module, whose troubles are for the test to look at."""
    settings.ROOT_URLCONF = __name__  # type: ignore[attr-defined]
    return open_tab()


@pytest.mark.parametrize("name", ["style", "script", "handler", "elsewhere"])
def test_what_the_policy_forbids_is_a_trouble(lonely: Tab, name: str) -> None:
    lonely.open(f"/{name}/")
    told = wait_until(lambda: trouble_of([lonely]), what="the console")
    lonely._troubles.clear()
    assert "Content Security Policy" in told
    assert lonely.evaluate("window.xss") is None


def test_a_page_that_keeps_to_it_is_none(lonely: Tab) -> None:
    lonely.open("/well/")
    assert lonely.text() == "All is well"
    assert not trouble_of([lonely])


def test_a_script_that_breaks_is_a_trouble(lonely: Tab) -> None:
    lonely.open("/well/")
    lonely.do(lambda page: page.evaluate("setTimeout(() => { nothing.there() })"))
    told = wait_until(lambda: trouble_of([lonely]), what="the error")
    lonely._troubles.clear()
    assert "nothing is not defined" in told


def test_a_status_that_was_expected_is_none(tab: Tab, operator: User) -> None:
    tab.open("/admin/nowhere/", status=404)
    tab.open("/admin/")
    assert "operator" in tab.text("#user-tools").lower()
