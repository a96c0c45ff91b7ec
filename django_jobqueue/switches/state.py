"""What a kill switch says: off, on, or on for a share of the jobs."""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True, slots=True, order=True)
class State:
    """One switch, in thousandths of the jobs that it stops. The larger of two is the stronger."""

    per_mille: int

    @classmethod
    def partial(cls, percent: float) -> Self:
        """Return the state that stops so many percent, in steps of a tenth."""
        if not percent > 0:  # NaN is off too
            return cls(0)
        return cls(max(1, round(min(percent, 100) * 10)))

    @classmethod
    def decode(cls, text: str) -> Self:
        """
        Return the state that ``encode`` wrote.

        Raises: ValueError.
        """
        if text in ("on", "off"):
            return cls(1000 if text == "on" else 0)
        percent = float(text)
        if not math.isfinite(percent):
            raise ValueError(f"{text!r} is no state of a kill switch")
        return cls.partial(percent)

    def encode(self) -> str:
        """Return what stands in Redis and in events: ``on``, ``off`` or percent as ``30.0``."""
        if self.per_mille in (0, 1000):
            return "on" if self.per_mille else "off"
        return f"{self.percent:.1f}"

    def __str__(self) -> str:
        return f"{self.percent:g} %" if 0 < self.per_mille < 1000 else self.encode()

    @property
    def percent(self) -> float:
        """The share of the jobs that are stopped, from 0 to 100."""
        return self.per_mille / 10

    @property
    def is_on(self) -> bool:
        """Whether every job is stopped."""
        return self.per_mille == 1000

    @property
    def is_off(self) -> bool:
        """Whether no job is stopped."""
        return self.per_mille == 0

    def covers(self, jid: str) -> bool:
        """
        Return whether the job with this jid is stopped: the same answer at every stage.

        A larger share stops all that a smaller one does.
        """
        if self.per_mille in (0, 1000):
            return self.per_mille == 1000
        try:
            number = int(jid[:8], 16)
        except ValueError:  # another program's
            number = zlib.crc32(jid.encode(errors="backslashreplace"))
        return number % 1000 < self.per_mille


OFF = State(0)
ON = State(1000)
