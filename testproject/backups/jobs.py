"""The one job of this app and its reconciler: a database goes in, a checked archive comes out."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from django_jobqueue import Job
from django_jobqueue.exceptions import Skip
from django_jobqueue.idempotence import transition
from django_jobqueue.reconciliation import Reconciler
from testproject.backups.archive import Archive, make_archive
from testproject.backups.journal import attempt, holding
from testproject.backups.models import Backup, Database, DatabaseQuerySet

PENDING, RUNNING, DONE = Database.State.PENDING, Database.State.RUNNING, Database.State.DONE


class BackupJob(Job):
    """
    Back up one database.

    A job is delivered at least once, so this one may come a second time, and after
    a flush of Redis another one may come for the same database while it runs. The
    row tells them apart: who has claimed it works, the others are skipped.
    """

    queue = "backups"
    retry = 5
    # As long as a lock may outlive its job, where Redis was flushed under it.
    unique_for = timedelta(minutes=1)

    def perform(self, database_id: int) -> None:
        """Archive the database with this primary key, unless that is done or the row is gone."""
        with attempt(self.jid, database_id):
            database = claim(database_id, self.jid)
            with holding(self.jid, database_id):
                folder = Path(settings.BACKUPS_ARCHIVE_DIR)
                archive = make_archive(Path(database.path), folder, f"{database.pk:06}")
                record(database, archive)


class ScheduleBackups(Reconciler):
    """Enqueue the databases that wait, and those whose job must have died."""

    job = BackupJob
    age_field = "created_at"
    heal_within = timedelta(minutes=5)

    def get_queryset(self) -> DatabaseQuerySet:
        """Return the databases that nobody works on."""
        return Database.objects.needing_work()


def claim(database_id: int, jid: str) -> Database:
    """
    Mark a database as running for this job, and return it.

    One that runs already is claimed by the same job, whose attempt before must
    have died, and by any job when it has been running for ``BACKUPS_STALE_AFTER``
    seconds.

    Raises: Skip when it is done or gone, or another job has it.
    """
    free = Database.objects.free_for(jid)
    now = timezone.now()
    if not transition(free, database_id, (PENDING, RUNNING), RUNNING, jid=jid, started_at=now):
        raise Skip(f"database {database_id} is done or gone, or another job has it")
    return Database.objects.get(pk=database_id)


def record(database: Database, archive: Archive) -> bool:
    """
    Record an archive and mark its database as done.

    Returns False where another attempt was first, or another job has claimed the
    database since.
    """
    now = timezone.now()
    ours = Database.objects.filter(jid=database.jid)
    with transaction.atomic():
        first = transition(ours, database.pk, RUNNING, DONE, finished_at=now)
        if first:
            Backup.objects.update_or_create(
                database=database,
                defaults={
                    "path": str(archive.path),
                    "size": archive.size,
                    "sha256": archive.sha256,
                    "rows": archive.rows,
                    "integrity": archive.integrity,
                    "jid": database.jid,
                    "finished_at": now,
                },
            )
    if not first:
        _discard(database, archive)
    return first


def _discard(database: Database, archive: Archive) -> None:
    """Remove an archive that came too late, unless it is the one that was recorded, or may be."""
    others = Backup.objects.filter(database=database).exclude(path=str(archive.path))
    if others.exists():
        # The data changed between the two attempts: ours is an archive nobody knows of.
        archive.path.unlink(missing_ok=True)
