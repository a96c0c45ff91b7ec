"""Whatever stands in Redis, in the tables and in an address is shown as text, and nothing more."""

from __future__ import annotations

import itertools
import logging

import pytest
from django.test import Client
from django.urls import resolve

from django_jobqueue.connection import store
from django_jobqueue.dashboard.board import all_routes
from django_jobqueue.dashboard.routes import Page
from tests.conftest import JobqueueSettings
from tests.dashboard.conftest import address
from tests.dashboard.crawler import Crawler
from tests.dashboard.hostile import TEXTS, plant, plant_rows
from tests.dashboard.reading import Form, Reader
from tests.support.inside import Inside

pytestmark = [pytest.mark.django_db, pytest.mark.once]


@pytest.fixture
def full(jobqueue_settings: JobqueueSettings, inside: Inside) -> None:
    """A Redis and a database with the hostile texts in every field."""
    jobqueue_settings()
    plant(inside.client, store().keys)
    plant_rows()


@pytest.fixture
def some(jobqueue_settings: JobqueueSettings, inside: Inside) -> None:
    """A few of them: enough for every page and form, where the question is what is asked."""
    jobqueue_settings()
    plant(inside.client, store().keys, TEXTS[:4])
    plant_rows(TEXTS[:4])


def one_line(records: list[logging.LogRecord]) -> list[str]:
    """Return the log lines that are more than a line, or that a terminal would obey."""
    told = [record.getMessage() for record in records if record.name.startswith("django_jobqueue")]
    return [line for line in told if "\n" in line or "\x1b" in line or "\r" in line]


@pytest.mark.usefixtures("full")
def test_no_hostile_text_is_more_than_text_on_any_page(
    operator: Client, caplog: pytest.LogCaptureFixture
) -> None:
    crawler = Crawler(operator, address("overview"), alike=8)
    with caplog.at_level(logging.DEBUG, "django_jobqueue"):
        crawler.walk()
    assert crawler.faults == []
    assert one_line(caplog.records) == []
    kinds = {resolve(page.partition("?")[0]).url_name for page in crawler.pages}
    wanted = {f"jobqueue_{route.name}" for route in all_routes() if isinstance(route, Page)}
    assert wanted - kinds == set(), "pages that no link leads to"
    shown = "".join(page.text for page in crawler.pages.values())
    for text in TEXTS:
        if text.isprintable() and text.strip():
            assert text[:100] in shown, text


@pytest.mark.usefixtures("some")
def test_no_hostile_query_is_more_than_text(
    operator: Client, caplog: pytest.LogCaptureFixture
) -> None:
    crawler = Crawler(operator, address("overview"))
    crawler.walk()
    fronts: dict[str | None, str] = {}
    for page in crawler.pages:
        path = page.partition("?")[0]
        fronts.setdefault(resolve(path).url_name, path)
    asker = Crawler(operator, address("overview"))
    with caplog.at_level(logging.DEBUG, "django_jobqueue"):
        for number in range(0, len(TEXTS), 3):
            for turn, path in enumerate(sorted(fronts.values())):
                # All parameters at once would hide the later ones behind the first that is
                # refused; each has every third of the texts at some page, and each page too.
                names = sorted(crawler.parameters)[(number // 3 + turn) % 3 :: 3]
                texts = itertools.cycle(TEXTS[number:])
                some = dict(zip(names, texts, strict=False))
                answer = operator.get(path, some)
                if answer.status_code not in (200, 302, 400, 404):
                    asker.faults.append(f"{path} {some!r}: {answer.status_code}")
                if answer.status_code != 302:
                    asker.faults += Reader(answer.content.decode(errors="replace")).faults
    assert crawler.parameters
    assert asker.faults == []
    assert one_line(caplog.records) == []


@pytest.mark.usefixtures("some")
def test_no_hostile_form_breaks_an_act_or_forges_a_line(
    operator: Client, caplog: pytest.LogCaptureFixture
) -> None:
    crawler = Crawler(operator, address("overview"))
    crawler.walk()
    forms: dict[str | None, list[Form]] = {}
    for page in crawler.pages.values():
        for form in page.forms:
            if form.method == "post" and form.action.startswith(address("overview")):
                name = resolve(form.action.partition("?")[0]).url_name
                forms.setdefault(name, []).append(form)
    assert len(forms) > 20
    faults = []
    with caplog.at_level(logging.DEBUG, "django_jobqueue"):
        for name, found in forms.items():
            for number, text in enumerate(TEXTS[::3]):
                form = found[number % len(found)]
                fields = {**dict.fromkeys(form.fields, text), "pick": [text], "confirm": text}
                answer = operator.post(form.action, fields)
                if answer.status_code not in (302, 400, 404):
                    faults.append(f"{name} {text!r}: {answer.status_code}")
    assert faults == []
    assert one_line(caplog.records) == []
