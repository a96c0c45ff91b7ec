"""Prove that an archive can be restored: until then it is not a backup."""

from __future__ import annotations

import gzip
import shutil
import sqlite3
import tempfile
import zlib
from contextlib import closing
from pathlib import Path

from testproject.backups.archive import CHUNK, digest_file
from testproject.backups.content import Content, check_integrity, connect, read_content
from testproject.backups.models import Backup


def find_faults(backup: Backup) -> list[str]:
    """
    Restore one backup into a temporary file and return what is wrong with it; empty means nothing.

    The archive must have the recorded size and SHA-256, unpack, pass SQLite's
    integrity check, and hold the same rows as its source, by count and by a
    digest of their content. The source must not have changed since.
    """
    archive = Path(backup.path)
    if not archive.is_file():
        return [f"{archive} is missing"]
    faults = _compare_file(backup, archive)
    with tempfile.TemporaryDirectory(prefix="restore-") as folder:
        restored = Path(folder) / "restored.sqlite3"
        try:
            restore(archive, restored)
            verdict = _integrity(restored)
            if verdict != "ok":
                faults.append(f"{archive} restores to a damaged database: {verdict}")
            faults += _compare_content(backup, read_content(restored))
        except (OSError, EOFError, zlib.error, sqlite3.Error) as error:
            faults.append(f"{archive} cannot be restored: {error}")
    return faults


def restore(archive: Path, target: Path) -> None:
    """
    Unpack an archive into a SQLite file.

    Raises:
        OSError, EOFError, zlib.error: the archive is damaged or cut off.
    """
    with gzip.open(archive, "rb") as packed, target.open("xb") as plain:
        shutil.copyfileobj(packed, plain, CHUNK)


def _compare_file(backup: Backup, archive: Path) -> list[str]:
    faults = []
    size = archive.stat().st_size
    if size != backup.size:
        faults.append(f"{archive} has {size} bytes, {backup.size} were recorded")
    if digest_file(archive) != backup.sha256:
        faults.append(f"{archive} does not have the SHA-256 that was recorded")
    return faults


def _integrity(path: Path) -> str:
    with closing(connect(path)) as connection:
        return check_integrity(connection)


def _compare_content(backup: Backup, restored: Content) -> list[str]:
    faults = []
    source = Path(backup.database.path)
    original = read_content(source)
    if restored.rows != original.rows:
        faults.append(f"{backup.path} has the rows {restored.rows}, {source} has {original.rows}")
    elif restored.digest != original.digest:
        faults.append(f"{backup.path} has other values than {source}")
    if sum(restored.rows.values()) != backup.rows:
        faults.append(
            f"{backup.path} has {sum(restored.rows.values())} rows, {backup.rows} were recorded"
        )
    return faults
