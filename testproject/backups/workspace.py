"""A private folder for one attempt, which later ones can tell from what a dead one left."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def workspace(parent: Path, name: str) -> Iterator[Path]:
    """
    Make a folder of a fresh name under ``parent``, and remove it with all it holds at the end.

    Folders of the same ``name`` whose owners were killed are removed first. An
    owner holds a lock on its folder, and the kernel drops it with the process:
    no clock, no pid and no host name can mislead us about who lives.
    """
    parent.mkdir(parents=True, exist_ok=True)
    _sweep(parent, name)
    path, descriptor = _make(parent, name)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
        os.close(descriptor)


def _make(parent: Path, name: str) -> tuple[Path, int]:
    """Return a new folder and the descriptor that holds its lock."""
    while True:
        path = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=parent))
        descriptor = _lock(path)
        if descriptor is not None:
            return path, descriptor
        # A sweep came between making and locking it, and took it for a dead one's.


def _lock(path: Path) -> int | None:
    """Lock a folder; None when somebody has it, or it is gone."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(descriptor), path.stat()):
            return descriptor
    except (BlockingIOError, FileNotFoundError):
        pass
    os.close(descriptor)
    return None


def _sweep(parent: Path, name: str) -> None:
    """Remove what dead attempts of this name left."""
    for path in parent.glob(f"{name}-*"):
        descriptor = _lock(path)
        if descriptor is not None:
            shutil.rmtree(path, ignore_errors=True)
            os.close(descriptor)
