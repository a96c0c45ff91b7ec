"""The backup job is delivered at least once: what a second delivery does, and two at once."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
from django.conf import settings
from django.utils import timezone

from django_jobqueue.exceptions import Skip
from django_jobqueue.job.attempt import Attempt
from django_jobqueue.job.declaration import wire_name
from django_jobqueue.payload import Payload
from django_jobqueue.testing import assert_heals, assert_idempotent
from testproject.backups import jobs
from testproject.backups.archive import Archive, CopyDamaged, make_archive
from testproject.backups.jobs import BackupJob, ScheduleBackups, claim
from testproject.backups.models import Backup, Database
from testproject.backups.verification import find_faults
from tests.testproject.conftest import MakeRow

ROOT = Path(__file__).resolve().parents[2]


def files(folder: Path) -> list[str]:
    """Return the names of all files below a folder."""
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def test_a_backup_is_recorded_and_can_be_restored(row: Database, archives: Path) -> None:
    BackupJob.perform_inline(row.pk)
    row.refresh_from_db()
    backup = Backup.objects.get(database=row)
    assert row.state == Database.State.DONE
    assert row.started_at is not None
    assert row.finished_at == backup.finished_at
    assert backup.integrity == "ok"
    assert backup.rows > 900
    assert len(backup.jid) == 24
    assert files(archives) == [Path(backup.path).name]
    assert find_faults(backup) == []


def test_a_done_database_is_left_alone(row: Database) -> None:
    BackupJob.perform_inline(row.pk)
    before = Backup.objects.get(database=row)
    written = Path(before.path).stat().st_mtime_ns
    BackupJob.perform_inline(row.pk)
    after = Backup.objects.get(database=row)
    assert (after.jid, after.finished_at) == (before.jid, before.finished_at)
    assert Path(after.path).stat().st_mtime_ns == written


def test_a_database_that_is_gone_is_no_failure(db: None, archives: Path) -> None:
    BackupJob.perform_inline(12345)
    assert not archives.exists()


def test_what_a_killed_attempt_left_running_is_run_again_by_the_same_job(row: Database) -> None:
    claim(row.pk, "a" * 24)
    attempt(row, "a" * 24)
    backup = Backup.objects.get(database=row)
    assert backup.jid == "a" * 24
    assert find_faults(backup) == []


def test_another_job_leaves_a_running_database_alone(row: Database, archives: Path) -> None:
    claim(row.pk, "a" * 24)
    before = Database.objects.get(pk=row.pk)
    with pytest.raises(Skip, match="another job has it"):
        attempt(row, "b" * 24)
    after = Database.objects.get(pk=row.pk)
    assert (after.jid, after.started_at) == (before.jid, before.started_at)
    assert not archives.exists()


def test_a_database_that_runs_for_too_long_is_taken_over(row: Database, archives: Path) -> None:
    claim(row.pk, "a" * 24)
    age(row)
    attempt(row, "b" * 24)
    assert Backup.objects.get(database=row).jid == "b" * 24
    assert len(files(archives)) == 1


def test_of_many_jobs_one_claims_a_database(row: Database) -> None:
    claim(row.pk, "a" * 24)
    age(row)
    claim(row.pk, "b" * 24)
    for jid in ("a" * 24, "c" * 24):
        with pytest.raises(Skip):
            claim(row.pk, jid)


def test_the_reconciler_finds_what_waits_and_what_runs_for_too_long(make_row: MakeRow) -> None:
    waiting, running, stale, done = (make_row(seed) for seed in (1, 2, 3, 4))
    for row in (running, stale, done):
        claim(row.pk, "a" * 24)
    attempt(done, "a" * 24)
    age(stale)
    assert set(ScheduleBackups().get_queryset()) == {waiting, stale}
    assert_heals(ScheduleBackups)
    assert set(Database.objects.exclude(state=Database.State.DONE)) == {running}


def test_a_backup_may_run_twice(row: Database) -> None:
    assert_idempotent(BackupJob, row.pk)


def test_two_attempts_of_a_job_at_once_record_one_backup(
    row: Database, archives: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_in_the_middle(monkeypatch, lambda: attempt(row, "a" * 24))
    attempt(row, "a" * 24)
    backup = Backup.objects.get(database=row)
    assert find_faults(backup) == []
    assert files(archives) == [Path(backup.path).name]


def test_the_first_of_two_attempts_wins_when_the_data_changed_between_them(
    row: Database, archives: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def change() -> None:
        delete_an_order(row)
        attempt(row, "a" * 24)

    run_in_the_middle(monkeypatch, change)
    attempt(row, "a" * 24)
    backup = Backup.objects.get(database=row)
    # The inner attempt saw the change and came first; the outer one took its own file away.
    assert find_faults(backup) == []
    assert files(archives) == [Path(backup.path).name]


def test_a_job_that_was_taken_for_dead_records_nothing_beside_the_one_that_took_over(
    row: Database, archives: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def take_over() -> None:
        age(row)
        claim(row.pk, "b" * 24)

    run_in_the_middle(monkeypatch, take_over)
    attempt(row, "a" * 24)
    row.refresh_from_db()
    assert (row.state, row.jid) == (Database.State.RUNNING, "b" * 24)
    assert not Backup.objects.exists()
    # The other may have made the same file, and be about to record it.
    assert len(files(archives)) == 1
    attempt(row, "b" * 24)
    assert find_faults(Backup.objects.get(database=row)) == []


def attempt(row: Database, jid: str) -> None:
    """Let a job of this jid work on the database."""
    fields = {"class": wire_name(BackupJob), "args": [row.pk], "jid": jid, "queue": "backups"}
    BackupJob.for_attempt(Attempt(Payload(fields), "backups", 0.0)).run()


def age(row: Database) -> None:
    """Let a running database have been running for longer than any does."""
    long_ago = timezone.now() - timedelta(seconds=settings.BACKUPS_STALE_AFTER + 1)
    assert Database.objects.filter(pk=row.pk, state="running").update(started_at=long_ago)


def delete_an_order(row: Database) -> None:
    """Change the data of a database."""
    with closing(sqlite3.connect(row.path)) as connection, connection:
        connection.execute("DELETE FROM orders WHERE id = 1")


def run_in_the_middle(monkeypatch: pytest.MonkeyPatch, happen: Callable[[], None]) -> None:
    """Let something happen between the archive of the first attempt and its record."""
    depth = 0

    def archive_with_company(source: Path, folder: Path, name: str) -> Archive:
        nonlocal depth
        depth += 1
        made = make_archive(source, folder, name)
        if depth == 1:
            happen()
        return made

    monkeypatch.setattr(jobs, "make_archive", archive_with_company)


def test_a_damaged_source_fails_and_leaves_no_archive(row: Database, archives: Path) -> None:
    source = Path(row.path)
    content = bytearray(source.read_bytes())
    page = 4096 * (len(content) // 8192)
    content[page : page + 4096] = b"\xa5" * 4096
    source.write_bytes(content)
    with pytest.raises((CopyDamaged, sqlite3.DatabaseError)):
        BackupJob.perform_inline(row.pk)
    row.refresh_from_db()
    assert row.state == Database.State.RUNNING
    assert files(archives) == []
    assert not Backup.objects.exists()


def test_a_missing_source_fails_and_is_not_made(row: Database) -> None:
    Path(row.path).unlink()
    with pytest.raises(sqlite3.OperationalError):
        BackupJob.perform_inline(row.pk)
    assert not Path(row.path).exists()


def test_backups_of_several_databases_do_not_meet(make_row: MakeRow, archives: Path) -> None:
    rows = [make_row(seed) for seed in (1, 2, 3)]
    for row in rows:
        BackupJob.perform_inline(row.pk)
    assert [fault for backup in Backup.objects.all() for fault in find_faults(backup)] == []
    assert len(files(archives)) == 3


#: What each process of the crowd does: all jobs, in an order of its own, in four threads.
CROWD = """
import random, sys
from concurrent.futures import ThreadPoolExecutor
import django
django.setup()
from django.db import connection
from testproject.backups.jobs import BackupJob
from testproject.backups.models import Database

