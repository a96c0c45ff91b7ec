"""The records of orders over many jobs: what was asked, how far it is, and who works at it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from django_jobqueue.store.keys import Keys
from django_jobqueue.store.link import Link, Word

#: Seconds that a record is kept after it was worked at last, and how many are listed.
KEPT = 7 * 86_400
LISTED = 100

#: Seconds after which who has told nothing is taken to be dead.
PATIENCE = 30.0

#: What a verb answers (see lua/bulk.lua).
OK, GONE, OVER, BUSY, STOP = "ok", "gone", "over", "busy", "stop"

#: A record as its fields, those of them that there are.
Fields = dict[str, bytes]


class BulkRecords:
    """
    Keep records by id, as fields whose meaning is the caller's.

    These have one here: ``state`` (``waiting``, ``running``, and at the end ``done``, ``stopped``
    or ``failed``), ``worker``, ``seen``, ``stop`` and ``updated_at``.
    """

    def __init__(self, link: Link, keys: Keys) -> None:
        self._link = link
        self._keys = keys

    def open(self, id: str, fields: Mapping[str, Word]) -> None:
        """Write a new record, which waits; one that is there already stays as it is."""
        self._do("open", id, "", fields)

    def begin(self, id: str, worker: str) -> str:
        """
        Work at a record from now on, as ``worker``, a token; return ``OK``, or why not.

        ``BUSY`` while another works at it, ``OVER`` where it has ended or was to be stopped,
        ``GONE``.
        """
        return self._do("begin", id, worker, {})

    def tell(self, id: str, worker: str, fields: Mapping[str, Word]) -> str:
        """
        Write how far it has come; return ``OK``, ``STOP`` where it shall end, or why nothing was.

        ``BUSY`` where another works at it by now, or ``GONE``.
        """
        return self._do("tell", id, worker, fields)

    def note(self, id: str, worker: str, fields: Mapping[str, Word]) -> str:
        """Write of a record that has not ended, unless another works at it; nobody does then."""
        return self._do("note", id, worker, fields)

    def stop(self, id: str) -> str:
        """
        Let it end: where nobody works at it at once, else when its worker tells next.

        Returns ``OK``, ``OVER`` or ``GONE``.
        """
        return self._do("stop", id, "", {})

    def get(self, id: str, names: Sequence[str]) -> Fields:
        """Return these fields of a record, none of one that is gone."""
        return _named(names, self._link.call("HMGET", self._keys.bulk(id), *names))

    def recent(self, count: int, names: Sequence[str]) -> list[tuple[str, Fields]]:
        """Return ids and fields of the latest records, the newest first."""
        found = self._link.call("ZREVRANGE", self._keys.bulks, 0, count - 1)
        ids = [id.decode(errors="replace") for id in found]
        replies = self._link.pipeline([("HMGET", self._keys.bulk(id), *names) for id in ids])
        return [(id, _named(names, reply)) for id, reply in zip(ids, replies, strict=True)]

    def _do(self, verb: str, id: str, worker: str, fields: Mapping[str, Word]) -> str:
        written = [word for pair in fields.items() for word in pair]
        answer: bytes = self._link.script(
            "bulk",
            [self._keys.bulk(id), self._keys.bulks],
            [verb, worker, int(PATIENCE * 1000), KEPT, LISTED, id, *written],
        )
        return answer.decode()


def _named(names: Sequence[str], values: Sequence[bytes | None]) -> Fields:
    return {name: each for name, each in zip(names, values, strict=True) if each is not None}
