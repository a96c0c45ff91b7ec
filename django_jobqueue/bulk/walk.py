"""Walk through a place, a page at a time, and be able to go on later from where one was."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from django_jobqueue.api.arguments import PAGE
from django_jobqueue.bulk.places import Spot
from django_jobqueue.store.entries import Scored
from django_jobqueue.store.store import Store

#: How far around the place where it was a job is looked for, in a queue.
AROUND = 500

#: Jobs right ahead that stayed, by any of which it is known where one is in a queue.
SEEN = 2 * PAGE


@dataclass(frozen=True, slots=True)
class Mark:
    """
    Up to where all was looked at: the last job that was.

    ``at`` is its score, in a queue how many stood before it and with it.
    """

    raw: bytes
    at: float


#: Where a page begins (None: at the beginning), and its jobs; in a queue the score of each is
#: how many stand before it.
Step = tuple[Mark | None, list[Scored]]


def walk(store: Store, spot: Spot, mark: Mark | None = None) -> Iterator[Step]:
    """
    Yield what is in a place now, 100 jobs at a time, from a mark on that ``find`` has found.

    The next to run, or the earliest, come first. Who takes a page away passes over none of
    the others; what comes meanwhile does not make it endless.
    """
    return _in_queue(store, spot, mark) if spot.kind == "queue" else _in_set(store, spot, mark)


def find(store: Store, spot: Spot, mark: Mark | None) -> Mark | None:
    """Return a mark of another day as it is now; None where nobody can tell any more."""
    if mark is None or spot.kind != "queue":
        return mark  # what follows a score can be told even where nothing is there
    first = max(0, int(mark.at) - 1 - AROUND)
    window = store.queues.page(spot.name, first, 2 * AROUND)
    found = [at for at, raw in enumerate(window, first + 1) if raw == mark.raw]
    if not found:
        return None
    # Of equal ones the first: to look at a job once more does no harm.
    return Mark(mark.raw, found[0])


def _in_set(store: Store, spot: Spot, mark: Mark | None) -> Iterator[Step]:
    entries, place = store.entries, spot.place(store)
    # Jobs that fail once more come back behind the last, and would for ever.
    last = entries.last_score(place)
    if last is None:
        return
    if mark is None:
        page = entries.page(place, 0, PAGE)
    else:
        page = entries.after(place, (mark.raw, mark.at), PAGE)
    while page:
        within = [each for each in page if each[1] <= last]
        if within:
            yield mark, within
        if len(within) < len(page):
            return
        mark = Mark(*page[-1])
        page = entries.after(place, page[-1], PAGE)


def _in_queue(store: Store, spot: Spot, mark: Mark | None) -> Iterator[Step]:
    queues, name = store.queues, spot.name
    ahead = 0 if mark is None else int(mark.at)
    before, page = queues.look(name, ahead, PAGE)
    left, seen = before - ahead, [] if mark is None else [mark.raw]
    while page and left > 0:
        page = page[:left]
        yield mark, [(raw, float(at)) for at, raw in enumerate(page, ahead)]
        left -= len(page)
        # ``ahead`` jobs and then this page: where we are, unless some have left.
        length, window = queues.look(name, ahead, len(page) + PAGE)
        start, behind = ahead, _behind(window, page, 0)
        if not behind and ahead:
            # All of it has left, and of those ahead of it nobody knows how many.
            start = max(0, ahead - AROUND)
            length, window = queues.look(name, start, AROUND + PAGE)
            behind = _behind(window, seen + page, ahead - len(seen) - start)
            if not behind and start:
                # As many as the length tells, if not more.
                start = max(0, ahead - max(0, before - length - len(page)))
                length, window = queues.look(name, start, PAGE)
        if behind:
            mark = Mark(window[behind - 1], start + behind)
            stayed = window[:behind]
            seen = stayed[-SEEN:] if start < ahead else (seen + stayed)[-SEEN:]
        ahead, before, page = start + behind, length, window[behind : behind + PAGE]


def _behind(window: list[bytes], seen: list[bytes], first: int) -> int:
    """
    Return the place in a window behind the last of those jobs that is still there, else 0.

    ``first`` is where the first of them stood in it.
    """
    places: dict[bytes, list[int]] = {}
    for at, raw in enumerate(window):
        places.setdefault(raw, []).append(at)
    for at in range(len(seen) - 1, -1, -1):
        if seen[at] in places:
            # Of equal ones the nearest.
            return min(places[seen[at]], key=lambda place: abs(place - first - at)) + 1
    return 0
