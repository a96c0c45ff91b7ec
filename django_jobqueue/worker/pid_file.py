"""The file that says which process to signal."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from django_jobqueue.exceptions import BootError

logger = logging.getLogger("django_jobqueue.worker")


class PidFile:
    """
    Holds this process's pid while the context lasts.

    Whoever reads it finds a whole pid at any moment. A file of a process that
    is dead, or of an earlier one with our own pid (in a container all have the
    same), is replaced.

    Raises on entry: BootError when the file names another process that lives,
    is something else than a pid file, or cannot be written.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = Path(path).absolute()

    def __enter__(self) -> Self:
        try:
            with _locked(self._path.parent):
                self._refuse_another()
                self._write()
        except OSError as error:
            raise BootError(
                f"--pid-file {str(self._path)!r} cannot be written: {error.strerror}"
            ) from error
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            with _locked(self._path.parent):
                if self._read() == str(os.getpid()):
                    self._path.unlink()
        except OSError as problem:
            logger.warning("the pid file stays behind: %s", problem)

    def _refuse_another(self) -> None:
        named = self._read()
        if not named:
            return
        # Not more digits than a pid has: such a number is no pid either.
        if not named.isdecimal() or len(named) > 9:
            raise BootError(f"--pid-file {str(self._path)!r} is no pid file: choose another name")
        pid = int(named)
        if pid != os.getpid() and _is_alive(pid):
            raise BootError(
                f"--pid-file {str(self._path)!r} names process {pid}, which runs: stop that one "
                f"first; if it is no worker, delete the file"
            )

    def _read(self) -> str:
        try:
            return self._path.read_text(encoding="ascii", errors="replace").strip()
        except FileNotFoundError:
            return ""

    def _write(self) -> None:
        draft = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        draft.unlink(missing_ok=True)  # of one that was killed here, with our own pid
        try:
            # "x": in a directory of everybody's, what lies there under this name is not followed.
            with draft.open("x", encoding="ascii") as file:
                file.write(f"{os.getpid()}\n")
            os.replace(draft, self._path)
        except OSError:
            draft.unlink(missing_ok=True)
            raise


@contextlib.contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """Keep others of us from reading or writing a pid file here. The lock needs no file."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _is_alive(pid: int) -> bool:
    if pid == 0:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
