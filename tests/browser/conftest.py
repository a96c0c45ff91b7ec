"""A browser and a site for each run, a tab and the data for each test."""

from __future__ import annotations

import os
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

import pytest
from django.contrib.auth.models import Permission as Granted
from django.contrib.auth.models import User

from django_jobqueue.permissions import Permission
from tests.conftest import JobqueueSettings
from tests.support import browser as harness
from tests.support.browser import Browser, Site, Tab
from tests.support.inside import count_round_trips, inside

__all__ = ["count_round_trips", "inside"]

#: Says that the browser has to be there.
REQUIRED = "JOBQUEUE_TEST_BROWSER"

_HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """
    Skip the tests of this room where there is no browser, or nothing to drive it with.

    With ``JOBQUEUE_TEST_BROWSER=required`` that is an error.
    """
    missing = [
        what
        for what, is_here in (
            ("playwright", find_spec("playwright") is not None),
            ("Chromium", harness.find_browser() is not None),
        )
        if not is_here
    ]
    if missing:
        reason = f"there is no {' and no '.join(missing)}: {harness.WAY_OUT}"
        if os.environ.get(REQUIRED) == "required":
            raise pytest.UsageError(reason)
        for item in items:
            if item.path.is_relative_to(_HERE):
                item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """The browser of this test process."""
    with Browser() as started:
        yield started


@pytest.fixture(scope="session")
def site(django_db_setup: None) -> Iterator[Site]:
    """The site of this test process. It obeys the settings of each test but for MIDDLEWARE."""
    with Site() as started:
        yield started


class OpenTab(Protocol):
    """Open a tab as ``user``; ``options`` are those of Playwright's ``new_context``."""

    def __call__(self, user: User | None = None, **options: Any) -> Tab:
        """Without a user nobody is logged in."""


@pytest.fixture
def open_tab(
    browser: Browser, site: Site, transactional_db: None, jobqueue_settings: JobqueueSettings
) -> Iterator[OpenTab]:
    """A factory of tabs. What the console of one tells as an error fails the test."""
    jobqueue_settings()
    tabs: list[Tab] = []

    def open_it(user: User | None = None, **options: Any) -> Tab:
        tab = browser.tab(site, **options)
        tabs.append(tab)
        if user is not None:
            tab.login(user)
        return tab

    yield open_it
    troubles = harness.trouble_of(tabs)
    for tab in tabs:
        tab.close()
    assert not troubles, f"In the console of the browser:\n{troubles}"


@pytest.fixture
def operator(transactional_db: None) -> User:
    """Somebody who may do everything."""
    return User.objects.create_superuser("operator", password="open sesame")


@pytest.fixture
def viewer(transactional_db: None) -> User:
    """Somebody of the staff who may only look."""
    user = User.objects.create_user("viewer", password="only looking", is_staff=True)
    user.user_permissions.add(Granted.objects.get(codename=Permission.VIEW_DASHBOARD.value))
    return user


@pytest.fixture
def tab(open_tab: OpenTab, operator: User) -> Tab:
    """A tab of somebody who may do everything."""
    return open_tab(operator)
