"""Names and times as findings tell them: a few of many, and nothing that a terminal obeys."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from django.utils import timezone
from django.utils.translation import gettext as _

from django_jobqueue.payload import printable

#: Names that a finding tells; of the others it tells how many they are.
TOLD = 3

#: Lengths of time in seconds, from the longest on, with how each is written.
_UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"))


def names(given: Collection[str]) -> str:
    """Return some of these names for people: ``low, high, mail and 7 more``."""
    told = [printable(name)[:100] or repr(name) for name in sorted(given)[:TOLD]]
    more = len(given) - len(told)
    if not more:
        return ", ".join(told)
    return _("%(names)s and %(count)d more") % {"names": ", ".join(told), "count": more}


def length(seconds: float) -> str:
    """Return a length of time for people: ``7 s``, ``3 min``, ``4 d``."""
    for size, unit in _UNITS:
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def megabytes(size: float) -> str:
    """Return a number of bytes for people, by the million."""
    return f"{size / 1e6:,.0f} MB"


def epoch(at: datetime) -> float:
    """Return epoch seconds of a time from the database; without USE_TZ those are local."""
    return (timezone.make_aware(at) if timezone.is_naive(at) else at).timestamp()
