"""
Settings of the worker processes that tests start. All that differs comes by environment.

``JOBQUEUE_TEST_URL``, ``JOBQUEUE_TEST_PREFIX``, ``JOBQUEUE_TEST_JSON`` (further keys of
JOBQUEUE) and ``JOBQUEUE_TEST_DATABASE`` (a file; in memory when it is missing).
"""

from __future__ import annotations

import json
import os
from typing import Any

DEBUG = False
SECRET_KEY = "the-site-of-the-tests-serves-nobody"
USE_TZ = True
TIME_ZONE = "UTC"

INSTALLED_APPS = ["django_jobqueue", "tests.jobsite"]

DATABASES: dict[str, dict[str, Any]] = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.environ.get("JOBQUEUE_TEST_DATABASE") or ":memory:",
        "OPTIONS": {"timeout": 30, "transaction_mode": "IMMEDIATE"},
    },
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

JOBQUEUE: dict[str, Any] = {
    "REDIS_URL": os.environ.get("JOBQUEUE_TEST_URL") or None,
    "KEY_PREFIX": os.environ.get("JOBQUEUE_TEST_PREFIX", ""),
    **json.loads(os.environ.get("JOBQUEUE_TEST_JSON") or "{}"),
}
