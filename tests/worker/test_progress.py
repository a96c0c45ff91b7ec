"""How far a burst has come: a bar on a terminal, a line at the end anywhere."""

from __future__ import annotations

import io
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from django_jobqueue.connection import store
from django_jobqueue.worker import progress as room
from django_jobqueue.worker.progress import Progress
from tests.conftest import JobqueueSettings
from tests.support.clocks import FrozenClock, freeze
from tests.support.inside import Inside


class Terminal(io.StringIO):
    """A terminal, or not."""

    def __init__(self, *, is_one: bool) -> None:
        super().__init__()
        self._is_one = is_one

    def isatty(self) -> bool:
        return self._is_one


class Bar:
    """What is seen of ``rich``'s bar."""

    def __init__(self, **options: Any) -> None:
        self.seen: list[Any] = []
        BARS.append(self)

    def add_task(self, name: str, total: int) -> str:
        self.seen.append(("total", total))
        return name

    def start(self) -> None:
        self.seen.append("start")

    def stop(self) -> None:
        self.seen.append("stop")

    def update(self, task: str, total: int, completed: int) -> None:
        self.seen.append((completed, total))


#: Bars that were made.
BARS: list[Bar] = []


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> FrozenClock:
    """Time stands still."""
    return freeze(monkeypatch)


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Set whether stderr is a terminal, and whether ``rich`` is there; return what is written."""

    def choose(*, terminal: bool, rich: bool = True) -> Terminal:
        def import_module(name: str) -> Any:
            if not rich:
                raise ModuleNotFoundError(name)
            return SimpleNamespace(Progress=Bar, Console=lambda **_: None)

        BARS.clear()
        written = Terminal(is_one=terminal)
        monkeypatch.setattr(sys, "stderr", written)
        monkeypatch.setattr(room, "import_module", import_module)
        return written

    return choose


def set_processed(inside: Inside, number: int) -> None:
    inside.client.set(inside.key("stat:processed"), number)


def fill(inside: Inside, queue: str, count: int) -> None:
    inside.client.delete(inside.key(f"queue:{queue}"))
    if count:
        inside.client.lpush(inside.key(f"queue:{queue}"), *["x"] * count)


@pytest.mark.parametrize(("terminal", "rich"), [(False, True), (True, False)])
def test_without_a_terminal_or_rich_there_is_one_line_at_the_end(
    jobqueue_settings: JobqueueSettings,
    inside: Inside,
    clock: FrozenClock,
    screen: Any,
    terminal: bool,
    rich: bool,
) -> None:
    jobqueue_settings()
    written = screen(terminal=terminal, rich=rich)
    set_processed(inside, 100)
    fill(inside, "a", 3)
    progress = Progress(store(), ["a"])
    progress.begin()
    progress.update()
    set_processed(inside, 103)
    clock.advance(2.5)
    progress.end()
    assert written.getvalue() == "3 jobs in 2.5 s\n"
    assert BARS == []


def test_the_bar_counts_what_is_done_and_what_waits_in_all_queues(
    jobqueue_settings: JobqueueSettings, inside: Inside, clock: FrozenClock, screen: Any
) -> None:
    jobqueue_settings()
    written = screen(terminal=True)
    set_processed(inside, 100)
    fill(inside, "a", 3)
    fill(inside, "b", 2)
    progress = Progress(store(), ["a", "b"])
    progress.begin()
    clock.advance(1)
    fill(inside, "a", 1)
    set_processed(inside, 102)
    progress.update()
    clock.advance(0.1)
    progress.update()  # too soon for another look
    clock.advance(1)
    fill(inside, "a", 0)
    fill(inside, "b", 4)
    set_processed(inside, 106)
    progress.update()
    progress.end()
    (bar,) = BARS
    assert bar.seen == [("total", 5), "start", (2, 5), (6, 10), "stop"]
    assert written.getvalue().startswith("6 jobs in ")


def test_an_outage_disturbs_neither_the_bar_nor_the_end(
    jobqueue_settings: JobqueueSettings, settings: Any, clock: FrozenClock, screen: Any
) -> None:
    written = screen(terminal=True)
    settings.JOBQUEUE = {"REDIS_URL": "redis://127.0.0.1:1/0"}
    progress = Progress(store(), ["a"])
    progress.begin()
    clock.advance(1)
    progress.update()
    progress.end()
    assert BARS[0].seen == [("total", 0), "start", "stop"]
    assert written.getvalue() == ""
