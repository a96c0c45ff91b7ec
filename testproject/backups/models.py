"""What is to be backed up, and what was: the truth from which the queue can be made again."""

from __future__ import annotations

from django.db import models


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
    created_at = models.DateTimeField(auto_now_add=True)
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("pk",)

    def __str__(self) -> str:
        return self.name


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
