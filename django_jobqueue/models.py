"""
What must outlive Redis: which ticks were fired, what reconcilers found, who threw which switch.

Nothing here is written per job.
"""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from django_jobqueue.permissions import Permission


class Schedule(models.Model):
    """
    The last slot of one timetable that somebody claimed.

    Ticks are epoch seconds, UTC. A slot is claimed by an UPDATE that only one
    process can win; ``pushed_tick`` follows when its job has reached Redis.
    """

    name = models.CharField(_("name"), max_length=200, unique=True)
    last_tick = models.BigIntegerField(_("last tick"), default=0)
    pushed_tick = models.BigIntegerField(_("last tick pushed"), default=0)
    paused = models.BooleanField(_("paused"), default=False)

    class Meta:
        verbose_name = _("schedule")
        verbose_name_plural = _("schedules")

    def __str__(self) -> str:
        return self.name


class ReconcilerState(models.Model):
    """How one reconciler stands: its last run, and from where the next one goes on."""

    name = models.CharField(_("name"), max_length=200, unique=True)
    status = models.CharField(_("status"), max_length=30, blank=True)
    started_at = models.DateTimeField(_("started"), null=True, blank=True)
    finished_at = models.DateTimeField(_("finished"), null=True, blank=True)
    succeeded_at = models.DateTimeField(_("last success"), null=True, blank=True)
    #: The key after which the next run goes on, as JSON; empty for the beginning.
    cursor = models.TextField(_("cursor"), blank=True)
    #: Runs in a row that were skipped because the queue was behind.
    skips = models.PositiveIntegerField(_("skipped in a row"), default=0)
    found = models.PositiveBigIntegerField(_("found"), default=0)
    pushed = models.PositiveBigIntegerField(_("pushed"), default=0)
    #: Seconds.
    oldest_pending = models.FloatField(_("age of the oldest"), null=True, blank=True)
    error = models.TextField(_("error"), blank=True)

    class Meta:
        verbose_name = _("reconciler")
        verbose_name_plural = _("reconcilers")

    def __str__(self) -> str:
        return self.name


class ReconcilerRun(models.Model):
    """One run of a reconciler in which something happened. Kept for a while."""

    name = models.CharField(_("name"), max_length=200)
    jid = models.CharField(_("job"), max_length=64, blank=True)
    status = models.CharField(_("status"), max_length=30)
    started_at = models.DateTimeField(_("started"))
    finished_at = models.DateTimeField(_("finished"))
    exact = models.BooleanField(_("exact pass"), default=False)
    pages = models.PositiveIntegerField(_("pages"), default=0)
    found = models.PositiveBigIntegerField(_("found"), default=0)
    pushed = models.PositiveBigIntegerField(_("pushed"), default=0)
    duplicates = models.PositiveBigIntegerField(_("queued already"), default=0)
    cooling = models.PositiveBigIntegerField(_("cooling down"), default=0)
    errors = models.PositiveBigIntegerField(_("rows with errors"), default=0)
    error = models.TextField(_("error"), blank=True)

    class Meta:
        verbose_name = _("run of a reconciler")
        verbose_name_plural = _("runs of reconcilers")
        indexes = (models.Index(fields=("name", "started_at"), name="jq_run_name_started"),)

    def __str__(self) -> str:
        return f"{self.name} {self.started_at:%Y-%m-%d %H:%M:%S}"


class KillSwitchEvent(models.Model):
    """Somebody threw a kill switch: who, when, from what to what, and through which door."""

    class Source(models.TextChoices):
        """Where the change came from."""

        ADMIN = "admin", _("admin")
        COMMAND = "command", _("command")
        CODE = "code", _("code")
        DATABASE = "database", _("database")

    flag = models.CharField(_("flag"), max_length=100, db_index=True)
    old_state = models.CharField(_("from"), max_length=20)
    new_state = models.CharField(_("to"), max_length=20)
    actor = models.CharField(_("who"), max_length=150, blank=True)
    source = models.CharField(_("source"), max_length=10, choices=Source.choices)
    at = models.DateTimeField(_("when"), auto_now_add=True)

    class Meta:
        verbose_name = _("kill switch event")
        verbose_name_plural = _("kill switch events")
        ordering = ("-pk",)

    def __str__(self) -> str:
        return f"{self.flag}: {self.old_state} to {self.new_state}"


class Dashboard(Schedule):
    """
    The pages that show Redis: a row in the admin's index and the owner of the permissions.

    Nothing of what it shows stands in the database, so it has no table. It is a proxy and
    not an unmanaged model, for ``dumpdata`` reads the tables of those.
    """

    class Meta:
        proxy = True
        default_permissions = ()
        permissions = [(value, label) for value, label in Permission.choices]
        verbose_name = _("dashboard")
        verbose_name_plural = _("dashboard")
