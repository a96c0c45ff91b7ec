"""What a project's own tests use in place of Redis."""

from django_jobqueue.client.outlet import use_outlet
from django_jobqueue.testing.contexts import committing, fake_jobs, inline_jobs
from django_jobqueue.testing.fake import FakeOutlet
from django_jobqueue.testing.healing import assert_heals, assert_idempotent
from django_jobqueue.testing.in_process import use_fakeredis, work_off
from django_jobqueue.testing.outbox import outbox
from django_jobqueue.testing.switches import disable_job
from django_jobqueue.worker.inline import InlineOutlet

__all__ = [
    "FakeOutlet",
    "InlineOutlet",
    "assert_heals",
    "assert_idempotent",
    "committing",
    "disable_job",
    "fake_jobs",
    "inline_jobs",
    "outbox",
    "use_fakeredis",
    "use_outlet",
    "work_off",
]
