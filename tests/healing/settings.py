"""Settings of worker processes that know this app too; see ``tests.jobsite.settings``."""

from __future__ import annotations

from tests.jobsite import settings as jobsite
from tests.jobsite.settings import *  # noqa: F403 - Django's settings are all the names of a module

INSTALLED_APPS = [*jobsite.INSTALLED_APPS, "tests.healing"]
