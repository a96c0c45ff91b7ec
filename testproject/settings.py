"""
Settings of the project that django-jobqueue is developed, tested and shown with.

The environment moves it elsewhere: ``JOBQUEUE_DEMO_DIR`` (the folder of everything
it writes), ``JOBQUEUE_REDIS_URL`` (none: the embedded server), ``JOBQUEUE_KEY_PREFIX``,
``JOBQUEUE_LEASE`` (seconds), ``BACKUPS_STALE_AFTER`` (seconds) and ``DJANGO_DEBUG``
(``0`` turns it off).
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

BASE_DIR = Path(__file__).resolve().parent.parent

#: Where the database, the archives and the embedded server's data go.
DATA_DIR = Path(os.environ.get("JOBQUEUE_DEMO_DIR") or BASE_DIR).resolve()

DEBUG = os.environ.get("DJANGO_DEBUG", "1") != "0"
ALLOWED_HOSTS = ["localhost", "127.0.0.1", "[::1]"]
SECRET_KEY = "this-project-serves-nobody-and-so-it-has-nothing-to-keep-secret"  # noqa: S105

ROOT_URLCONF = "testproject.urls"
WSGI_APPLICATION = "testproject.wsgi.application"

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "waffle",
    "django_jobqueue",
    "testproject.backups",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

# Many threads of many processes write here. A writer takes the lock when its
# transaction begins and waits for it there: a transaction that reads first and
# wants to write later fails at once, whatever its timeout.
DATABASES: dict[str, dict[str, Any]] = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": DATA_DIR / "db.sqlite3",
        "OPTIONS": {
            "timeout": 30,
            "transaction_mode": "IMMEDIATE",
            "init_command": "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;",
        },
    },
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

USE_TZ = True
TIME_ZONE = "UTC"
STATIC_URL = "static/"

JOBQUEUE: dict[str, Any] = {
    "REDIS_URL": os.environ.get("JOBQUEUE_REDIS_URL") or None,
    "EMBEDDED_DIR": DATA_DIR / ".jobqueue",
    "KEY_PREFIX": os.environ.get("JOBQUEUE_KEY_PREFIX", ""),
    "LEASE": float(os.environ.get("JOBQUEUE_LEASE", "60")),
    "RECONCILERS": {"testproject.backups.jobs.ScheduleBackups": {"every": "10s"}},
}

#: The folder that holds the archives of ``testproject.backups``.
BACKUPS_ARCHIVE_DIR = DATA_DIR / "archives"

#: Seconds after which a backup that is still running is nobody's any more: far more than
#: any takes, for the job that comes next would work beside one that lives.
BACKUPS_STALE_AFTER = float(os.environ.get("BACKUPS_STALE_AFTER", "600"))
