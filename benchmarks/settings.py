"""Settings of the benchmark and of every process it starts. What differs comes by environment."""

from __future__ import annotations

import os
from typing import Any

DEBUG = False
SECRET_KEY = "the-benchmark-serves-nobody"  # noqa: S105, it protects nothing
USE_TZ = True

INSTALLED_APPS = ["django_jobqueue", "benchmarks"]

DATABASES: dict[str, dict[str, Any]] = {
    "default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"},
}

# As a project in production: nothing is logged for each job.
LOGGING: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"console": {"class": "logging.StreamHandler"}},
    "loggers": {"django_jobqueue": {"handlers": ["console"], "level": "WARNING"}},
}

JOBQUEUE: dict[str, Any] = {"REDIS_URL": os.environ["BENCHMARK_REDIS_URL"]}
