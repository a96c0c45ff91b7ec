"""
Settings of the processes that are killed.

URL, prefix, timetables and database are set for each life.
"""

from __future__ import annotations

from typing import Any

from tests.support import sql_settings

DEBUG = False
SECRET_KEY = "the-site-of-the-crashes-serves-nobody"
USE_TZ = True
TIME_ZONE = "UTC"

INSTALLED_APPS = [
    "django.contrib.contenttypes",
    "django.contrib.auth",
    "waffle",
    "django_jobqueue",
    "tests.healing",
    "tests.crash",
]
DATABASES = {"default": sql_settings.sqlite(":memory:")}
# The tables as the models have them: to migrate takes each process of these tests a second.
MIGRATION_MODULES = dict.fromkeys(["contenttypes", "auth", "waffle", "django_jobqueue"])
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

JOBQUEUE: dict[str, Any] = {
    "LEASE": 15,
    "SOCKET_TIMEOUT": 10,
    "KILL_SWITCH": {"RELEASE_RATE": 100_000},
}
