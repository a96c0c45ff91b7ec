"""Of the tests that a run repeats, a share is drawn by chance."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from tests.support.processes import ROOT
from tests.support.share import VARIABLE, draw, wanted_share


def drawn(share: int, seed: int, *marks: str) -> set[str]:
    """Draw from 1000 tests with these marks; return the names of those that are left to run."""
    items: Any = [
        SimpleNamespace(nodeid=f"tests/test_{n}.py::test", get_closest_marker=marks.count)
        for n in range(1000)
    ]
    names = {item.nodeid for item in items}
    others = {item.nodeid for item in draw(items, share, seed)}
    kept = {item.nodeid for item in items}
    assert kept | others == names
    assert not kept & others
    return kept


def test_about_the_share_that_is_asked_for_is_drawn() -> None:
    assert 530 < len(drawn(60, seed=1)) < 670
    assert len(drawn(100, seed=1)) == 1000


def test_a_seed_draws_the_same_and_some_seeds_draw_every_test() -> None:
    assert drawn(60, seed=1) == drawn(60, seed=1) != drawn(60, seed=2)
    assert len(set().union(*(drawn(60, seed) for seed in range(20)))) == 1000


def test_what_is_run_once_is_always_run() -> None:
    assert len(drawn(5, 1, "once", "sql")) == 1000
    assert len(drawn(5, 1, "sql")) < 100


@pytest.mark.parametrize("said", ["0", "101", "-1", "60%", "half", "٣"])
def test_what_is_no_share_is_told_with_the_way_out(
    monkeypatch: pytest.MonkeyPatch, said: str
) -> None:
    monkeypatch.setenv(VARIABLE, said)
    with pytest.raises(pytest.UsageError, match=f"{VARIABLE} is '{said}': give .* 1 to 100"):
        wanted_share()


@pytest.mark.parametrize("said", [None, "", "100"])
def test_without_a_wish_all_tests_are_run(
    monkeypatch: pytest.MonkeyPatch, said: str | None
) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    if said is not None:
        monkeypatch.setenv(VARIABLE, said)
    assert wanted_share() == 100


def collected(share: str) -> subprocess.CompletedProcess[str]:
    """Have another pytest collect this file."""
    command = [sys.executable, "-m", "pytest", "--collect-only", "-p", "no:cacheprovider"]
    return subprocess.run(
        [*command, "--randomly-seed=7", __file__],
        cwd=ROOT,
        env={**os.environ, VARIABLE: share},
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_a_run_of_a_share_says_so_and_leaves_the_others_out() -> None:
    run = collected("40")
    assert run.returncode == 0, run.stdout
    assert "40 % of the tests, drawn by the seed" in run.stdout
    found = re.search(r"(\d+)/(\d+) tests collected \((\d+) deselected\)", run.stdout)
    assert found is not None, run.stdout
    kept, count, left = map(int, found.groups())
    assert kept + left == count
    assert 0 < kept < count


def test_a_run_of_no_share_does_not_start() -> None:
    run = collected("none")
    assert run.returncode == pytest.ExitCode.USAGE_ERROR
    assert f"{VARIABLE} is 'none'" in run.stderr
