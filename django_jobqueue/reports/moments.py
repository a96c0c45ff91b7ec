"""The time of a report, by the clock that tests freeze."""

from __future__ import annotations

from datetime import UTC, datetime

from django.utils import timezone

from django_jobqueue import clock


def now() -> datetime:
    """Return this moment in UTC."""
    return moment(clock.now())


def moment(at: float) -> datetime:
    """Return epoch seconds as a time in UTC."""
    return datetime.fromtimestamp(at, UTC)


def aware(at: datetime) -> datetime:
    """Return a time of the database in UTC, also where the project has no time zones."""
    return (timezone.make_aware(at) if timezone.is_naive(at) else at).astimezone(UTC)
