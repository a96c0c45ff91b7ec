"""
Settings of the tests that run in pytest's own process: the test project's, made safe.

No address of a server stands here. A test that needs one asks for the fixture
``jobqueue_settings``; one that forgot fails, and never meets a server which
somebody else is using.
"""

from __future__ import annotations

from testproject import settings as testproject
from testproject.settings import *  # noqa: F403 - Django's settings are all the names of a module

DEBUG = False
INSTALLED_APPS = [*testproject.INSTALLED_APPS, "tests.jobsite"]

# Some tests sign users in; the strong hasher would be most of their time.
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]

JOBQUEUE = {}
