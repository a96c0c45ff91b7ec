"""
Settings of the tests that run in pytest's own process: the test project's, made safe.

No address of a Redis stands here. A test that needs one asks for the fixture
``jobqueue_settings``; one that forgot fails, and never meets a server which
somebody else is using. The database is that of ``tests.support.sql_settings``.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from testproject import settings as testproject
from testproject.settings import *  # noqa: F403 - Django's settings are all the names of a module
from tests.support import sql_settings

DEBUG = False
INSTALLED_APPS = [*testproject.INSTALLED_APPS, "tests.jobsite", "tests.healing"]

# A name of this process's own: another run of the tests may be on the same machine.
_OURS = f"jobqueue_{os.getpid()}"

if sql_settings.engine_name() == "sqlite":
    # A file, so that threads and worker processes have connections of their own to it:
    # those of a database in memory share one cache, and its locks work in another way.
    _FILE = str(Path(tempfile.gettempdir(), f"test_{_OURS}.sqlite3"))
    DATABASES = {"default": {**sql_settings.sqlite(_FILE), "TEST": {"NAME": _FILE}}}
else:
    DATABASES = {"default": sql_settings.server(_OURS)}

# Some tests sign users in; the strong hasher would be most of their time.
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]

JOBQUEUE = {}
