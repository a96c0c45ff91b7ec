"""Where a search through some time of a sorted set goes on: a place in time, as a whole number."""

from __future__ import annotations

import math
import struct

from django_jobqueue.api.arguments import WALKS
from django_jobqueue.exceptions import InvalidQuery
from django_jobqueue.store.entries import Scored

__all__ = ["WALKS", "cut", "place_of"]


def cut(found: list[Scored], score: float, passed: int) -> tuple[int, list[Scored]]:
    """
    Return where to go on behind a page, and what of the page was looked at by then.

    Those of the last score are left to the next page, which begins with that score: so
    nobody is passed over when some leave in between. Only in a long run of entries with one
    score it is told how many of it were passed.
    """
    last = found[-1][1]
    before = [each for each in found if each[1] != last]
    if before:
        return _cursor(last, 0), before
    return _cursor(last, len(found) + (passed if last == score else 0)), found


def _cursor(score: float, passed: int) -> int:
    (bits,) = struct.unpack(">Q", struct.pack(">d", score))
    return WALKS | int(bits) << 32 | passed


def place_of(cursor: int) -> tuple[float, int]:
    """Return the score and how many of it were passed. Raises: InvalidQuery."""
    (score,) = struct.unpack(">d", struct.pack(">Q", cursor >> 32 & (1 << 64) - 1))
    if math.isnan(score):
        raise InvalidQuery("cursor", cursor, "give the one that the search returned")
    return score, cursor & (1 << 32) - 1
