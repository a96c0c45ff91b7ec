"""Who sees what Python is asked to import."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.machinery import ModuleSpec
from types import ModuleType


class ImportSpy:
    """A finder that finds nothing and notes what was looked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Note the name of a module that is not imported yet."""
        self.asked.append(name)
        return None


@contextmanager
def spied_imports() -> Iterator[ImportSpy]:
    """Yield who sees each import of the block that is not in ``sys.modules``."""
    spy, before = ImportSpy(), sys.meta_path
    sys.meta_path = [spy, *before]
    try:
        yield spy
    finally:
        sys.meta_path = before
