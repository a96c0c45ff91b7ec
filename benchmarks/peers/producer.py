"""A process in a peer's environment that enqueues what it is told, and how long that took."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

#: Seconds that a producer has to end by itself when nobody speaks to it any more.
_TO_END = 10.0


class Producer:
    """
    The peer's client: one JSON line in, one out. A context manager.

    It stays for all that is enqueued in a run, so that only its first call pays for the
    connection.
    """

    def __init__(self, command: Sequence[str], environment: dict[str, str]) -> None:
        self._command = list(command)
        self._process = subprocess.Popen(  # noqa: S603, a peer's interpreter
            self._command,
            env={**os.environ, **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdin is not None  # noqa: S101, for the type: we asked for pipes
        assert self._process.stdout is not None  # noqa: S101, the same
        self._in, self._out = self._process.stdin, self._process.stdout

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def journal(self, jobs: Sequence[tuple[str, float]]) -> None:
        """Enqueue jobs that write to the journal: an ident, and the seconds to sleep, of each."""
        self._ask("journal", [list(job) for job in jobs])

    def one_by_one(self, numbers: range) -> dict[str, float]:
        """Enqueue jobs that do nothing, each with a call; return the figures of that."""
        return self._ask("one_by_one", numbers.start, numbers.stop)

    def in_bulk(self, numbers: range) -> dict[str, float]:
        """Enqueue jobs that do nothing, 1,000 a call; return the figures of that."""
        return self._ask("in_bulk", numbers.start, numbers.stop)

    def hand_over(self, numbers: range, pause: float) -> None:
        """Enqueue jobs that carry the time, one every ``pause`` seconds."""
        self._ask("hand_over", numbers.start, numbers.stop, pause)

    def close(self) -> None:
        """End the process. Idempotent."""
        with contextlib.suppress(BrokenPipeError):  # it has ended before
            self._in.close()
        try:
            self._process.wait(_TO_END)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._out.close()

    def _ask(self, *words: object) -> dict[str, float]:
        line = ""
        with contextlib.suppress(BrokenPipeError):  # then there is no answer either
            self._in.write(json.dumps(words) + "\n")
            self._in.flush()
            line = self._out.readline()
        if not line:
            raise RuntimeError(f"{self._command!r} ended while it was told to {words[0]}")
        figures: Any = json.loads(line)
        return {str(name): float(value) for name, value in figures.items()}
