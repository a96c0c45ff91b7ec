"""Find a job again that a page has shown: in its place by its key, or wherever it is by its id."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django_jobqueue import clock
from django_jobqueue.api import Entry, SortedSet, Work, WorkSet
from django_jobqueue.api.arguments import MOST
from django_jobqueue.api.entries import split_key
from django_jobqueue.api.jobs import Jobs
from django_jobqueue.bulk import place_of
from django_jobqueue.dashboard.rows import key_of
from django_jobqueue.exceptions import InvalidQuery, SearchUnfinished, StoreRefused
from django_jobqueue.reports.job import places

#: Seconds that a search takes.
BUDGET = 0.25

#: Entries of a page, and how many may have left or come in front of it since it was shown.
PAGE, DRIFT = 50, 50


def in_place(
    place: str, keys: Iterable[str], *, start: int = 0, newest_first: bool = False
) -> dict[str, Entry]:
    """
    Return the entries of a place with these keys, of those that are still there.

    ``start`` is the rank from which on the page showed them: there they are looked for
    first, all at once. Those that have to be searched for are, for ``BUDGET`` seconds in all.

    Raises: InvalidQuery for what is no key, and SearchUnfinished.
    """
    jobs = place_of(place)
    wanted = list(keys)
    first = max(0, start - DRIFT)
    window = jobs.page(first, start - first + PAGE + DRIFT, newest_first=newest_first)
    found = {key_of(entry): entry for entry in window}
    until = clock.monotonic() + BUDGET
    for key in wanted:
        if key not in found and (entry := _by_key(jobs, key, until)) is not None:
            found[key] = entry
    return {key: found[key] for key in wanted if key in found}


def _by_key(jobs: Jobs[Any], key: str, until: float) -> Entry | None:
    entry: Entry | None
    left = max(0.0, until - clock.monotonic())
    if not isinstance(jobs, SortedSet):
        return jobs.find(key, budget=left)
    entry = jobs.get(key)
    score, jid = split_key(key)
    if entry is None and jid and jobs.count(score, score) > MOST:
        # A bulk for one moment: more of one score than ``get`` reads.
        entry = jobs.find(jid, budget=left)
    return entry


@dataclass(frozen=True, slots=True)
class Sighting:
    """
    What a search for a job found.

    Either the ``entry`` in its ``place``, or the ``work`` on it, or neither. Then ``ahead`` and
    ``cursor`` say where to go on; an empty ``ahead``: everything was looked through.
    """

    place: str = ""
    entry: Entry | None = None
    work: Work | None = None
    ahead: str = ""
    cursor: int = 0


def anywhere(jid: str, *, ahead: str = "", cursor: int = 0) -> Sighting:
    """
    Look for a job among those that run, in the sets, and in the queues, for ``BUDGET`` seconds.

    ``ahead`` and ``cursor`` are those of the sighting that a search goes on from. A job that
    moves on meanwhile may be missed.

    Raises: InvalidQuery, StoreError.
    """
    until = clock.monotonic() + BUDGET
    if not ahead and (work := WorkSet().find(jid)) is not None:
        return Sighting(work=work)
    known = places()
    if ahead not in known:
        # It is gone since: better all anew than to leave some out.
        ahead, cursor = known[0], 0
    for place in known[known.index(ahead) :]:
        if place != ahead and clock.monotonic() >= until:
            return Sighting(ahead=place)
        try:
            left = max(0.0, until - clock.monotonic())
            entry = place_of(place).find(jid, budget=left, cursor=cursor)
        except SearchUnfinished as unfinished:
            return Sighting(ahead=place, cursor=unfinished.cursor)
        except (StoreRefused, InvalidQuery):
            entry = None  # somebody else's key under that name: no jobs of ours
        if entry is not None:
            return Sighting(place, entry)
        cursor = 0
    return Sighting()
