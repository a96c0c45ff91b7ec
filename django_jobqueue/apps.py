"""How Django meets the app: job modules are found, checks are registered. No Redis, no SQL."""

from __future__ import annotations

from django.apps import AppConfig
from django.utils.module_loading import autodiscover_modules
from django.utils.translation import gettext_lazy as _


class JobQueueConfig(AppConfig):
    """The app ``django_jobqueue``."""

    name = "django_jobqueue"
    verbose_name = _("Job queue")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """
        Import ``jobs`` and ``tasks`` of every installed app, so that their classes are known.

        Then listen to the flags that are their kill switches.
        """
        from django_jobqueue import checks  # noqa: F401  registers the checks
        from django_jobqueue.bulk import jobs  # noqa: F401  a job of our own
        from django_jobqueue.job.registry import registry
        from django_jobqueue.switches import handlers

        autodiscover_modules("jobs", "tasks")
        handlers.connect(registry().classes)
