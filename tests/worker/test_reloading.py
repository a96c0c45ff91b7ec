"""The reloader starts its process again when a file changes, and ends as that process does."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.utils import autoreload

from django_jobqueue.worker import reloading as room
from django_jobqueue.worker.reloading import Reloader, superior
from tests.support.polling import wait_until

SIGNALS = [
    signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGTSTP, signal.SIGUSR1, signal.SIGTTIN,
    signal.SIGCHLD,
]  # fmt: skip

#: Notes each start and what it hears; ends with STOP, or as the test says.
WORKER = """
import os, signal, sys
from django_jobqueue.worker.reloading import superior
signal.signal(signal.SIGTERM, signal.SIG_IGN)
log, codes = sys.argv[1:]
number = sum(1 for _ in open(log)) if os.path.exists(log) else 0
orders = superior()
assert orders >= 0 and superior() == -1 and os.environ["RUN_MAIN"] == "true"

def note(word):
    with open(log, "a") as file:
        file.write(f"{word}\\n")

note("start")
code = int((codes.split(",") + ["-1"] * 99)[number])
if code >= 0:
    sys.exit(code)
if code == -9:
    os.kill(os.getpid(), 9)
while True:
    said = os.read(orders, 1)
    note(said.decode() or "end")
    if said in (b"T", b"") and "deaf" not in codes or said == b"X":
        sys.exit(3)
