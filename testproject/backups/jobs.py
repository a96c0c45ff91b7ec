"""The one job of this app: a database goes in, a checked archive comes out, run often or once."""

from __future__ import annotations

from pathlib import Path

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from django_jobqueue import Job
from testproject.backups.archive import Archive, make_archive
from testproject.backups.journal import attempt
from testproject.backups.models import Backup, Database


class BackupJob(Job):
    """
    Back up one database.

    A job is delivered at least once, so this one may come a second time, even
    while the first still runs. Both may do the work; the guarded UPDATE lets one
    of them record it.
    """

    queue = "backups"
    retry = 5

    def perform(self, database_id: int) -> None:
        """Archive the database with this primary key, unless that is done or the row is gone."""
        with attempt(self.jid, database_id):
            database = claim(database_id)
            if database is None:
                return
            folder = Path(settings.BACKUPS_ARCHIVE_DIR)
            archive = make_archive(Path(database.path), folder, f"{database.pk:06}")
            record(database, archive, self.jid)


def claim(database_id: int) -> Database | None:
    """
    Mark a database as running and return it; None when it is done or gone.

    One that runs already is claimed again: the attempt before may be dead, and
    nobody can know.
    """
    open_states = (Database.State.PENDING, Database.State.RUNNING)
    claimed = Database.objects.filter(pk=database_id, state__in=open_states).update(
        state=Database.State.RUNNING, started_at=timezone.now()
    )
    return Database.objects.filter(pk=database_id).first() if claimed else None


def record(database: Database, archive: Archive, jid: str) -> bool:
    """Record an archive and mark its database as done; False where another attempt was first."""
    now = timezone.now()
    with transaction.atomic():
        running = Database.objects.filter(pk=database.pk, state=Database.State.RUNNING)
        first = running.update(state=Database.State.DONE, finished_at=now) == 1
        if first:
            Backup.objects.update_or_create(
                database=database,
                defaults={
                    "path": str(archive.path),
                    "size": archive.size,
                    "sha256": archive.sha256,
                    "rows": archive.rows,
                    "integrity": archive.integrity,
                    "jid": jid,
                    "finished_at": now,
                },
            )
    if not first and not Backup.objects.filter(path=str(archive.path)).exists():
        # The data changed between the two attempts: ours is an archive nobody knows of.
        archive.path.unlink(missing_ok=True)
    return first