def run(pk):
    try:
        BackupJob.perform_inline(pk)
    finally:
        connection.close()

keys = list(Database.objects.values_list("pk", flat=True)) * 2
random.Random(int(sys.argv[1])).shuffle(keys)
with ThreadPoolExecutor(4) as pool:
    list(pool.map(run, keys))
"""

#: What looks at the result, in a process that sees the crowd's database.
JUDGE = """
import django
django.setup()
from testproject.backups.models import Backup, Database
from testproject.backups.verification import find_faults
print(Database.objects.filter(state="done").count(), Backup.objects.count(),
      sum((find_faults(backup) for backup in Backup.objects.all()), []))
"""


def test_a_crowd_of_processes_backs_up_every_database_once(tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "testproject.settings",
        "JOBQUEUE_DEMO_DIR": str(tmp_path),
        "PYTHONPATH": str(ROOT),
    }

    def python(*arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, *arguments],
            env=environment,
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def output(process: subprocess.Popen[str]) -> str:
        text, _ = process.communicate(timeout=120)
        assert process.returncode == 0, text
        return text

    output(python("manage.py", "migrate", "--verbosity", "0"))
    output(
        python(
            "-c",
            "import django; django.setup()\n"
            "from django.conf import settings\n"
            "from testproject.backups.models import Database\n"
            "from testproject.backups.samples import make_databases\n"
            "for path in make_databases(settings.DATA_DIR / 'sources', 6, 1):\n"
            "    Database.objects.create(name=path.stem, path=str(path))\n",
        )
    )
    crowd = [python("-c", CROWD, str(number)) for number in range(3)]
    for process in crowd:
        output(process)
    assert output(python("-c", JUDGE)) == "6 6 []\n"
    assert len(files(tmp_path / "archives")) == 6
