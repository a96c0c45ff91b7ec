"""The failures grouped: what fails how, how much of it, and the way to retry just that."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.test import Client

from django_jobqueue.permissions import Permission
from tests.api.samples import payload, put
from tests.conftest import JobqueueSettings
from tests.dashboard.conftest import address
from tests.dashboard.reading import Reader
from tests.support.inside import Inside

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _redis(jobqueue_settings: JobqueueSettings) -> None:
    jobqueue_settings()


def look(browser: Client, **query: str) -> str:
    answer = browser.get(address("errors"), query)
    assert answer.status_code == 200
    content = answer.content.decode()
    assert Reader(content).faults == []
    return content


def test_equal_errors_are_one_row_whose_links_mean_just_them(
    operator: Client, inside: Inside
) -> None:
    for number in range(7):
        put(
            inside,
            "dead" if number % 2 else "retry",
            payload(number, error_class="TimeoutError", error_message=f"after {number} s"),
            payload(number + 10, error_class="ValueError", error_message="no"),
        )
    content = look(operator)
    assert content.count("after # s") == 2
    page = Reader(content)
    orders = [link for link in page.links if "bulk/new" in link and "TimeoutError" in link]
    assert len(orders) == 2
    for link in orders:
        answer = operator.get(link)
        assert answer.status_code == 200
        assert answer.context["estimate"].count == (4 if "place=retry" in link else 3)
    assert look(operator, place="dead").count("after # s") == 1
    assert operator.get(address("errors"), {"place": "x"}).status_code == 400


def test_an_error_that_repeats_a_secret_does_not_tell_it(operator: Client, inside: Inside) -> None:
    for number in range(2):
        secret = f"hunter-{number}"
        put(inside, "dead", payload(
            number, args=[{"password": secret}], error_class="Denied",
            error_message=f"nobody has the password {secret}, says the server",
        ))  # fmt: skip
    content = look(operator)
    assert "hunter" not in content
    link = next(link for link in Reader(content).links if "bulk/new" in link)
    assert operator.get(link).context["estimate"].count == 2


def test_who_may_only_look_is_offered_no_retry(
    staff: Callable[..., Client], inside: Inside
) -> None:
    assert "Nothing that failed" in look(staff(Permission.VIEW_DASHBOARD))
    put(inside, "dead", payload(1, error_class="ValueError"))
    assert "bulk/new" not in look(staff(Permission.VIEW_DASHBOARD))
