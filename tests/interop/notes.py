"""What the jobs of both sides write down: which ran, by whom, and with which arguments."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

#: Names the file, to the processes of both sides.
VARIABLE = "JOBQUEUE_TEST_NOTES"


@dataclass(frozen=True, slots=True)
class Note:
    """A job began, ``by`` "ruby" or "django"."""

    by: str
    jid: str
    args: list[Any]


def write(by: str, jid: str, args: list[Any]) -> None:
    """Write a line that no kill takes back, and that mixes with no other."""
    line = json.dumps({"by": by, "jid": jid, "args": args}) + "\n"
    descriptor = os.open(os.environ[VARIABLE], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(descriptor, line.encode())
    finally:
        os.close(descriptor)


def read(path: Path) -> list[Note]:
    """Return all that is written; of a file that is not there yet nothing."""
    text = path.read_text() if path.exists() else ""
    whole, _, _torn = text.rpartition("\n")
    return [Note(**json.loads(line)) for line in whole.split("\n") if line]
