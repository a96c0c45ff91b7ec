"""What is to be backed up, and what was: the truth from which the queue can be made again."""

from __future__ import annotations

from datetime import timedelta
from typing import Self

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone


class DatabaseQuerySet(models.QuerySet["Database"]):
    """Databases by what is to be done about them."""

    def needing_work(self) -> Self:
        """Return those that wait for their backup, and those whose job must have died."""
        return self.filter(Q(state=Database.State.PENDING) | _is_stale())

    def free_for(self, jid: str) -> Self:
        """Return those that this job may work on: also one that it had before it was killed."""
        own = Q(state=Database.State.RUNNING, jid=jid)
        return self.filter(Q(state=Database.State.PENDING) | own | _is_stale())


class Database(models.Model):
    """A SQLite file somebody wants a backup of."""

    class State(models.TextChoices):
        """Only forward. A crash leaves ``running``, from where it may be run again."""

        PENDING = "pending", "pending"
        RUNNING = "running", "running"
        DONE = "done", "done"

    name = models.CharField(max_length=100, unique=True)
    path = models.CharField(max_length=1000)
    state = models.CharField(
        max_length=10, choices=State.choices, default=State.PENDING, db_index=True
    )
    jid = models.CharField(
        "job", max_length=64, blank=True, help_text="The job that has claimed it."
    )
    created_at = models.DateTimeField(auto_now_add=True)
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    objects = DatabaseQuerySet.as_manager()

    class Meta:
        ordering = ("pk",)

    def __str__(self) -> str:
        return self.name


def _is_stale() -> Q:
    """Match those that have been running for so long that nobody can be at it any more."""
    limit = timezone.now() - timedelta(seconds=settings.BACKUPS_STALE_AFTER)
    return Q(state=Database.State.RUNNING, started_at__lt=limit)


class Backup(models.Model):
    """The archive of one database: written once, by the attempt that came first."""

    database = models.OneToOneField(Database, on_delete=models.CASCADE, related_name="backup")
    path = models.CharField(max_length=1000)
    size = models.PositiveBigIntegerField(help_text="Bytes of the archive.")
    sha256 = models.CharField("SHA-256", max_length=64, help_text="Of the archive.")
    rows = models.PositiveBigIntegerField(help_text="Rows of all tables in the archive.")
    integrity = models.CharField(
        max_length=100, help_text="What PRAGMA integrity_check said of the copy."
    )
    jid = models.CharField("job", max_length=64, db_index=True)
    finished_at = models.DateTimeField()

    class Meta:
        ordering = ("pk",)

    def __str__(self) -> str:
        return f"backup of {self.database}"