"""


class Rig:
    """A reloader whose process is a script, and whose files change when the test says so."""

    def __init__(self, log: Path) -> None:
        self.log = log
        self.reloader = Reloader(timeout=600)
        self._acts: list[threading.Thread] = []

    def words(self) -> list[str]:
        """Return what the processes noted."""
        return self.log.read_text().split() if self.log.exists() else []

    def when(self, words: list[str], act: Callable[[], Any]) -> None:
        """Do something as soon as these are the words."""
        self.once(lambda: self.words() == words, act)

    def once(self, condition: Callable[[], bool], act: Callable[[], Any]) -> None:
        """Do something as soon as a condition holds."""

        def wait() -> None:
            wait_until(condition, 30, lambda: f"what is to come after {self.words()}")
            act()

        self._acts.append(threading.Thread(target=wait, daemon=True))
        self._acts[-1].start()

    def change(self) -> None:
        """Have a file changed."""
        autoreload.file_changed.send(sender=None, file_path=Path("jobs.py"))

    def run(self) -> int:
        """Run to the end."""
        code = self.reloader.run()
        for act in self._acts:
            act.join(30)
        return code


def kill(number: int) -> Callable[[], None]:
    """Return what sends this process a signal."""
    return lambda: os.kill(os.getpid(), number)


class StillFiles:
    """A watch that sees nothing."""

    def watch_dir(self, path: Path, glob: str) -> None:
        assert path.is_dir()

    def run(self, thread: threading.Thread) -> None:
        threading.Event().wait()


@pytest.fixture
def make_rig(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Callable[[str], Rig]]:
    """
    Make a reloader; ``codes`` are exit codes, -1 for a process that works until told.

    A process has the code at the place of its word in the log, from 0.
    """
    before = {number: signal.getsignal(number) for number in SIGNALS}
    monkeypatch.setattr(autoreload, "get_reloader", StillFiles)
    made: list[Rig] = []

    def make(codes: str = "") -> Rig:
        log = tmp_path / "log"
        command = [sys.executable, "-c", WORKER, str(log), codes or "-1"]
        monkeypatch.setattr(autoreload, "get_child_arguments", lambda: command)
        made.append(Rig(log))
        return made[-1]

    yield make
    for rig in made:
        autoreload.file_changed.disconnect(dispatch_uid=room.VARIABLE)
        rig.reloader._signals.close()
    for number, handler in before.items():
        signal.signal(number, handler)


MakeRig = Callable[..., Rig]


def test_a_change_stops_the_process_in_order_and_starts_another(make_rig: MakeRig) -> None:
    rig = make_rig()
    rig.when(["start"], rig.change)
    rig.when(["start", "T", "start"], kill(signal.SIGTERM))
    assert rig.run() == 3
    assert rig.words() == ["start", "T", "start", "T"]


@pytest.mark.parametrize("code", [0, 1, 3, 75])
def test_a_process_that_ends_by_itself_ends_everything_with_its_code(
    make_rig: MakeRig, code: int
) -> None:
    rig = make_rig(str(code))
    assert rig.run() == code
    assert rig.words() == ["start"]


def test_a_process_that_is_killed_is_told_as_a_shell_tells_it(make_rig: MakeRig) -> None:
    assert make_rig("-9").run() == 128 + 9


def test_one_that_cannot_start_after_a_change_waits_for_the_next(
    make_rig: MakeRig, caplog: pytest.LogCaptureFixture
) -> None:
    told = "the worker ended with exit code 1; waiting for a change"
    rig = make_rig("-1,-1,1,1")
    rig.when(["start"], rig.change)
    rig.once(lambda: caplog.messages.count(told) == 1, rig.change)
    rig.once(lambda: caplog.messages.count(told) == 2, kill(signal.SIGINT))
    assert rig.run() == 1
    assert rig.words() == ["start", "T", "start", "start"]


def test_orders_are_passed_on_and_a_second_signal_is_in_a_hurry(make_rig: MakeRig) -> None:
    rig = make_rig("-1,deaf")
    rig.when(["start"], kill(signal.SIGTTIN))
    rig.when(["start", "D"], kill(signal.SIGTSTP))
    rig.when(["start", "D", "Q"], kill(signal.SIGTERM))
    rig.when(["start", "D", "Q", "T"], kill(signal.SIGTERM))
    assert rig.run() == 3
    assert rig.words() == ["start", "D", "Q", "T", "X"]


def test_jobs_that_run_at_a_change_have_little_time(
    make_rig: MakeRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "GRACE", 0.0)
    rig = make_rig("-1,-1,-1,0,deaf")
    rig.when(["start"], rig.change)
    assert rig.run() == 0
    assert rig.words() == ["start", "T", "X", "start"]


def test_a_process_that_does_not_stop_is_killed(
    make_rig: MakeRig, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(room, "PATIENCE", 0.0)
    rig = make_rig("-1,deaf")
    rig.reloader._timeout = 0.0
    rig.when(["start"], kill(signal.SIGTERM))
    assert rig.run() == 128 + 9
    assert "the worker does not stop; killing it" in caplog.text


def test_a_watch_that_fails_goes_on(
    make_rig: MakeRig, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    failed = threading.Event()

    class Failing(StillFiles):
        def run(self, thread: threading.Thread) -> None:
            if not failed.is_set():
                failed.set()
                raise OSError("a directory went away")
            autoreload.file_changed.send(sender=None, file_path=Path("jobs.py"))
            threading.Event().wait()

    monkeypatch.setattr(room, "WATCH_AGAIN", 0.0)
    monkeypatch.setattr(autoreload, "get_reloader", Failing)
    rig = make_rig("-1,-1,0")
    assert rig.run() == 0
    assert "the watch over the source failed; it goes on" in caplog.text


def test_the_projects_own_applications_are_watched_and_installed_ones_are_not() -> None:
    found = room._source_directories()
    root = Path(__file__).resolve().parents[2]
    assert root / "tests" / "jobsite" in found
    assert not any("site-packages" in path.parts for path in found)


def test_without_a_reloader_there_is_no_superior(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(room.VARIABLE, raising=False)
    assert superior() == -1


def test_a_superior_is_found_once_and_left_to_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = os.pipe()
    os.set_inheritable(ours, True)
    monkeypatch.setenv(room.VARIABLE, str(ours))
    try:
        assert superior() == ours
        assert not os.get_inheritable(ours)
        assert superior() == -1
    finally:
        os.close(ours)
        os.close(theirs)
