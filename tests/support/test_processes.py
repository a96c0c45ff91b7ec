"""Watching and hurting processes, and leaving none behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support import procfs
from tests.support.polling import wait_until
from tests.support.processes import ROOT, Process

Start = Callable[[str], Process]

#: A parent of two children, one of which has a child that leaves the group; all sleep.
FAMILY = """
import os, subprocess, sys, time
sleeper = "import time; time.sleep(600)"
forker = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {sleeper!r}])"
first = subprocess.Popen([sys.executable, "-c", sleeper])
second = subprocess.Popen([sys.executable, "-c", forker], process_group=0)
print(f"children {first.pid} {second.pid}\\n", end="")  # one write: no half line is read
time.sleep(600)
"""


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    with ExitStack() as processes:

        def run(script: str) -> Process:
            number = len(list(tmp_path.iterdir()))
            command = [sys.executable, "-c", script]
            return processes.enter_context(Process(command, tmp_path / f"{number}.log"))

        yield run


def start_family(start: Start) -> tuple[Process, list[int]]:
    """Start the family and wait until its four members run."""
    parent = start(FAMILY)
    children = [int(pid) for pid in parent.wait_for_line("children").split()[1:]]
    wait_until(lambda: len(parent.members()) == 4, what="the whole family")
    return parent, children


def test_the_exit_code_is_told(start: Start) -> None:
    assert start("raise SystemExit(75)").wait() == 75


def test_the_output_holds_both_streams(start: Start) -> None:
    process = start("import sys; print('one'); print('two', file=sys.stderr)")
    assert process.wait() == 0
    assert sorted(process.output().split()) == ["one", "two"]


def test_a_line_can_be_waited_for(start: Start) -> None:
    process = start("print('first'); print('now serving 7'); import time; time.sleep(600)")
    assert process.wait_for_line("serving") == "now serving 7"
    assert process.is_running


def test_the_last_words_of_a_process_are_heard(start: Start) -> None:
    process = start("print('farewell')")
    process.wait()
    assert process.wait_for_line("farewell") == "farewell"


def test_waiting_for_a_line_of_a_dead_process_fails_at_once(start: Start) -> None:
    process = start("print('something else'); raise SystemExit(3)")
    with pytest.raises(AssertionError, match=r"ended with 3 and never said 'serving'[^$]*else"):
        process.wait_for_line("serving", timeout=600)


def test_a_process_that_does_not_end_fails_the_wait_with_its_output(start: Start) -> None:
    process = start("print('I am busy'); import time; time.sleep(600)")
    process.wait_for_line("busy")
    with pytest.raises(AssertionError, match=r"still runs after 0\.05 s[^$]*I am busy"):
        process.wait(0.05)


def test_term_reaches_the_process(start: Start) -> None:
    process = start(
        "import signal, sys, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(9))\n"
        "print('ready'); time.sleep(600)"
    )
    process.wait_for_line("ready")
    process.term()
    assert process.wait() == 9


def test_children_are_the_processes_own(start: Start) -> None:
    parent, children = start_family(start)
    assert parent.children() == children


def test_one_child_can_be_killed(start: Start) -> None:
    parent, (first, second) = start_family(start)
    assert parent.kill9_child(1) == second
    assert parent.children() == [first]
    assert parent.is_running
    with pytest.raises(AssertionError, match="no child 1 to hit"):
        parent.kill9_child(1)


def test_a_child_can_be_stopped_and_continued(start: Start) -> None:
    parent, _ = start_family(start)

    def state(pid: int) -> str:
        stat = procfs.stat_of(pid)
        assert stat is not None
        return stat.state

    pid = parent.signal_child(signal.SIGSTOP)
    wait_until(lambda: state(pid) == "T", what="the child to stop")
    parent.signal_child(signal.SIGCONT)
    wait_until(lambda: state(pid) != "T", what="the child to go on")


def test_killing_the_group_takes_orphans_and_those_who_left_it(start: Start) -> None:
    parent, (_, second) = start_family(start)
    members = parent.members()
    # The grandchild is now nobody's, and in a group that is not the parent's.
    os.kill(second, signal.SIGKILL)
    wait_until(lambda: not procfs.is_alive(second), what="the middle of the family to die")
    orphan = next(pid for pid in members if pid not in (parent.pid, *parent.children(), second))
    assert procfs.is_alive(orphan)
    parent.kill9_group()
    assert parent.wait() == -signal.SIGKILL
    assert not any(procfs.is_alive(pid) for pid in members)


def test_a_test_leaves_no_process_behind(tmp_path: Path) -> None:
    with Process([sys.executable, "-c", FAMILY], tmp_path / "log") as parent:
        parent.wait_for_line("children")
        wait_until(lambda: len(parent.members()) == 4, what="the whole family")
        members = parent.members()
    assert not any(procfs.is_alive(pid) for pid in members)
    parent.close()


def test_processes_die_with_a_test_run_that_is_killed(tmp_path: Path) -> None:
    script = (
        "import sys, time; from pathlib import Path; from tests.support.processes import Process\n"
        "process = Process([sys.executable, '-c', sys.argv[1]], Path(sys.argv[2]))\n"
        "process.wait_for_line('children'); print(process.pid, flush=True); time.sleep(600)"
    )
    command = [sys.executable, "-c", script, FAMILY, str(tmp_path / "log")]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as run:
        assert run.stdout is not None
        leader = int(run.stdout.readline())
        assert procfs.session_of(leader)
        run.kill()
    wait_until(lambda: not procfs.session_of(leader), what="the family to follow its test run")


def test_a_zombie_does_not_live(start: Start) -> None:
    process = start("pass")
    wait_until(lambda: not procfs.is_alive(process.pid), what="the process to end")
    assert procfs.stat_of(process.pid) is not None  # nobody has reaped it yet
    assert process.wait() == 0
    assert procfs.stat_of(process.pid) is None
