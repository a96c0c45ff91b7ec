"""An order over many jobs, as a value: what shall be done where, with which jobs, by whose wish."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from django_jobqueue.api.entries import Entry, SortedEntry
from django_jobqueue.api.filters import Filter
from django_jobqueue.bulk.places import Verb, verbs_of
from django_jobqueue.exceptions import InvalidQuery
from django_jobqueue.payload import TIME_LIMIT, printable
from django_jobqueue.permissions import Permission

#: What says when something happened to a job last.
_TIMES = ("enqueued_at", "retried_at", "failed_at", "held_at", "created_at")

#: Sets whose score is when a job came there; in the others it is when it shall go.
_SCORED_BY_ARRIVAL = ("dead", "held")

#: Characters kept of who gave an order.
_ACTOR_LIMIT = 150


@dataclass(frozen=True, slots=True)
class Order:
    """
    Do ``verb`` with the jobs in ``place`` of which ``filter`` says so.

    ``place`` is a text, see ``place_of``; ``actor`` is who asks, ``asked_at`` when (epoch
    seconds). Only jobs are meant that were there by then: so an order that is carried
    out late, or once more after a crash, touches nothing that came later.

    Raises: InvalidQuery.
    """

    verb: Verb
    place: str
    filter: Filter
    actor: str
    asked_at: float

    def __post_init__(self) -> None:
        verbs = verbs_of(self.place)
        if self.verb not in verbs:
            raise InvalidQuery("verb", self.verb, f"in {self.place} there are {', '.join(verbs)}")
        if not isinstance(self.filter, Filter):
            raise InvalidQuery("filter", self.filter, "give a Filter, an empty one for all jobs")
        if not isinstance(self.actor, str):
            raise InvalidQuery("actor", self.actor, "give the name of who asks")
        is_time = type(self.asked_at) in (int, float) and 0 <= self.asked_at <= TIME_LIMIT
        if not is_time:
            raise InvalidQuery("asked_at", self.asked_at, "give epoch seconds")
        object.__setattr__(self, "verb", Verb(self.verb))
        object.__setattr__(self, "actor", self.actor[:_ACTOR_LIMIT])

    @classmethod
    def of(cls, given: object) -> Order:
        """Return the order that ``as_dict`` told. Raises: InvalidQuery."""
        names = ("verb", "place", "filter", "actor", "asked_at")
        if not isinstance(given, Mapping) or any(name not in given for name in names):
            raise InvalidQuery("order", given, f"give a dict with {', '.join(names)}")
        told = given["filter"]
        if not isinstance(told, Mapping):
            raise InvalidQuery("filter", told, "give a dict")
        return cls(
            given["verb"], given["place"], Filter.of(told), given["actor"], given["asked_at"]
        )

    def as_dict(self) -> dict[str, Any]:
        """Return it for JSON."""
        return {
            "verb": str(self.verb),
            "place": self.place,
            "filter": self.filter.as_dict(),
            "actor": self.actor,
            "asked_at": self.asked_at,
        }

    def __str__(self) -> str:
        """Return what shall be done, in one line, for logs: a text sought may be an argument."""
        wanted = str(replace(self.filter, text=""))
        if self.filter.text:
            wanted += ", with a certain text"
        return printable(f"{self.verb} in {self.place}: {wanted}")

    @property
    def permission(self) -> Permission:
        """What a user must be allowed who gives this order."""
        if self.verb is Verb.KILL:
            return Permission.KILL_JOB
        if self.verb is not Verb.DELETE:
            return Permission.RETRY_JOB
        # A time alone, as since the epoch, is no choice among the jobs.
        choice = replace(self.filter, since=None, until=None)
        return Permission.CLEAR_QUEUE if choice.is_empty else Permission.DELETE_JOB

    def means(self, entry: Entry) -> bool:
        """Return whether a job is meant. Never raises, whatever was written."""
        return not self._came_later(entry) and self.filter.matches(entry)

    def _came_later(self, entry: Entry) -> bool:
        # Of a job that says no time at all nobody knows better than that it is there.
        times = [] if entry.payload is None else [entry.payload.time(name) for name in _TIMES]
        if isinstance(entry, SortedEntry) and self.place.startswith(_SCORED_BY_ARRIVAL):
            times.append(entry.score)
        return any(at is not None and at > self.asked_at for at in times)
