"""Settings of the benchmark and of every process it starts. What differs comes by environment."""

from __future__ import annotations

import json
import os
from typing import Any

from testproject import settings as testproject

DEBUG = False
SECRET_KEY = "the-benchmark-serves-nobody"  # noqa: S105, it protects nothing
USE_TZ = True

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "waffle",
    "django_jobqueue",
    "benchmarks",
    *os.environ.get("BENCHMARK_APPS", "").split(),
]

# The pages of the dashboard are measured in the admin of a plain project.
ROOT_URLCONF = "testproject.urls"
MIDDLEWARE = testproject.MIDDLEWARE
TEMPLATES = testproject.TEMPLATES
STATIC_URL = "static/"
ALLOWED_HOSTS = ["testserver"]

# Workers read the flags of the kill switches there.
DATABASES: dict[str, dict[str, Any]] = {"default": json.loads(os.environ["BENCHMARK_DATABASE"])}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# Nobody heals these jobs, and the one reconciler runs only when it is called.
SILENCED_SYSTEM_CHECKS = ["django_jobqueue.W050", "django_jobqueue.W055"]

# As a project in production: nothing is logged for each job.
LOGGING: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"console": {"class": "logging.StreamHandler"}},
    "loggers": {
        "django_jobqueue": {"handlers": ["console"], "level": "WARNING"},
        # What it warns of at each start, that nothing is kept on disk, is meant here.
        "django_jobqueue.worker": {"level": "ERROR"},
    },
}

JOBQUEUE: dict[str, Any] = {"REDIS_URL": os.environ["BENCHMARK_REDIS_URL"]}
