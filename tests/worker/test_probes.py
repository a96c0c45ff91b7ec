"""Live and ready are two questions, answered by a process that nothing can keep busy."""

from __future__ import annotations

import errno
import json
import logging
import os
import re
import signal
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from django_jobqueue import clock as our_clock
from django_jobqueue.exceptions import BootError
from django_jobqueue.worker import probes as room
from django_jobqueue.worker.probes import (
    FRESH,
    ProbeOptions,
    Probes,
    hung_after,
    why_not_live,
    why_not_ready,
)
from django_jobqueue.worker.vitals import State, Vitals
from tests.support import procfs
from tests.support.clocks import FrozenClock, freeze
from tests.support.polling import wait_until

pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")

LIMIT = 60.0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> FrozenClock:
    """A clock that stands still."""
    return freeze(monkeypatch)


class Board:
    """Vitals that say what the test wants. Ages in seconds before now."""

    def __init__(self, clock: FrozenClock, children: int) -> None:
        self._clock = clock
        self.vitals = Vitals(children)
        for row in range(children + 1):
            self.show(row)

    def show(
        self,
        row: int,
        state: State = State.WORKING,
        shown: float = 0.5,
        turned: float = 1.0,
        served: float = 1.0,
    ) -> None:
        """Write one row."""
        now = self._clock.monotonic
        self.vitals.row = row
        self.vitals.show(state, now - shown, turned_at=now - turned, served_at=now - served)

    def live(self) -> list[str]:
        """Return why it is not live."""
        return why_not_live(self.vitals, LIMIT)

    def ready(self) -> list[str]:
        """Return why it is not ready."""
        return why_not_ready(self.vitals, LIMIT)


def test_all_well_is_live_and_ready(clock: FrozenClock) -> None:
    board = Board(clock, 2)
    assert (board.live(), board.ready()) == ([], [])


@pytest.mark.parametrize(
    ("row", "state", "reason"),
    [
        (0, State.ABSENT, "the supervisor is starting"),
        (0, State.QUIET, "the supervisor is quiet"),
        (0, State.STOPPING, "the supervisor is stopping"),
        (2, State.ABSENT, "worker 2 is starting"),
        (2, State.AWAY, "worker 2 cannot reach Redis"),
        (2, State.QUIET, "worker 2 is quiet"),
        (2, State.STOPPING, "worker 2 is stopping"),
    ],
)
def test_each_state_but_work_is_live_and_not_ready(
    clock: FrozenClock, row: int, state: State, reason: str
) -> None:
    board = Board(clock, 2)
    board.show(row, state)
    assert (board.live(), board.ready()) == ([], [reason])


def test_a_child_that_was_stopped_for_good_is_not_waited_for(clock: FrozenClock) -> None:
    board = Board(clock, 2)
    board.vitals.reset(1, State.FINISHED)
    assert (board.live(), board.ready()) == ([], [])


def test_a_fetch_that_is_long_ago_is_live_and_not_ready(clock: FrozenClock) -> None:
    board = Board(clock, 1)
    board.show(1, served=FRESH)
    assert board.ready() == []
    board.show(1, served=FRESH + 1)
    assert (board.live(), board.ready()) == ([], ["worker 1 has not fetched for 16 s"])


def test_an_outage_however_long_is_live(clock: FrozenClock) -> None:
    board = Board(clock, 1)
    board.show(1, State.AWAY, served=3600)
    assert (board.live(), board.ready()) == ([], ["worker 1 cannot reach Redis"])


@pytest.mark.parametrize("age", [{"shown": 70}, {"turned": 70}], ids=["all of it", "a loop"])
@pytest.mark.parametrize("state", room._RUNNING)
def test_a_child_that_does_not_turn_is_not_live(
    clock: FrozenClock, state: State, age: dict[str, float]
) -> None:
    board = Board(clock, 2)
    board.show(2, state, **age)
    assert board.live() == ["worker 2 has not turned for 70 s"]
    assert board.ready()[0] == "worker 2 has not turned for 70 s"


def test_a_supervisor_that_does_not_turn_is_not_live(clock: FrozenClock) -> None:
    board = Board(clock, 1)
    board.show(0, shown=61)
    assert board.live() == ["the supervisor has not turned for 61 s"]


def test_a_child_that_starts_slowly_is_live(clock: FrozenClock) -> None:
    board = Board(clock, 1)
    board.vitals.reset(1)
    clock.advance(3600)
    board.show(0)
    assert board.live() == []


def test_a_long_lease_has_patience() -> None:
    assert (hung_after(15), hung_after(60), hung_after(300)) == (60, 120, 600)


# The process that answers ---------------------------------------------------------


class Rig:
    """Probes whose supervisor is the test."""

    def __init__(self, options: ProbeOptions) -> None:
        self.probes = Probes(options, children=1, lease=15)
        self.probes.vitals.row = 1
        self.work(State.WORKING)

    def work(self, state: State, served: float = 0.0) -> None:
        """Show what the one child does."""
        now = our_clock.monotonic()
        self.probes.vitals.row = 1
        self.probes.vitals.show(state, now, turned_at=now, served_at=now - served)
        self.probes.vitals.row = 0
        self.probes.keep(State.WORKING, [])

    def pid_after_a_round(self) -> int:
        """Do a round of the supervisor and return the process that answers."""
        self.work(State.WORKING)
        return self.pid

    @property
    def pid(self) -> int:
        """The process that answers."""
        return self.probes._pid


