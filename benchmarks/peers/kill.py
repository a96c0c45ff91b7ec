"""What a peer loses when its worker is killed: the experiment of tests/chaos, once for each."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from benchmarks.processes import ROOT

#: Jobs, each of 20 ms, how often the worker is killed, and seconds without progress at the end
#: until what is missing counts as lost.
JOBS, KILLS, PATIENCE = 1_000, 5, 180

#: Seconds after which an experiment itself is hung.
HUNG = 900.0

#: Lines of what an experiment said that are shown when it has no answer.
_TAIL = 3


def all_lost(peers: Sequence[str]) -> list[int | str]:
    """
    Return how many jobs each of these peers loses, or why there is no answer.

    Side by side: most of the time is spent waiting for jobs that do not come back.
    """
    with ThreadPoolExecutor(max(1, len(peers))) as pool:
        return list(pool.map(lost, peers))


def lost(peer: str | None) -> int | str:
    """Return the same of one; ``None`` is django-jobqueue itself."""
    whom = () if peer is None else ("--peer", peer, "--patience", str(PATIENCE))
    command = [
        sys.executable, "-m", "tests.chaos", "kill", *whom,
        "--jobs", str(JOBS), "--faults", str(KILLS), "--json",
    ]  # fmt: skip
    try:
        # A broken promise is an exit code other than 0, and an answer all the same.
        done = subprocess.run(  # noqa: S603, our own
            command, cwd=ROOT, capture_output=True, text=True, timeout=HUNG, check=False
        )
    except subprocess.TimeoutExpired:
        return f"no answer within {HUNG:g} s"
    try:
        found: Any = json.loads(done.stdout)
        return int(found["lines"]["lost"]["value"])
    except (ValueError, LookupError):
        return "no answer: " + "; ".join(done.stderr.strip().splitlines()[-_TAIL:])
