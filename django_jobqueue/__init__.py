"""Background jobs for Django on Redis: nothing accepted is lost, everything can be stopped."""

from django_jobqueue.client.results import BulkResult, EnqueueResult, Status
from django_jobqueue.exceptions import (
    ArgumentNotSerializable,
    Discard,
    EnqueueError,
    InvalidArguments,
    JobQueueError,
    PayloadTooLarge,
    Skip,
    Snooze,
    StoreUnavailable,
)
from django_jobqueue.job.base import Job
from django_jobqueue.job.bound import BoundJob
from django_jobqueue.payload import Payload

__all__ = [
    "ArgumentNotSerializable",
    "BoundJob",
    "BulkResult",
    "Discard",
    "EnqueueError",
    "EnqueueResult",
    "InvalidArguments",
    "Job",
    "JobQueueError",
    "Payload",
    "PayloadTooLarge",
    "Skip",
    "Snooze",
    "Status",
    "StoreUnavailable",
]

__version__ = "0.1.0"
