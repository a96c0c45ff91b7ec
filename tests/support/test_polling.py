"""The waiting itself: it ends as soon as it can, and tells what it waited for."""

from __future__ import annotations

import pytest

from tests.support.polling import wait_until


def test_it_returns_the_first_true_answer() -> None:
    answers = iter(["", None, 0, "yes", "never asked"])
    assert wait_until(lambda: next(answers)) == "yes"


def test_the_condition_is_asked_once_even_when_there_is_no_time() -> None:
    assert wait_until(lambda: True, timeout=0.0)


def test_a_wait_in_vain_names_what_did_not_come() -> None:
    with pytest.raises(AssertionError, match=r"Waited 0\.02 s in vain for the ship\."):
        wait_until(lambda: False, timeout=0.02, what="the ship")


def test_a_late_description_is_made_when_it_is_needed() -> None:
    seen: list[int] = []

    def look() -> bool:
        seen.append(1)
        return False

    with pytest.raises(AssertionError, match="more than"):
        wait_until(look, timeout=0.05, what=lambda: f"more than {len(seen)} looks")
    assert seen
