"""How ``runjobs`` ends: the one list of exit codes, for the code, the help and the manual."""

from __future__ import annotations

from enum import IntEnum
from typing import Self


class ExitCode(IntEnum):
    """An exit code of a worker process and of ``runjobs``; ``meaning`` says it to people."""

    meaning: str

    def __new__(cls, value: int, meaning: str) -> Self:
        """Make a number that knows what it means."""
        made = int.__new__(cls, value)
        made._value_ = value
        made.meaning = meaning
        return made

    OK = 0, "stopped in good order, or with --burst: drained"
    FAULT = 1, "wrong configuration, or a fault at the start"
    LEFT = 3, "stopped, and jobs were left to recovery: another process takes them back"
    UNREACHABLE = 75, "Redis could not be reached for as long as BOOT_TIMEOUT says"


def told() -> str:
    """Return all of them in a sentence."""
    return "; ".join(f"{code.value} {code.meaning}" for code in ExitCode)
