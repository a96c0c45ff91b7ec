"""The app's name and its label in the admin."""

from __future__ import annotations

from django.apps import AppConfig


class BackupsConfig(AppConfig):
    """Back up SQLite files: the work that the test project gives to its job queue."""

    name = "testproject.backups"
    default_auto_field = "django.db.models.BigAutoField"
