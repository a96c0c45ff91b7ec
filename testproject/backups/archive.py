"""Turn a live SQLite file into a compressed, checked archive, there whole or not at all."""

from __future__ import annotations

import gzip
import hashlib
import os
import shutil
import sqlite3
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from testproject.backups.content import LOCK_TIMEOUT, check_integrity, connect, count_rows
from testproject.backups.workspace import workspace

#: Bytes moved at once.
CHUNK = 256 * 1024


class CopyDamaged(Exception):
    """The copy of a database did not pass SQLite's own check. Nothing was archived."""

    def __init__(self, source: Path, verdict: str) -> None:
        super().__init__(source, verdict)
        self.source = source
        self.verdict = verdict

    def __str__(self) -> str:
        return (
            f"The copy of {str(self.source)!r} is damaged ({self.verdict}): check the source with "
            f"PRAGMA integrity_check."
        )


@dataclass(frozen=True, slots=True)
class Archive:
    """An archive that stands under its final name. ``size`` is in bytes, ``rows`` of all tables."""

    path: Path
    size: int
    sha256: str
    rows: int
    integrity: str


def make_archive(source: Path, folder: Path, name: str) -> Archive:
    """
    Copy ``source`` while others use it, check the copy, and put its archive into ``folder``.

    The archive is called by ``name`` and its own digest. Two attempts that run at
    once and see the same data make the same file; when the data changed between
    them, neither overwrites what the other has recorded.

    Raises:
        CopyDamaged: the copy does not pass PRAGMA integrity_check.
        sqlite3.Error: the source cannot be read.
        TimeoutError: the source stayed locked.
    """
    with workspace(folder / ".unfinished", name) as unfinished:
        copy = unfinished / "copy.sqlite3"
        rows = _copy(source, copy)
        compressed = unfinished / "copy.gz"
        _compress(copy, compressed)
        sha256 = digest_file(compressed)
        size = compressed.stat().st_size
        path = folder / f"{name}-{sha256[:16]}.sqlite3.gz"
        os.replace(compressed, path)
    _sync_folder(folder)
    return Archive(path=path, size=size, sha256=sha256, rows=rows, integrity="ok")


def digest_file(path: Path) -> str:
    """Return the SHA-256 of a file in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _copy(source: Path, target: Path) -> int:
    """Copy a database with SQLite's backup API, check the copy and return its number of rows."""
    deadline = time.monotonic() + LOCK_TIMEOUT

    def give_up(status: int, remaining: int, total: int) -> None:
        # Without this a locked source is tried for ever.
        if status != sqlite3.SQLITE_DONE and time.monotonic() > deadline:
            raise TimeoutError(f"{str(source)!r} stayed locked for {LOCK_TIMEOUT:g} s: try again.")

    with closing(connect(source)) as original, closing(sqlite3.connect(target)) as copy:
        # A crash throws the copy away: it need not survive one.
        copy.execute("PRAGMA synchronous = OFF")
        # All pages in one step: between two steps a writer could make it begin anew.
        original.backup(copy, pages=-1, progress=give_up, sleep=0.05)
        # A source in WAL mode hands its mode on; one file is to hold everything.
        copy.execute("PRAGMA journal_mode = DELETE")
        verdict = check_integrity(copy)
        if verdict != "ok":
            raise CopyDamaged(source, verdict)
        return sum(count_rows(copy).values())


def _compress(source: Path, target: Path) -> None:
    """Compress a file onto the disk. No name and no time goes in: equal input, equal bytes."""
    with source.open("rb") as plain, target.open("xb") as raw:
        with gzip.GzipFile(filename="", mode="wb", fileobj=raw, compresslevel=6, mtime=0) as packed:
            shutil.copyfileobj(plain, packed, CHUNK)
        raw.flush()
        os.fsync(raw.fileno())


def _sync_folder(folder: Path) -> None:
    """Bring a rename onto the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
