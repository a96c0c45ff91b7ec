"""
What a job of a peer leaves behind: a time on the board, a line in the journal.

Stands alone, with nothing but the standard library: it runs on the peer's interpreter,
where this project is not installed. The board is benchmarks/board.py's, the journal
tests/support/journal.py's.
"""

import mmap
import os
import time
from functools import cache

#: One line of the journal for each of them: the job began, and came to its end.
_STARTED, _FINISHED = "S", "F"


@cache
def _times() -> memoryview:
    with open(os.environ["BENCHMARK_BOARD"], "r+b") as file:
        return memoryview(mmap.mmap(file.fileno(), 0)).cast("d")


@cache
def _journal() -> int:
    return os.open(os.environ["BENCHMARK_JOURNAL"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)


def ran(number: int, began: float) -> None:
    """Note on the board that job ``number`` ends now."""
    times = _times()
    times[2 * number] = began
    times[2 * number + 1] = time.monotonic()


def no_op(number: int) -> None:
    """Do nothing, and note the time."""
    ran(number, time.monotonic())


def work(ident: str, seconds: float) -> None:
    """Write that the job began, take ``seconds``, and write that it came to its end."""
    _write(_STARTED, ident)
    time.sleep(seconds)
    _write(_FINISHED, ident)


def _write(mark: str, ident: str) -> None:
    os.write(_journal(), f"{mark} - {ident}\n".encode())
