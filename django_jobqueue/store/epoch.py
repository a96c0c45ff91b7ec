"""A marker in Redis: where it is gone, all the rest is gone too."""

from __future__ import annotations

from django_jobqueue.store.keys import Keys
from django_jobqueue.store.link import Link


class Epoch:
    """
    Read and write the marker ``jq:epoch``.

    It has no TTL and nobody removes it, so its absence tells that Redis lost its
    data, or has none yet.
    """

    def __init__(self, link: Link, keys: Keys) -> None:
        self._link = link
        self._key = keys.epoch

    def read(self) -> str | None:
        """Return the token of the present epoch, None where there is none."""
        return _text(self._link.call("GET", self._key))

    def begin(self, token: str) -> str | None:
        """Begin an epoch where there is none; return the token that stands then."""
        # Two commands: a SET with NX and GET is too new for Redis 6.2.
        _, found = self._link.pipeline([("SET", self._key, token, "NX"), ("GET", self._key)])
        return _text(found)


def _text(found: bytes | None) -> str | None:
    return None if found is None else found.decode(errors="replace")
