"""The queues, as people see them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from django_jobqueue import clock, connection
from django_jobqueue.api.arguments import BUDGET, PAGE, STEP, page_count, position, seconds, text
from django_jobqueue.api.entries import QueueEntry
from django_jobqueue.api.jobs import KillableJobs
from django_jobqueue.exceptions import SearchUnfinished
from django_jobqueue.store.removal import Place
from django_jobqueue.store.store import Store


class Queue(KillableJobs[QueueEntry]):
    """
    One queue by its name; it need not exist. Iteration begins with the next job to run.

    Raises: InvalidQuery for a name that is empty or no text.
    """

    def __init__(self, name: str = "default", *, store: Store | None = None) -> None:
        super().__init__(store=store)
        self.name = text(name, "name")

    @classmethod
    def all(cls, *, store: Store | None = None) -> list[Queue]:
        """Return every queue that was ever pushed to, by name, the empty ones too."""
        names = (connection.store() if store is None else store).queues.names()
        return [cls(name, store=store) for name in names if name]

    def __repr__(self) -> str:
        return f"<Queue {self.name!r}>"

    @property
    def _place(self) -> Place:
        return Place.queue(self._store.keys, self.name)

    @property
    def latency(self) -> float:
        """For how many seconds the next job to run has waited; 0.0 of an empty queue."""
        return self._store.queues.latency(self.name)

    @property
    def paused(self) -> bool:
        """Whether the workers leave this queue alone."""
        return self._store.queues.is_paused(self.name)

    def pause(self) -> None:
        """
        Keep all workers from taking jobs of this queue, until ``resume``.

        At once, by their next look; what runs goes on, and pushes are accepted.
        """
        self._store.queues.pause(self.name)

    def resume(self) -> None:
        """Let the workers take jobs of this queue again."""
        self._store.queues.resume(self.name)

    def page(
        self, start: int = 0, count: int = PAGE, *, newest_first: bool = False
    ) -> list[QueueEntry]:
        """
        Return ``count`` jobs (1,000 at most) from a place on; 0 is the next to run.

        With ``newest_first`` they are counted from the other end: 0 is the last pushed.
        In the middle of a long queue it takes longer, some ms in a million.

        Raises: InvalidQuery.
        """
        found = self._store.queues.page(
            self.name, position(start), page_count(count), newest_first=newest_first
        )
        return self._entries(found, start if newest_first else -1 - start)

    def delete(self, *jids: str, budget: float | None = BUDGET, cursor: int = 0) -> int:
        """
        Delete jobs by their ids; return how many were there.

        They have to be searched for, from the last pushed on, as by ``find``, for ``budget``
        seconds at most. Of several jobs with one id all are deleted that are met before the
        last of the others.

        Raises: SearchUnfinished when the budget was spent before all were found: its
        ``found`` have been deleted, and ``cursor`` goes on. InvalidQuery.
        """
        missing = {text(jid, "jid") for jid in jids}
        wanted, limit = set(missing), seconds(budget)
        began, looked_at, deleted = clock.monotonic(), 0, 0
        ahead: int | None = position(cursor, "cursor")
        while missing and ahead is not None:
            begun_at = ahead
            ahead, count, candidates = self._step(begun_at, None)
            found = [entry for entry in candidates if entry.jid in wanted]
            gone = self._store.removal.delete(
                self._place, [entry.raw for entry in found], [entry.index for entry in found]
            )
            missing -= {entry.jid for entry in found}
            looked_at, deleted = looked_at + count, deleted + gone
            if ahead is None or not missing:
                break
            ahead = max(begun_at, ahead - gone)  # those behind them have moved up
            if limit is not None and clock.monotonic() - began >= limit:
                sought = ", ".join(sorted(missing)[:10])
                raise SearchUnfinished(f"jid {sought}", looked_at, ahead, deleted)
        return deleted

    def _entry(self, raw: bytes, index: int | None = None) -> QueueEntry:
        return QueueEntry(self._store, self.name, raw, index)

    def _entries(self, found: Sequence[bytes], first: int) -> list[QueueEntry]:
        """Return the entries of a page that begins at an index, and goes on away from its end."""
        step = 1 if first >= 0 else -1
        return [self._entry(raw, first + step * at) for at, raw in enumerate(found)]

    #: Fewer than of a set: Redis walks to each, 2 ms into the middle of a million.
    _most_windows = 10

    def _windows(self, spans: Sequence[tuple[int, int]]) -> list[QueueEntry]:
        return [self._entry(raw) for raw in self._store.queues.windows(self.name, spans)]

    def _step(self, cursor: int, sought: str | None) -> tuple[int | None, int, list[QueueEntry]]:
        position(cursor, "cursor")
        # From the end that is pushed to: a push moves what was read to the places ahead,
        # and what workers take at the other end makes nobody be passed over.
        found = self._store.queues.page(self.name, cursor, STEP, newest_first=True)
        needle = (sought or "").encode(errors="surrogatepass")
        entries = [self._entry(raw, at) for at, raw in enumerate(found, cursor) if needle in raw]
        return (cursor + len(found) if len(found) == STEP else None), len(found), entries

    def _pages(self) -> Iterator[list[QueueEntry]]:
        """Yield pages; what leaves at the front meanwhile does not push others past us."""
        queues, name = self._store.queues, self.name
        before, page = queues.look(name, 0, PAGE)
        left, ahead = before, 0
        while page and left > 0:
            page = page[:left]
            yield self._entries(page, -1 - ahead)
            left -= len(page)
            # ``ahead`` jobs and then this page: where we are, unless some have left.
            start = ahead
            length, window = queues.look(name, start, len(page) + PAGE)
            behind = _behind(window, page)
            if behind is None:
                # All of it has left, and those ahead of it as far as the length tells.
                start = max(0, ahead - max(0, before - length - len(page)))
                if start < ahead:
                    length, window = queues.look(name, start, PAGE)
                behind = 0
            ahead, before, page = start + behind, length, window[behind : behind + PAGE]


def _behind(window: list[bytes], page: list[bytes]) -> int | None:
    """Return the place in a window behind the last job of a page that is still there."""
    places: dict[bytes, list[int]] = {}
    for at, raw in enumerate(window):
        places.setdefault(raw, []).append(at)
    for at in range(len(page) - 1, -1, -1):
        if page[at] in places:
            # Of equal ones the nearest.
            return min(places[page[at]], key=lambda place: abs(place - at)) + 1
    return None
