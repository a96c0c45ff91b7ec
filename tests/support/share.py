"""
A share of the tests, drawn by chance: for a run that only repeats them, and lacks the time for all.

The seed of the order draws it too (``--randomly-seed``: each run tells its own at the top). So a
seed has the same tests every time, and many runs have them all.
"""

from __future__ import annotations

import os
import zlib

import pytest

#: How many of a hundred tests are run.
VARIABLE = "JOBQUEUE_TEST_SHARE"


def wanted_share() -> int:
    """
    Return how many of a hundred tests are to be run.

    Raises: pytest.UsageError.
    """
    said = os.environ.get(VARIABLE) or "100"
    if not (said.isascii() and said.isdigit() and 1 <= int(said) <= 100):
        raise pytest.UsageError(
            f"{VARIABLE} is {said!r}: give the tests to run of a hundred, 1 to 100, or unset it."
        )
    return int(said)


def draw(items: list[pytest.Item], share: int, seed: int) -> list[pytest.Item]:
    """
    Leave in ``items`` the tests that are drawn, and return the others.

    What is marked ``once`` always stays: no other run has it.
    """
    drawn: list[pytest.Item] = []
    others: list[pytest.Item] = []
    for item in items:
        stays = item.get_closest_marker("once") or _is_drawn(item.nodeid, share, seed)
        (drawn if stays else others).append(item)
    items[:] = drawn
    return others


def _is_drawn(nodeid: str, share: int, seed: int) -> bool:
    # Not by their order: each process of a run must come to the same.
    return zlib.crc32(f"{seed} {nodeid}".encode()) % 100 < share
