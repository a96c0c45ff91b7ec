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
from django_jobqueue.api.filters import Filter, error_group, top_frame
from django_jobqueue.api.jobs import Found
from django_jobqueue.api.locks import Holders, Lock, LockPage, LockSet
from django_jobqueue.api.metrics import JobMetrics, Mark, Metrics, Report, Slice
from django_jobqueue.api.processes import Process, ProcessSet, Work, WorkSet
from django_jobqueue.api.progress import Progress
from django_jobqueue.api.queues import Queue
from django_jobqueue.api.records import JobRecord
from django_jobqueue.api.server import Server, ServerReport
from django_jobqueue.api.sets import DeadSet, HeldSet, RetrySet, ScheduledSet, SortedSet
from django_jobqueue.api.stats import Day, Stats

__all__ = [
    "Day",
    "DeadEntry",
    "DeadSet",
    "Entry",
    "Filter",
    "Found",
    "HeldEntry",
    "HeldSet",
    "Holders",
    "JobMetrics",
    "JobRecord",
    "Lock",
    "LockPage",
    "LockSet",
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
    "Server",
    "ServerReport",
    "Slice",
    "SortedEntry",
    "SortedSet",
    "Stats",
    "Work",
    "WorkSet",
    "error_group",
    "top_frame",
]