@pytest.fixture
def make_rig() -> Iterator[Callable[..., Rig]]:
    """Make probes that end with the test."""
    made: list[Rig] = []

    def make(**options: Any) -> Rig:
        made.append(Rig(ProbeOptions(**options)))
        return made[-1]

    yield make
    for rig in made:
        rig.probes.close()


def get(port: int, path: str) -> tuple[int, dict[str, Any]]:
    """Return the status and the body of an answer."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=20) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


def test_the_port_answers_both_questions_and_says_why(
    make_rig: Callable[..., Rig], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "django_jobqueue")
    rig = make_rig(port="0")
    found = re.search(r"http://127\.0\.0\.1:(\d+)/live and /ready", caplog.text)
    assert found
    port = int(found[1])
    assert get(port, "/live") == (200, {"live": True, "why": []})
    assert get(port, "/ready") == (200, {"ready": True, "why": []})
    rig.work(State.AWAY)
    assert get(port, "/live") == (200, {"live": True, "why": []})
    why = ["worker 1 cannot reach Redis"]
    assert get(port, "/ready") == (503, {"ready": False, "why": why})
    rig.work(State.WORKING)
    assert get(port, "/ready") == (200, {"ready": True, "why": []})


def test_files_are_there_while_the_answer_is_yes(
    make_rig: Callable[..., Rig], tmp_path: Path
) -> None:
    ready, live = tmp_path / "ready", tmp_path / "live"
    rig = make_rig(ready_file=str(ready), live_file=str(live))
    wait_until(lambda: ready.exists() and live.exists(), 20, "both files")
    first = ready.stat().st_mtime_ns
    wait_until(lambda: ready.stat().st_mtime_ns > first, 20, "a second touch")
    rig.work(State.AWAY)
    wait_until(lambda: not ready.exists(), 20, "the file to go")
    assert live.exists()
    rig.work(State.WORKING)
    wait_until(ready.exists, 20, "the file to come back")
    pid = rig.pid
    rig.probes.close()
    assert not procfs.is_alive(pid)
    assert list(tmp_path.iterdir()) == []


def test_signals_to_the_group_do_not_end_it_and_the_end_of_the_supervisor_does(
    make_rig: Callable[..., Rig], tmp_path: Path
) -> None:
    ready = tmp_path / "ready"
    rig = make_rig(ready_file=str(ready))
    wait_until(ready.exists, 20, "the file")
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGTSTP, signal.SIGUSR1):
        os.kill(rig.pid, number)
    first = ready.stat().st_mtime_ns
    wait_until(lambda: ready.stat().st_mtime_ns > first, 20, "another touch")
    os.close(rig.probes._control)  # as when the supervisor is killed
    rig.probes._control = -1
    wait_until(lambda: not ready.exists(), 20, "the file to go")


def test_one_that_dies_is_replaced_and_not_in_a_hurry(
    make_rig: Callable[..., Rig], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    clock = freeze(monkeypatch)
    rig = make_rig(port="0")
    first = rig.pid
    clock.advance(room.RESTART)
    os.kill(first, signal.SIGKILL)
    wait_until(lambda: rig.pid_after_a_round() != first, 20, "another one")
    assert rig.pid
    assert "the process that answers probes died; another one starts" in caplog.text
    os.kill(rig.pid, signal.SIGKILL)
    wait_until(lambda: not rig.pid_after_a_round(), 20, "its death")
    rig.work(State.WORKING)
    assert not rig.pid
    clock.advance(room.RESTART)
    rig.work(State.WORKING)
    assert rig.pid


def test_what_cannot_be_had_is_told_at_the_start(tmp_path: Path) -> None:
    for options in (
        ProbeOptions(ready_file=str(tmp_path / "missing" / "ready")),
        ProbeOptions(live_file=str(tmp_path)),
    ):
        with pytest.raises(BootError, match=r"--(ready|live)-file '.*' cannot be written"):
            Probes(options, 1, 60)
    with pytest.raises(BootError, match="write PORT or ADDRESS:PORT"):
        Probes(ProbeOptions(port="here"), 1, 60)


def test_a_file_that_holds_something_is_none_of_ours(tmp_path: Path) -> None:
    precious = tmp_path / "jobs.py"
    precious.write_text("import os\n")
    with pytest.raises(BootError, match=r"--live-file '.*jobs\.py' is not empty: choose another"):
        Probes(ProbeOptions(live_file=str(precious)), 1, 60)
    assert precious.read_text() == "import os\n"


def test_without_a_process_to_be_had_it_is_tried_again(
    make_rig: Callable[..., Rig], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse() -> int:
        raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")

    clock = freeze(monkeypatch)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fork", refuse)
        rig = make_rig(port="0")
    assert (rig.pid, rig.probes._control) == (0, -1)
    assert "no process can be started that answers probes: [Errno 11]" in caplog.text
    clock.advance(room.RESTART)
    assert rig.pid_after_a_round()


def test_they_are_wanted_when_any_is_named() -> None:
    assert not ProbeOptions().are_wanted
    assert ProbeOptions(port="1").are_wanted
    assert ProbeOptions(ready_file="x").are_wanted
    assert ProbeOptions(live_file="x").are_wanted
