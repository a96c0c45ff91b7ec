"""A strict type checker accepts what a project should write, and finds what it should not."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from django_jobqueue.job.options import CHECKS, OF_THE_CLASS, CallOptions

PROJECT = Path(__file__).resolve().parent.parent
SAMPLE = PROJECT / "tests" / "typing" / "sample.py"

#: What a project has; nothing of ours, and without Django's plugin.
CONFIG = """
[mypy]
strict = True
follow_imports = silent
"""

#: Slips, each with the kind of error that mypy is to find in its line.
MISTAKES = """
from datetime import timedelta
from sample import BackupJob, CLIENT, SERVER, ScheduleBackups
from django_jobqueue import Job, Payload, Status

BackupJob.set(queue=3)                                  # arg-type
BackupJob.set(que="urgent")                             # call-arg
BackupJob.perform_in("5 minutes", 7)                    # arg-type
BackupJob.perform_at(timedelta(minutes=5), 7)           # arg-type
BackupJob.perform_bulk([7])                             # list-item
jid: str = BackupJob.perform_async(7)                   # assignment
first: str = BackupJob.perform_bulk([(7,)])[0]          # assignment
pushed = BackupJob.perform_bulk([(7,)]).push            # attr-defined
accepted = BackupJob.enqueue(7).status == "pushed"      # comparison-overlap
BackupJob().jid = "b6e"                                 # misc
ScheduleBackups.job = ScheduleBackups().get_queryset    # assignment

class Unread:
    def __init__(self, push: object) -> None: ...
    def __call__(self, payload: bytes) -> None: ...

class Untaught:
    def __init__(self, perform: object) -> None: ...
    def __call__(self, payload: Payload) -> None: ...

CLIENT.append(Unread)                                   # arg-type
SERVER.append(Untaught)                                 # arg-type

class Loud(Job):
    queue = 3                                           # assignment
    retry_for = "1h"                                    # assignment
"""


def mypy(*files: Path) -> Iterator[tuple[str, int, str]]:
    """Check files as a project would; yield the errors as file, line and kind."""
    folder = files[0].parent
    (folder / "mypy.ini").write_text(CONFIG)
    checked = subprocess.run(
        [sys.executable, "-m", "mypy", "--config-file=mypy.ini", *(file.name for file in files)],
        cwd=folder,
        env={**os.environ, "MYPYPATH": str(PROJECT)},
        capture_output=True,
        text=True,
        timeout=280,
    )
    errors = re.findall(r"^(\S+\.py):(\d+): error: .*  \[([\w-]+)\]$", checked.stdout, re.MULTILINE)
    # 2 says that it could not check at all.
    assert checked.returncode == bool(errors), checked.stdout + checked.stderr
    return ((name, int(line), kind) for name, line, kind in errors)


def test_a_strict_project_may_write_the_sample_and_its_slips_are_found(tmp_path: Path) -> None:
    pytest.importorskip("mypy", reason="mypy comes with the extra 'dev'")
    pytest.importorskip("mypy_django_plugin", reason="django-stubs comes with the extra 'dev'")
    sample, mistakes = tmp_path / SAMPLE.name, tmp_path / "mistakes.py"
    sample.write_text(SAMPLE.read_text())
    mistakes.write_text(MISTAKES)
    expected = {
        (mistakes.name, number, line.rpartition("# ")[2])
        for number, line in enumerate(MISTAKES.splitlines(), 1)
        if "# " in line
    }
    assert set(mypy(sample, mistakes)) == expected


def test_the_type_of_set_names_all_options_of_a_call() -> None:
    of_a_call = CHECKS.keys() - OF_THE_CLASS
    assert CallOptions.__annotations__.keys() == of_a_call | {"bypass_kill_switch", "wait", "at"}
