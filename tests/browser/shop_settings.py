"""Settings of the imaginary shop whose dashboard is on the pictures of the manual."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from testproject import settings as testproject
from testproject.settings import *  # noqa: F403 - Django's settings are all the names of a module
from tests.support import sql_settings

# Its jobs have the names that those of a project have, so it is no package of the tests.
sys.path.insert(0, str(Path(__file__).parent / "shopsite"))

DEBUG = False
INSTALLED_APPS = [app for app in testproject.INSTALLED_APPS if app != "testproject.backups"]
INSTALLED_APPS.append("shop")

DATABASES = {"default": sql_settings.sqlite(os.environ["SHOP_DATABASE"])}

JOBQUEUE = {
    "REDIS_URL": os.environ["SHOP_REDIS_URL"],
    "RECONCILERS": {
        "shop.jobs.ScheduleInvoices": {"every": "1m"},
        "shop.jobs.ScheduleCharges": {"every": "5m"},
        "shop.jobs.ScheduleSync": {"every": "2m"},
    },
    "PERIODIC": {
        "digest": {"job": "shop.jobs.SendDigest", "cron": "0 7 * * 1-5", "tz": "Europe/Paris"},
        "search-index": {"job": "shop.jobs.RebuildIndex", "cron": "30 2 * * *"},
        "stock-report": {"job": "shop.jobs.ExportOrders", "every": "30m"},
    },
}
