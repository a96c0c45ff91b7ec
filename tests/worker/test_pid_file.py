"""The pid file names this process, and never takes the place of one that lives."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from django_jobqueue.exceptions import BootError
from django_jobqueue.worker.pid_file import PidFile


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the file is to be."""
    return tmp_path / "runjobs.pid"


@pytest.fixture
def dead() -> int:
    """The pid of a process that has ended."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
        return process.pid


def test_it_holds_the_pid_while_the_context_lasts_and_nothing_is_left(path: Path) -> None:
    with PidFile(path):
        assert path.read_text() == f"{os.getpid()}\n"
        assert list(path.parent.iterdir()) == [path]
    assert list(path.parent.iterdir()) == []


def test_a_file_of_a_process_that_lives_refuses_the_start_and_stays(path: Path) -> None:
    path.write_text(f"{os.getppid()}\n")
    with pytest.raises(BootError, match=rf"names process {os.getppid()}, which runs: stop that"):
        PidFile(path).__enter__()
    assert path.read_text() == f"{os.getppid()}\n"


def test_a_process_of_another_user_lives_too(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(pid: int, number: int) -> None:
        raise PermissionError(errno.EPERM, "not yours")

    path.write_text("1234")
    monkeypatch.setattr(os, "kill", forbidden)
    with pytest.raises(BootError, match="names process 1234, which runs"):
        PidFile(path).__enter__()


def test_a_stale_file_is_replaced(path: Path, dead: int) -> None:
    path.write_text(str(dead))
    with PidFile(path):
        assert path.read_text() == f"{os.getpid()}\n"


@pytest.mark.parametrize("content", ["", "\n", "0\n"])
def test_a_file_that_names_nobody_is_replaced(path: Path, content: str) -> None:
    path.write_text(content)
    with PidFile(path):
        assert path.read_text() == f"{os.getpid()}\n"


def test_ones_own_pid_is_left_from_an_earlier_container(path: Path) -> None:
    path.write_text(f"{os.getpid()}\n")
    with PidFile(path):
        assert path.read_text() == f"{os.getpid()}\n"
    assert not path.exists()


def test_a_link_that_somebody_has_laid_is_not_written_through(path: Path, tmp_path: Path) -> None:
    other = tmp_path / "of_another"
    other.write_text("precious")
    path.with_name(f".{path.name}.{os.getpid()}").symlink_to(other)
    with PidFile(path):
        assert path.read_text() == f"{os.getpid()}\n"
    assert other.read_text() == "precious"


@pytest.mark.parametrize("content", ["import os\n", "-1", "1 2", "123456789012345", "\xff"])
def test_what_is_no_pid_file_is_left_alone(path: Path, content: str) -> None:
    path.write_text(content)
    with pytest.raises(BootError, match="is no pid file: choose another name"):
        PidFile(path).__enter__()
    assert path.read_text() == content


def test_a_file_that_somebody_else_has_taken_meanwhile_is_not_removed(path: Path) -> None:
    with PidFile(path):
        path.write_text("4711\n")
    assert path.read_text() == "4711\n"


def test_one_that_was_removed_meanwhile_is_no_fault(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with PidFile(path):
        path.unlink()
    assert caplog.messages == []


def test_a_directory_that_is_not_there_or_a_disk_that_is_full_is_told(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(BootError, match="cannot be written: No such file or directory"):
        PidFile(path.parent / "missing" / "pid").__enter__()

    def full(source: Path, target: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(BootError, match="cannot be written: No space left on device"):
        PidFile(path).__enter__()
    assert list(path.parent.iterdir()) == []


def test_of_many_that_start_at_once_over_a_stale_file_one_gets_it(path: Path, dead: int) -> None:
    path.write_text(str(dead))
    script = (
        "import sys\n"
        "from django_jobqueue.exceptions import BootError\n"
        "from django_jobqueue.worker.pid_file import PidFile\n"
        "try:\n"
        "    with PidFile(sys.argv[1]):\n"
        "        print('mine', flush=True)\n"
        "        sys.stdin.read()\n"
        "except BootError as error:\n"
        "    print('refused', flush=True)\n"
    )
    rivals = [
        subprocess.Popen(
            [sys.executable, "-c", script, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        for _ in range(4)
    ]
    said = [rival.stdout.readline().strip() for rival in rivals if rival.stdout]
    for rival in rivals:
        rival.communicate()
    assert sorted(said) == [b"mine", b"refused", b"refused", b"refused"]
    assert not path.exists()
