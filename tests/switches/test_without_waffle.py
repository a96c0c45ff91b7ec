"""Without waffle nothing has a kill switch, and everything else works."""

from __future__ import annotations

import subprocess
import sys

from tests.support.processes import ROOT

#: A project in a process that cannot import waffle.
SCRIPT = """
import sys
sys.modules["waffle"] = None
import django
from django.conf import settings
settings.configure(
    INSTALLED_APPS=["django_jobqueue"], USE_TZ=True, JOBQUEUE={"OUTLET": "fake"},
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
)
django.setup()
from django.core.management import call_command
from django.core.checks import run_checks
call_command("migrate", verbosity=0)
from django_jobqueue import Job
from django_jobqueue.client.outlet import outlet
from django_jobqueue.switches.publisher import sync
from django_jobqueue.testing import disable_job

class PlainJob(Job):
    self_healing = False
    def perform(self, number):
        print("ran", number)

sync()
assert PlainJob.perform_async(1)
with disable_job(PlainJob):
    assert PlainJob.perform_async(2) is None
outlet().drain()
print(*[message.id for message in run_checks()])
"""


def test_a_project_without_waffle_runs_its_jobs_and_is_told_what_it_lacks() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["ran 1", "django_jobqueue.W030"]
