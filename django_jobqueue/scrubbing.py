"""Secret values, found in texts that repeat them: error messages, tracebacks, log lines."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

#: What stands in the place of a secret.
REDACTED = "[redacted]"

#: Characters of the shortest value that is looked for in other texts: a shorter one
#: stands everywhere. And how many values are looked at, and looked for.
TELLING = 4
VALUES = 5_000
SOUGHT = 200

#: The texts that nobody is told while a job with secrets is judged.
_hidden: ContextVar[Collection[str]] = ContextVar("hidden", default=())


def forms(values: Sequence[Any]) -> set[str]:
    """Return how values may stand in a text: as they are, and as they are quoted."""
    found: set[str] = set()
    ahead = deque(values)
    for _ in range(VALUES):  # as many zeros in a list are all one form
        if not ahead or len(found) >= SOUGHT:
            break
        value = ahead.popleft()
        if isinstance(value, Mapping):
            ahead += value.values()
        elif isinstance(value, list):
            ahead += value
        elif isinstance(value, (str, int, float)) and not isinstance(value, bool):
            text = str(value)
            # As Python and as JSON quote it.
            found |= {text, repr(text)[1:-1], json.dumps(text)[1:-1]}
    return {form for form in found if len(form) >= TELLING}


def without(text: str, secrets: Iterable[str]) -> str:
    """Return a text without these, the longest first: one may be a part of another."""
    for form in sorted(secrets, key=len, reverse=True):
        text = text.replace(form, REDACTED)
    return text


@contextmanager
def hiding(values: Sequence[Any]) -> Iterator[None]:
    """Let ``scrub`` hide these values, in this thread or task, as long as the block lasts."""
    token = _hidden.set(forms(values))
    try:
        yield
    finally:
        _hidden.reset(token)


def is_hiding() -> bool:
    """Return whether there is anything to hide now."""
    return bool(_hidden.get())


def scrub(text: str) -> str:
    """Return a text without what is hidden now."""
    hidden = _hidden.get()
    return without(text, hidden) if hidden else text
