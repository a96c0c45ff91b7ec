"""Remove what is ours from a Redis, as a flush would, and nothing of anybody else."""

from __future__ import annotations

from collections.abc import Iterator

from django_jobqueue.store.keys import Keys
from django_jobqueue.store.link import Link

#: Keys named in one command.
PAGE = 1000


class Eraser:
    """
    Find and remove our keys, for a drill.

    Under a prefix everything is ours. Without one it is what has a name that we
    or Sidekiq give; ``foreign`` tells whether there is anything else.
    """

    def __init__(self, link: Link, keys: Keys) -> None:
        self._link = link
        self._keys = keys

    def ours(self) -> list[bytes]:
        """Return the names of all our keys. Scans the key space."""
        return [name for name in self._names() if self._keys.is_ours(name)]

    def foreign(self) -> bytes | None:
        """Return the name of a key that is not ours, though it has our prefix; None if none is."""
        return next((name for name in self._names() if not self._keys.is_ours(name)), None)

    def erase(self) -> int:
        """
        Remove our keys, all in the same moment; return how many there were.

        A job that is pushed while they are being listed may leave its lock behind;
        see ``locks``.
        """
        names = self.ours()
        pages = [names[at : at + PAGE] for at in range(0, len(names), PAGE)]
        return sum(self._link.pipeline([("UNLINK", *page) for page in pages], atomic=True))

    def locks(self) -> dict[str, str]:
        """Return every lock of a unique job: its digest and the jid that holds it."""
        found: dict[str, str] = {}
        for page in self._pages(self._keys.all_locks):
            for name, owner in zip(page, self._link.call("MGET", *page), strict=True):
                if owner is not None:
                    found[self._keys.digest_of(name)] = owner.decode(errors="replace")
        return found

    def _names(self) -> Iterator[bytes]:
        seen: set[bytes] = set()  # a scan may return a key twice
        for page in self._pages(self._keys.all_keys):
            yield from (name for name in page if name not in seen)
            seen.update(page)

    def _pages(self, pattern: str) -> Iterator[list[bytes]]:
        cursor = 0
        while True:
            cursor, names = self._link.call("SCAN", cursor, "MATCH", pattern, "COUNT", PAGE)
            if names:
                yield names
            if cursor == 0:
                return
