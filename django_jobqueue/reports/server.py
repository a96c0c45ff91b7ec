"""The Redis behind it: what it is, what it has room for, and whether it keeps what it is given."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django_jobqueue.api import Server, ServerReport
from django_jobqueue.reports.moments import now
from django_jobqueue.reports.plain import Plain, plain


@dataclass(frozen=True, slots=True)
class ServerFacts(Plain):
    """
    What the server tells of itself, ``told``, and how long it took to ask it, ``rtt`` (s).

    In ``as_dict()`` the fields of ``told`` stand beside the others, and what follows from
    them: ``is_too_old``, ``evicts`` and ``fullness``.
    """

    at: datetime
    rtt: float
    told: ServerReport

    def as_dict(self) -> dict[str, Any]:
        """Return all of it as JSON holds it."""
        told = self.told
        return {
            "at": plain(self.at),
            "rtt": self.rtt,
            **plain(told),
            "is_too_old": told.is_too_old,
            "evicts": told.evicts,
            "fullness": told.fullness,
        }


def server() -> ServerFacts:
    """Return what the server tells, in a few round trips. Raises: StoreError."""
    asked = Server()
    told = asked.facts()
    return ServerFacts(now(), asked.ping(), told)
