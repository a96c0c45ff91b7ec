"""The servers for SQL: real, private, and gone when nobody needs them any more."""

from __future__ import annotations

import glob
import os
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import procfs, sql_server
from tests.support.databases import KINDS, find_kind
from tests.support.polling import wait_until
from tests.support.processes import Process
from tests.support.sql_server import SERVERS, SqlServer
from tests.support.sql_settings import VARIABLE

pytestmark = pytest.mark.sql


@pytest.fixture(scope="module", params=KINDS)
def kind(request: pytest.FixtureRequest) -> type[SqlServer]:
    """A kind of server that this machine can run."""
    return find_kind(request.param)


@pytest.fixture(scope="module")
def started(kind: type[SqlServer]) -> Iterator[SqlServer]:
    """A server that runs, one for all these tests."""
    with kind() as server:
        yield server


def test_a_server_answers_where_its_environment_leads(started: SqlServer) -> None:
    connection = started.connect()
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 6 * 7")
            assert cursor.fetchone() == (42,)
    finally:
        connection.close()
    host = Path(started.environment[f"{VARIABLE}HOST"])
    assert started.directory in (host, host.parent)
    assert started.environment[f"{VARIABLE}ENGINE"] == started.engine


def test_nothing_of_a_closed_server_is_left(kind: type[SqlServer]) -> None:
    with kind() as server:
        members = procfs.session_of(server.pid)
        assert members
    assert not any(procfs.is_alive(pid) for pid in members)
    assert not server.directory.exists()
    server.close()


def test_a_server_that_was_stopped_goes_on_with_what_it_had(started: SqlServer) -> None:
    started.execute("CREATE DATABASE kept")
    pid = started.pid
    started.stop()
    assert not procfs.is_alive(pid)
    started.resume()
    assert started.execute("SELECT 6 * 7", "kept") == [(42,)]


def test_connections_are_cut_but_for_the_one_that_asks(started: SqlServer) -> None:
    held = started.connect()
    started.cut_connections()
    if started.name == "pgbouncer":  # who is connected to it, finds another session behind it
        assert held.execute("SELECT 6 * 7").fetchone() == (42,)
    else:
        with pytest.raises(Exception, match=r"(?i)connection|gone away"):
            held.cursor().execute("SELECT 1")
    held.close()


def test_a_server_that_cannot_start_says_why(
    kind: type[SqlServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    server = kind()
    monkeypatch.setattr(server, "_command", lambda: ["sh", "-c", "echo no luck"])
    with pytest.raises(AssertionError, match=r"did not start\.\n(?s:.*)no luck"), server:
        pytest.fail("it has started")
    assert not server.directory.exists()


# The command -------------------------------------------------------------------------


def command(kind: type[SqlServer], *words: str) -> list[str]:
    return [sys.executable, "-m", "tests.support.sql_server", kind.name, *words]


def test_a_command_is_run_beside_a_server_and_its_exit_code_returned(
    kind: type[SqlServer], tmp_path: Path
) -> None:
    code = f"import os; print(os.path.exists(os.environ['{VARIABLE}HOST'])); raise SystemExit(7)"
    with Process(command(kind, sys.executable, "-c", code), tmp_path / "log") as process:
        assert process.wait() == 7
        assert process.output() == "True\n"


def test_a_ctrl_c_ends_the_command_and_leaves_no_server(
    kind: type[SqlServer], tmp_path: Path
) -> None:
    code = (
        f"import os, time\ntry: print('at', os.environ['{VARIABLE}HOST']); time.sleep(600)\n"
        "except KeyboardInterrupt: exit(5)"
    )
    words = command(kind, sys.executable, "-u", "-c", code)
    with Process(words, tmp_path / "log") as process:
        host = Path(process.wait_for_line("at /").split()[1])
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does it
        assert process.wait() == 5
        assert not host.exists()


def test_a_command_that_is_ended_takes_its_server_with_it(
    kind: type[SqlServer], tmp_path: Path
) -> None:
    code = f"import os, time; print('at', os.environ['{VARIABLE}HOST']); time.sleep(600)"
    words = command(kind, sys.executable, "-u", "-c", code)
    with Process(words, tmp_path / "log") as process:
        host = Path(process.wait_for_line("at /").split()[1])
        process.term()
        assert process.wait() == 128 + signal.SIGTERM
        assert not host.exists()
        wait_until(lambda: not process.members(), what="the command to end")


@pytest.mark.parametrize("words", [[], ["postgresql"], ["oracle", "true"]], ids=str)
def test_without_a_server_and_a_command_it_tells_its_use(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert sql_server.main(words) == 2
    assert "usage:" in capsys.readouterr().err


@pytest.mark.parametrize("engine", sorted(SERVERS))
def test_a_server_that_is_not_installed_is_told_with_the_way_to_it(
    engine: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(glob, "glob", lambda pattern: [])
    monkeypatch.setattr(shutil, "which", lambda *args, **options: None)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        assert sql_server.main([engine, "true"]) == 2
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    assert "apt-get install" in capsys.readouterr().err


def test_the_newest_postgresql_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    installed = [f"/usr/lib/postgresql/{version}/bin/postgres" for version in ("9.6", "17", "15")]
    monkeypatch.setattr(glob, "glob", lambda pattern: installed)
    assert SERVERS["postgresql"].find_binary() == Path("/usr/lib/postgresql/17/bin/postgres")
