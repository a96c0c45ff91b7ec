"""
Django signals of a job's life, for code that listens in.

Each is sent with ``send_robust``: a receiver that raises is logged by Django and
disturbs nobody. ``sender`` is the job class (None where it is not known here),
``payload`` a ``django_jobqueue.payload.Payload``. Receivers run in the thread
of the job, so they cost it time. ``redis_data_lost`` tells of no job.
"""

from __future__ import annotations

from typing import Any

from django.dispatch import Signal

#: A job was handed to Redis. ``at``: epoch seconds, or None for now.
job_enqueued = Signal()
#: A client middleware stopped a push; nothing stands in Redis.
job_refused = Signal()
#: An attempt begins.
job_started = Signal()
#: ``perform`` returned. ``elapsed`` in seconds.
job_succeeded = Signal()
#: An attempt failed and another one follows. ``error``, and ``delay`` in seconds.
job_retried = Signal()
#: A job failed for good. ``error``; sent before the job is moved.
job_died = Signal()
#: Redis was flushed, or came back empty. Sent once by every worker process, in a thread
#: of its own. ``at``: epoch seconds when it was noticed; ``heals``: True in the one process
#: that triggers the reconcilers, for who wants to hear it once. No ``payload``.
redis_data_lost = Signal()


def tell(signal: Signal, sender: Any, **facts: Any) -> None:
    """Send a signal if anybody listens: most of the time nobody does, and a job is short."""
    if signal.receivers:
        signal.send_robust(sender, **facts)
