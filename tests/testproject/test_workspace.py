"""A workspace outlives its owner only when that was killed, and then not for long."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from testproject.backups.workspace import workspace

ROOT = Path(__file__).resolve().parents[2]

OWNER = """
import sys
from pathlib import Path
from testproject.backups.workspace import workspace
with workspace(Path(sys.argv[1]), "7") as folder:
    (folder / "half").write_text("half of an archive")
    print(folder, flush=True)
    sys.stdin.read()
"""


def test_it_is_gone_at_the_end_even_after_a_failure(tmp_path: Path) -> None:
    def fail() -> None:
        with workspace(tmp_path, "7") as folder:
            (folder / "half").write_text("half of an archive")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_two_of_one_name_do_not_meet(tmp_path: Path) -> None:
    with workspace(tmp_path, "7") as first, workspace(tmp_path, "7") as second:
        assert first != second
        assert first.is_dir()
        assert second.is_dir()


def test_that_of_a_living_process_is_kept_and_that_of_a_killed_one_swept(tmp_path: Path) -> None:
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER, str(tmp_path)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with owner:
        assert owner.stdout is not None
        theirs = Path(owner.stdout.readline().strip())
        with workspace(tmp_path, "7"):
            assert (theirs / "half").exists()
        os.kill(owner.pid, signal.SIGKILL)
    assert theirs.exists()
    with workspace(tmp_path, "8"):
        assert theirs.exists(), "a workspace of another name was swept"
    with workspace(tmp_path, "7"):
        assert not theirs.exists()


def test_a_folder_that_is_swept_before_it_is_locked_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flock = fcntl.flock
    swept: list[str] = []

    def sweep_first(descriptor: int, operation: int) -> None:
        if not swept:
            (path,) = tmp_path.iterdir()
            path.rmdir()
            swept.append(str(path))
        flock(descriptor, operation)

    monkeypatch.setattr("fcntl.flock", sweep_first)
    with workspace(tmp_path, "7") as folder:
        assert folder.is_dir()
        assert str(folder) not in swept
