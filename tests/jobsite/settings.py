"""
Settings of the worker processes that tests start. All that differs comes by environment.

``JOBQUEUE_TEST_URL``, ``JOBQUEUE_TEST_PREFIX``, ``JOBQUEUE_TEST_JSON`` (further keys of
JOBQUEUE), ``JOBQUEUE_TEST_APPS`` (further apps, with spaces between) and
``JOBQUEUE_TEST_DATABASE``: the path of a SQLite file, or a database on the server of
``tests.support.sql_settings``; in memory when it is missing.
"""

from __future__ import annotations

import json
import os
from typing import Any

from tests.support import sql_settings

DEBUG = False
SECRET_KEY = "the-site-of-the-tests-serves-nobody"
USE_TZ = True
TIME_ZONE = "UTC"

INSTALLED_APPS = [
    *os.environ.get("JOBQUEUE_TEST_APPS", "").split(),
    "django_jobqueue",
    "tests.jobsite",
]

_DATABASE = os.environ.get("JOBQUEUE_TEST_DATABASE") or ":memory:"
_IS_SQLITE = _DATABASE == ":memory:" or os.path.isabs(_DATABASE)

DATABASES: dict[str, dict[str, Any]] = {
    "default": (sql_settings.sqlite if _IS_SQLITE else sql_settings.server)(_DATABASE),
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# These jobs come from no database, and most tests have no use for flags.
SILENCED_SYSTEM_CHECKS = ["django_jobqueue.W030", "django_jobqueue.W050"]

JOBQUEUE: dict[str, Any] = {
    "REDIS_URL": os.environ.get("JOBQUEUE_TEST_URL") or None,
    "KEY_PREFIX": os.environ.get("JOBQUEUE_TEST_PREFIX", ""),
    **json.loads(os.environ.get("JOBQUEUE_TEST_JSON") or "{}"),
}
