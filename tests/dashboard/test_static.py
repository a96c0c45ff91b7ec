"""What the browser is sent beside the pages: small, and of nobody else's."""

from __future__ import annotations

import re

import pytest
from django.contrib.staticfiles import finders


def read(name: str) -> str:
    path = finders.find(f"django_jobqueue/{name}")
    assert isinstance(path, str)
    with open(path, encoding="utf-8") as file:
        return file.read()


def test_the_script_is_short() -> None:
    assert len(read("dashboard.js").splitlines()) < 150


@pytest.mark.parametrize(
    "forbidden", ["innerHTML", "eval(", "Function(", "insertAdjacent", "write("]
)
def test_the_script_makes_no_markup_and_no_code_of_texts(forbidden: str) -> None:
    assert forbidden not in read("dashboard.js")


@pytest.mark.parametrize("name", ["dashboard.js", "dashboard.css"])
def test_nothing_is_fetched_from_elsewhere(name: str) -> None:
    assert re.search(r"https?:|//\w+\.\w|url\(|@import|data:", read(name)) is None


def test_the_styles_touch_no_other_page_of_the_admin() -> None:
    # On paper it is the whole page, and the sheet is loaded by pages of ours alone.
    screen = read("dashboard.css").split("@media print")[0]
    rules = re.sub(r"/\*.*?\*/", "", screen, flags=re.DOTALL)
    for selectors in re.findall(r"([^{}]+)\{", rules):
        for selector in selectors.split(","):
            own = (
                ".jq" in selector
                or "data-pick-all" in selector
                or "data-theme" in selector
                or ":root" in selector
            )
            assert own or "@media" in selector, selector
