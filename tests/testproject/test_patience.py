"""A demonstration in which nothing moves any more ends."""

from __future__ import annotations

import pytest

from testproject.backups.patience import Stalled, Watch


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time that a watch sees, in its only element."""
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    return now


def test_what_stands_still_for_too_long_is_given_up(clock: list[float]) -> None:
    watch = Watch(90)
    watch.see("some")
    clock[0] = 90.0
    watch.see("some")
    clock[0] = 90.1
    with pytest.raises(Stalled, match="Nothing has changed for 90 s: giving up"):
        watch.see("some")


def test_what_changes_is_waited_for(clock: list[float]) -> None:
    watch = Watch(90)
    for number in range(5):
        clock[0] = number * 80.0
        watch.see(number)
