"""What a project's own tests use in place of Redis."""

from django_jobqueue.client.outlet import use_outlet
from django_jobqueue.testing.fake import FakeOutlet
from django_jobqueue.testing.healing import assert_heals, assert_idempotent
from django_jobqueue.testing.switches import disable_job
from django_jobqueue.worker.inline import InlineOutlet

__all__ = [
    "FakeOutlet",
    "InlineOutlet",
    "assert_heals",
    "assert_idempotent",
    "disable_job",
    "use_outlet",
]
