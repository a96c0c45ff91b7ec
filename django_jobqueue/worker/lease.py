"""Whether this process may still trust what it holds: the gate before every start of a job."""

from __future__ import annotations

import threading

from django_jobqueue import clock

#: The part of a lease after which no job is started without a new beat.
SAFE_PART = 0.8


class Lease:
    """
    A process's lease as the process itself knows it, on its monotonic clock.

    Beats and steps renew it. When none came in time (an outage, a stopped
    process), others may have taken our jobs: the gate closes until the claims
    were compared with memory (``audited``). Times in seconds.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._lock = threading.Lock()
        self._safe_until = clock.monotonic() + SAFE_PART * seconds
        self._audit_due = False
        self._unbroken_since = clock.monotonic()

    @property
    def is_safe(self) -> bool:
        """Whether a job may be started now."""
        return clock.monotonic() < self._safe_until

    @property
    def audit_due(self) -> bool:
        """Whether the claims must be compared with memory before anything is started."""
        return self._audit_due

    @property
    def unbroken_for(self) -> float:
        """Seconds since when every beat was in time: how well we know who else is alive."""
        return clock.monotonic() - self._unbroken_since if self.is_safe else 0.0

    def renewed(self, sent_at: float, *, lapsed: bool) -> None:
        """Note a renewal that was sent at a monotonic time, and whether it came too late."""
        with self._lock:
            if lapsed or sent_at >= self._safe_until:
                self._audit_due = True
                self._safe_until = min(self._safe_until, sent_at)
                self._unbroken_since = sent_at
            elif not self._audit_due:
                self._safe_until = sent_at + SAFE_PART * self.seconds

    def broken(self) -> None:
        """Note that a renewal failed."""
        with self._lock:
            self._unbroken_since = clock.monotonic()

    def audited(self, renewed_at: float) -> None:
        """Open the gate: the claims were compared after a renewal sent at that monotonic time."""
        with self._lock:
            self._audit_due = False
            self._safe_until = renewed_at + SAFE_PART * self.seconds
