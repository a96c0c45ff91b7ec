"""
Look inside and steer: for people, commands and pages. The worker never uses it.

The nouns are those of Sidekiq's Ruby API. Making an object costs nothing; each
call asks Redis, with a bound to what it reads, and raises StoreUnavailable,
StoreFull or StoreRefused where Redis does not do it.
"""

from django_jobqueue.api.entries import (
    DeadEntry,
    Entry,
    HeldEntry,
    QueueEntry,
    RetryEntry,
    ScheduledEntry,
    SortedEntry,
)
from django_jobqueue.api.jobs import Found, Progress
from django_jobqueue.api.metrics import JobMetrics, Mark, Metrics, Report, Slice
from django_jobqueue.api.processes import Process, ProcessSet, Work, WorkSet
from django_jobqueue.api.queues import Queue
from django_jobqueue.api.records import JobRecord
from django_jobqueue.api.sets import DeadSet, HeldSet, RetrySet, ScheduledSet, SortedSet
from django_jobqueue.api.stats import Day, Stats

__all__ = [
    "Day",
    "DeadEntry",
    "DeadSet",
    "Entry",
    "Found",
    "HeldEntry",
    "HeldSet",
    "JobMetrics",
    "JobRecord",
    "Mark",
    "Metrics",
    "Process",
    "ProcessSet",
    "Progress",
    "Queue",
    "QueueEntry",
    "Report",
    "RetryEntry",
    "RetrySet",
    "ScheduledEntry",
    "ScheduledSet",
    "Slice",
    "SortedEntry",
    "SortedSet",
    "Stats",
    "Work",
    "WorkSet",
]
