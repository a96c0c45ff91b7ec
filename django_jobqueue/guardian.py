"""
The process that keeps a project's private Valkey for as long as it is used.

It is started by :mod:`django_jobqueue.embedded`, by the path of this file and
with the standard library alone: through the package it would import Django,
and a guardian should cost a development machine nothing.

Everything it must know of others it learns from locks, which the kernel gives
back whatever kills their holder:

``users.lock``
    held shared by every process that uses the server. The guardian waits for
    it exclusively: the day it gets it, the last user is gone.
``guardian.lock``
    held by the guardian. Free means that nobody guards.
``server.lock``
    held by the server itself, which inherits it: there are never two servers
    on one data directory, and an orphan is seen and adopted.
``start.lock``
    held by the user that starts a guardian.
"""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import time

if sys.platform != "win32":
    import fcntl

USERS_LOCK = "users.lock"
START_LOCK = "start.lock"
GUARDIAN_LOCK = "guardian.lock"
SERVER_LOCK = "server.lock"
LOG_FILE = "server.log"
PID_FILE = "server.pid"

#: What the guardian tells the process that started it, one of them once.
READY = b"ready\n"
FAILED = b"failed\n"

#: Seconds between two looks at a lock or at a server that is starting.
POLL_INTERVAL = 0.02
#: Seconds a server may take to write its last words before it is killed.
STOP_TIMEOUT = 10.0
#: Seconds to wait for a guardian that is just leaving.
SUCCESSION_TIMEOUT = 5.0
#: Seconds before a dead server is started again: the first and the longest.
RESTART_DELAY = 0.1
MAX_RESTART_DELAY = 10.0
#: Seconds a server must have run for its death not to lengthen the delay.
STEADY_AFTER = 60.0
#: Seconds for one question to the server.
ANSWER_TIMEOUT = 1.0

_UNUSED = "the last user is gone"
_TERMINATED = "told to stop"
_SERVER_GONE = "the server is gone"


class FileLock:
    """
    An flock on a file.

    It belongs to the open file, so a fork shares it with its parent, and it
    ends with the last process that has the file open. Programs that are
    executed do not inherit it, but for the one it is handed over to.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = path
        self._fd = -1
        self._identity = (0, 0)

    def acquire(self, *, shared: bool = False, timeout: float | None = None) -> bool:
        """
        Take the lock and tell whether it was had within ``timeout`` seconds.

        Without a timeout, wait for as long as it takes. The file is made when
        it is missing.
        """
        fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            taken = _flock(fd, fcntl.LOCK_SH if shared else fcntl.LOCK_EX, timeout)
        except BaseException:
            os.close(fd)
            raise
        if not taken:
            os.close(fd)
            return False
        status = os.fstat(fd)
        self._fd, self._identity = fd, (status.st_dev, status.st_ino)
        return True

    def release(self) -> None:
        """Give the lock back, also for a fork that shares it."""
        if self._is_open():
            # Unlocked and not only closed: another thread may have forked
            # meanwhile, and its child would keep the lock for life.
            fcntl.flock(self._fd, fcntl.LOCK_UN)
        self.forget()

    def forget(self) -> None:
        """Close the file; a process that inherited it goes on holding the lock."""
        if self._is_open():
            os.close(self._fd)
        self._fd = -1

    def fileno(self) -> int:
        return self._fd

    def is_current(self) -> bool:
        """
        Whether the lock is held, and on the file that bears the name today.

        It is not after somebody closed all descriptors (as daemons do) or
        deleted the directory.
        """
        try:
            status = os.stat(self._path)
        except OSError:
            return False
        return self._is_open() and (status.st_dev, status.st_ino) == self._identity

    def _is_open(self) -> bool:
        # The number may have been closed behind our back and stand for another
        # file by now, which is not ours to close.
        if self._fd < 0:
            return False
        try:
            status = os.fstat(self._fd)
        except OSError:
            return False
        return (status.st_dev, status.st_ino) == self._identity


class Server:
    """The Valkey of the current directory: a child, or an orphan that was adopted."""

    def __init__(self, binary: str, socket_path: str) -> None:
        self._binary = binary
        self._socket_path = socket_path
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, lock: FileLock) -> None:
        """Start the server and hand it the lock that only one server can have."""
        self._process = subprocess.Popen(  # noqa: S603 - nothing of it comes from outside
            [
                self._binary,
                *("--port", "0"),
                *("--unixsocket", self._socket_path),
                *("--unixsocketperm", "700"),
                *("--daemonize", "no"),
                *("--dir", "."),
                *("--logfile", LOG_FILE),
                *("--pidfile", PID_FILE),
                *("--appendonly", "yes"),
                *("--appendfsync", "everysec"),
                # The append-only file is the one truth; no snapshots besides.
                *("--save", ""),
                *("--maxmemory-policy", "noeviction"),
            ],
            stdin=subprocess.DEVNULL,
            # Where a wrong configuration is told, before there is a log.
            stdout=sys.stderr,
            pass_fds=[lock.fileno()],
        )
        lock.forget()

    def answers(self) -> bool:
        return answers(self._socket_path)

    def stop(self) -> None:
        """Ask the server to write everything down and to end; do not wait."""
        if self._process is not None:
            self._process.terminate()
        else:
            # An orphan has no pid that could be trusted: its pid file may come
            # from another container that shares the directory.
            ask(self._socket_path, b"SHUTDOWN\r\n")

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()

    def reap(self) -> bool:
        """
        Take note of the server's end, and tell whether it gave up by itself.

        One that was killed did not, nor one that was adopted: that was perhaps
        about to end when we came.
        """
        return self._process is not None and self._process.wait() > 0


class Guardian:
    """Run the server while it has users; end it, and oneself, after the last."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._server_lock = FileLock(SERVER_LOCK)
        self._events: queue.SimpleQueue[str] = queue.SimpleQueue()

    def run(self) -> None:
        signal.signal(signal.SIGTERM, lambda *_: self._events.put(_TERMINATED))
        life = FileLock(GUARDIAN_LOCK)
        if not life.acquire(timeout=SUCCESSION_TIMEOUT):
            _say("another guardian is at work, nothing to do")
            return
        self._await_lock(FileLock(USERS_LOCK), _UNUSED)
        if self._server_lock.acquire(timeout=0):
            self._server.start(self._server_lock)
        else:
            _say("taking over the server that is running already")
        self._guard()

    def _guard(self) -> None:
        told, delay = False, RESTART_DELAY
        while True:
            began = time.monotonic()
            self._await_lock(self._server_lock, _SERVER_GONE)
            event = self._wait_until_ready()
            if event is None:
                if not told:
                    _tell(READY)
                told = True
                event = self._events.get()
            if event is not _SERVER_GONE:
                self._stop(event)
                return
            if self._server.reap() and not told:
                _say("the server did not start")
                _tell(FAILED)
                return
            if time.monotonic() - began > STEADY_AFTER:
                delay = RESTART_DELAY
            _say(f"the server died, starting it again in {delay:g} s")
            if self._next_event(delay) is not None:
                return
            delay = min(delay * 2, MAX_RESTART_DELAY)
            self._server.start(self._server_lock)

    def _wait_until_ready(self) -> str | None:
        """Wait until the server answers; return the event that came before."""
        while not self._server.answers():
            event = self._next_event(POLL_INTERVAL)
            if event is not None:
                return event
        return None

    def _stop(self, reason: str) -> None:
        _say(f"{reason}, stopping the server")
        self._server.stop()
        deadline = time.monotonic() + STOP_TIMEOUT
        while self._next_event(deadline - time.monotonic()) is not _SERVER_GONE:
            if time.monotonic() > deadline:
                _say(f"the server did not stop within {STOP_TIMEOUT:g} s, killing it")
                self._server.kill()
                break
        self._server.reap()

    def _next_event(self, timeout: float) -> str | None:
        try:
            return self._events.get(timeout=max(timeout, 0))
        except queue.Empty:
            return None

    def _await_lock(self, lock: FileLock, event: str) -> None:
        """Take the lock in the background and announce it by ``event``."""

        def wait() -> None:
            lock.acquire()
            self._events.put(event)

        threading.Thread(target=wait, daemon=True).start()


