"""What an operator may be allowed to do, verb by verb: words that models and pages share."""

from __future__ import annotations

from django.db.models import TextChoices
from django.utils.translation import gettext_lazy as _


class Permission(TextChoices):
    """
    A permission of ours by its codename; in the admin each is given to users and groups.

    None of them contains another, except that nothing can be done without
    ``view_dashboard``: it lets a user in at all.
    """

    VIEW_DASHBOARD = "view_dashboard", _("Can see the job queue")
    VIEW_ARGUMENTS = "view_arguments", _("Can see the arguments of jobs")
    RETRY_JOB = "retry_job", _("Can retry, enqueue and release jobs")
    KILL_JOB = "kill_job", _("Can move jobs to the dead set")
    DELETE_JOB = "delete_job", _("Can delete jobs and release locks")
    CLEAR_QUEUE = "clear_queue", _("Can delete all jobs of a queue or a set")
    PAUSE_QUEUE = "pause_queue", _("Can pause and resume queues")
    STOP_PROCESS = "stop_process", _("Can quiet and stop worker processes")
    TOGGLE_SWITCH = "toggle_switch", _("Can throw kill switches")
    RUN_RECONCILER = "run_reconciler", _("Can run and pause reconcilers and schedules")

    @property
    def full_name(self) -> str:
        """How ``User.has_perm`` knows it."""
        return f"django_jobqueue.{self.value}"