def answers(socket_path: str) -> bool:
    """
    Whether the server behind a socket answers PING.

    One that is still loading its data does not count; one that answers with
    any other error does, for it is there.
    """
    reply = ask(socket_path, b"PING\r\n")
    return reply != b"" and not reply.startswith(b"-LOADING")


def ask(socket_path: str, command: bytes) -> bytes:
    """Return the first line of the server's reply, empty when there is none."""
    reply = b""
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(ANSWER_TIMEOUT)
        connection.connect(socket_path)
        connection.sendall(command)
        while not reply.endswith(b"\n"):
            received = connection.recv(512)
            if not received:
                break
            reply += received
    return reply


def _flock(fd: int, operation: int, timeout: float | None) -> bool:
    if timeout is None:
        fcntl.flock(fd, operation)
        return True
    deadline = time.monotonic() + timeout
    while True:
        try:
            fcntl.flock(fd, operation | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                return False
            time.sleep(POLL_INTERVAL)
        else:
            return True


def _say(sentence: str) -> None:
    stamp = time.strftime("%d %b %Y %H:%M:%S")
    sys.stderr.write(f"{os.getpid()}:G {stamp} * Guardian: {sentence}\n")
    sys.stderr.flush()


def _tell(word: bytes) -> None:
    """Say the word to the process that started us, and let go of its pipe."""
    with contextlib.suppress(BrokenPipeError):
        os.write(1, word)
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.close(null)


def main(directory: str, socket_path: str, binary: str) -> None:
    # Let the caller go: a guardian that is nobody's child leaves no zombie in
    # a web server and surprises no supervisor that waits for its own children.
    if os.fork():
        os._exit(0)
    # The directory is an argument, and not only where we are started, so that
    # a process list tells the projects apart.
    os.chdir(directory)
    os.umask(0o077)
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    try:
        Guardian(Server(binary, socket_path)).run()
    except OSError as error:
        _say(f"cannot go on: {error}")
        _tell(FAILED)


if __name__ == "__main__":
    main(*sys.argv[1:])
