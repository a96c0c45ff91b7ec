"""
A real PostgreSQL or MariaDB server of one's own, for the tests that touch SQL.

::

    python -m tests.support.sql_server postgresql python -m pytest -m sql

starts a server, runs the command with the variables of ``tests.support.sql_settings`` and
ends with its exit code. The server listens on a unix socket in a directory of its own:
no port is taken, and nobody else finds it. What it has is gone afterwards.

``pgbouncer`` is a PostgreSQL behind a PgBouncer that pools transactions: two transactions of
one connection seldom meet the same session. The databases of the tests are made through it.
"""

from __future__ import annotations

import contextlib
import glob
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Self

from tests.support import procfs
from tests.support.polling import wait_until
from tests.support.reaper import reaper
from tests.support.server import short_directory
from tests.support.sql_settings import VARIABLE

#: Seconds within which a server answers after a start; a busy machine may need most of it.
START_TIMEOUT = 60.0


#: Seconds that a server gets to leave before it is killed.
STOP_TIMEOUT = 10.0


class NotInstalled(Exception):
    """The machine has no such server. The text says how it gets one."""


class SqlServer(ABC):
    """
    One server process with a directory of its own and one user, who may do everything.

    Nothing is synced to the disk: tests kill no database. A context manager.

    Raises: NotInstalled.
    """

    #: What to call it by.
    name: ClassVar[str]
    #: The name of its engine in the environment.
    engine: ClassVar[str]
    #: What Django calls PORT: on a unix socket none.
    port: ClassVar[str] = ""
    #: The user to connect as. There is no password: the directory is private.
    user: ClassVar[str]
    #: What ends it at once.
    quit: ClassVar[int] = signal.SIGKILL
    #: What ends it in good order, and its connections with it.
    end: ClassVar[int] = signal.SIGTERM

    def __init__(self) -> None:
        self._binary = self.find_binary()
        self._process: subprocess.Popen[bytes] | None = None
        self.directory = short_directory()
        self.log_path = self.directory / "server.log"

    @classmethod
    @abstractmethod
    def find_binary(cls) -> Path:
        """Return the server's program. Raises: NotInstalled."""

    @property
    @abstractmethod
    def host(self) -> Path:
        """What to connect to: a path, as Django's setting HOST takes it."""

    @property
    @abstractmethod
    def socket_path(self) -> Path:
        """Where it listens."""

    @abstractmethod
    def _prepare(self) -> None:
        """Make the directory of its data."""

    @abstractmethod
    def _command(self) -> list[str]:
        """Return the command that starts it in the foreground."""

    @abstractmethod
    def connect(self, database: str = "") -> Any:
        """Return a new connection of the driver's. Raises the driver's error."""

    @abstractmethod
    def cut_connections(self) -> None:
        """End all connections but the one that asks for it, and return when they are gone."""

    @abstractmethod
    def expiring(self) -> AbstractContextManager[None]:
        """End what is connected inside the block, when it was idle for a second."""

    def crowded(self) -> AbstractContextManager[None]:
        """Take as few connections at a time as can be had without a restart."""
        return contextlib.nullcontext()

    def execute(self, sql: str, database: str = "") -> list[tuple[Any, ...]]:
        """Run a statement on a connection of its own; return its rows."""
        with contextlib.closing(self.connect(database)) as connection:
            return _execute(connection, sql)

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def environment(self) -> dict[str, str]:
        """The variables that lead the tests here."""
        return {
            f"{VARIABLE}SERVER": self.name,
            f"{VARIABLE}ENGINE": self.engine,
            f"{VARIABLE}HOST": str(self.host),
            f"{VARIABLE}PORT": self.port,
            f"{VARIABLE}USER": self.user,
            f"{VARIABLE}PASSWORD": "",
        }

    @property
    def pid(self) -> int:
        """The server's process: the leader of its session."""
        if self._process is None:
            raise AssertionError("The server has not been started.")
        return self._process.pid

    def start(self) -> None:
        """
        Start the server and return when it answers.

        Raises:
            AssertionError: it did not come up; the text has the end of its log.

        """
        self._prepare()
        self._launch()

    def close(self) -> None:
        """Kill the server and remove its directory. Idempotent."""
        self._end(self.quit)
        shutil.rmtree(self.directory, ignore_errors=True)

    def stop(self) -> None:
        """End the server as an operator does: what is committed stays. Idempotent."""
        self._end(self.end)

    def resume(self) -> None:
        """Start a server again that was stopped, with what it has. Raises: see ``start``."""
        self._launch()

    def _launch(self) -> None:
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                self._command(),
                cwd=self.directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                **self._identity(),
            )
        reaper().watch(self._process.pid)
        wait_until(self._answers_or_ended, START_TIMEOUT, lambda: f"{self._binary}.\n{self.log()}")
        if self._process.poll() is not None:
            raise AssertionError(f"{self._binary} did not start.\n{self.log()}")

    def _end(self, number: int) -> None:
        if self._process is None:
            return
        self._process.send_signal(number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(STOP_TIMEOUT)
        procfs.kill_session(self._process.pid)
        self._process.wait()
        reaper().forget(self._process.pid)
        self._process = None

    def log(self, lines: int = 20) -> str:
        """Return the end of the server's log."""
        text = self.log_path.read_text(errors="replace") if self.log_path.exists() else ""
        return "\n".join(text.splitlines()[-lines:])

    def _identity(self) -> dict[str, Any]:
        """Return what ``subprocess`` is told of the user that the server runs as."""
        return {}

    def _run(self, *command: str | Path) -> None:
        """Run a command that has to end well, its output in the log."""
        with self.log_path.open("ab") as log:
            done = subprocess.run(
                [str(word) for word in command],
                cwd=self.directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                check=False,
                **self._identity(),
            )
        if done.returncode != 0:
            raise AssertionError(f"{command[0]} failed.\n{self.log()}")

    def _answers_or_ended(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            return True
        with socket.socket(socket.AF_UNIX) as probe:
            # Asked first: a driver that cannot connect may leave its socket open.
            if probe.connect_ex(str(self.socket_path)) != 0:
                return False
        try:
            self.connect().close()
        except Exception as error:  # the drivers have no class of error in common
            if type(error).__name__ != "OperationalError":
                raise
            return False
        return True


class PostgreSQL(SqlServer):
    """A PostgreSQL, the newest that is installed. It refuses to be root: then it is another."""

    name = engine = "postgresql"
    user = "jobqueue"
    # Its processes end with it, and it waits for them: not so after SIGKILL.
    quit = signal.SIGQUIT
    end = signal.SIGINT

    @classmethod
    def find_binary(cls) -> Path:
        """Return ``postgres``, which Debian keeps off the PATH."""
        installed = glob.glob("/usr/lib/postgresql/*/bin/postgres")
        newest = max(installed, key=_version, default=shutil.which("postgres"))
        if newest is None:
            raise NotInstalled("there is no PostgreSQL server here: apt-get install postgresql")
        return Path(newest)

    @property
    def host(self) -> Path:
        """The directory of the socket."""
        return self.directory

    @property
    def socket_path(self) -> Path:
        """The socket, named by the port that nobody listens on."""
        return self.directory / ".s.PGSQL.5432"

    def connect(self, database: str = "") -> Any:
        """Connect, without a name to the database that every server has."""
        import psycopg

        return psycopg.connect(
            host=str(self.host), user=self.user, dbname=database or "postgres", autocommit=True
        )

    def cut_connections(self) -> None:
        """Terminate the backends."""
        others = "backend_type = 'client backend' AND pid <> pg_backend_pid()"
        with contextlib.closing(self.connect()) as connection:
            _execute(
                connection, f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {others}"
            )
            _wait_for_none(connection, f"SELECT pid FROM pg_stat_activity WHERE {others}")

    @contextlib.contextmanager
    def expiring(self) -> Iterator[None]:
        """Set ``idle_session_timeout``."""
        self.execute(f"ALTER ROLE {self.user} SET idle_session_timeout = '1s'")
        try:
            yield
        finally:
            self.execute(f"ALTER ROLE {self.user} RESET idle_session_timeout")

    def _prepare(self) -> None:
        _own(self.directory, self._identity())
        self._run(
            self._binary.with_name("initdb"), "--pgdata=data", f"--username={self.user}",
            "--auth=trust", "--encoding=UTF8", "--no-locale", "--no-sync",
        )  # fmt: skip

    def _command(self) -> list[str]:
        options = {
            "listen_addresses": "",
            "unix_socket_directories": self.directory,
            "fsync": "off",
            "full_page_writes": "off",
            "synchronous_commit": "off",
        }
        command = [str(self._binary), "-D", "data"]
        for name, value in options.items():
            command += ["-c", f"{name}={value}"]
        return command

    def _identity(self) -> dict[str, Any]:
        return _somebody_else()


class PgBouncer(SqlServer):
    """
    A PgBouncer that pools transactions, before a PostgreSQL of its own.

    It takes the servers' sessions in turn, so that what one of them remembers is not
    there for the next transaction.
    """

    name = "pgbouncer"
    engine = "postgresql"
    user = PostgreSQL.user
    port = "6432"

    def __init__(self) -> None:
        super().__init__()
        self.database = PostgreSQL()

    @classmethod
    def find_binary(cls) -> Path:
        """Return ``pgbouncer``, also where /usr/sbin is not on the PATH."""
        found = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
        if found is None:
            raise NotInstalled("there is no PgBouncer here: apt-get install pgbouncer")
        PostgreSQL.find_binary()
        return Path(found)

    @property
    def host(self) -> Path:
        """The directory of the socket."""
        return self.directory

    @property
    def socket_path(self) -> Path:
        """The socket, named by the port that nobody listens on."""
        return self.directory / f".s.PGSQL.{self.port}"

    def connect(self, database: str = "") -> Any:
        """Connect through it; to the database ``pgbouncer`` for its own console."""
        import psycopg

        return psycopg.connect(
            host=str(self.host), port=self.port, user=self.user, dbname=database or "postgres",
            autocommit=True, prepare_threshold=None,
        )  # fmt: skip

    def cut_connections(self) -> None:
        """Terminate the backends behind it: its own clients stay connected."""
        self.database.cut_connections()

    @contextlib.contextmanager
    def expiring(self) -> Iterator[None]:
        """Set ``client_idle_timeout``."""
        self.execute("SET client_idle_timeout = 1", "pgbouncer")
        try:
            yield
        finally:
            self.execute("SET client_idle_timeout = 0", "pgbouncer")

    def close(self) -> None:
        """Kill both servers and remove their directories. Idempotent."""
        super().close()
        self.database.close()

    def _prepare(self) -> None:
        self.database.start()
        options = {
            "listen_addr": "",
            "listen_port": self.port,
            "unix_socket_dir": self.directory,
            "auth_type": "trust",
            "auth_file": self.directory / "users",
            "admin_users": self.user,
            "pool_mode": "transaction",
            "default_pool_size": 10,
            "max_client_conn": 500,
            "server_round_robin": 1,
            # A database cannot be dropped while somebody is connected to it.
            "server_idle_timeout": 1,
            # While a server restarts, its clients wait for the next try.
            "server_login_retry": 1,
        }
        lines = [
            "[databases]",
            f"* = host={self.database.host} user={self.user}",
            "[pgbouncer]",
            *(f"{name} = {value}" for name, value in options.items()),
        ]
        (self.directory / "ini").write_text("\n".join(lines) + "\n")
        (self.directory / "users").write_text(f'"{self.user}" ""\n')
        _own(self.directory, self._identity())

    def _command(self) -> list[str]:
        return [str(self._binary), str(self.directory / "ini")]

    def _identity(self) -> dict[str, Any]:
        return _somebody_else()


class MariaDB(SqlServer):
    """A MariaDB."""

    name = engine = "mariadb"
    user = "root"

    @classmethod
    def find_binary(cls) -> Path:
        """Return ``mariadbd``, also where /usr/sbin is not on the PATH."""
        found = shutil.which("mariadbd", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
        # The script that makes its data asks for that one.
        if found is None or shutil.which("my_print_defaults") is None:
            raise NotInstalled(
                "there is no MariaDB server here: apt-get install mariadb-server-core "
                "mariadb-client"
            )
        return Path(found)

    @property
    def host(self) -> Path:
        """The socket."""
        return self.directory / "s"

    @property
    def socket_path(self) -> Path:
        """The same."""
        return self.host

    def connect(self, database: str = "") -> Any:
        """Connect, without a name to no database."""
        import pymysql

        return pymysql.connect(
            unix_socket=str(self.host), user=self.user, autocommit=True, database=database or None
        )

    def cut_connections(self) -> None:
        """Kill the connections."""
        others = "command <> 'Daemon' AND id <> connection_id()"
        query = f"SELECT id FROM information_schema.processlist WHERE {others}"
        with contextlib.closing(self.connect()) as connection:
            for (number,) in _execute(connection, query):
                with contextlib.suppress(connection.OperationalError):  # it ended by itself
                    _execute(connection, f"KILL {number}")
            _wait_for_none(connection, query)

    @contextlib.contextmanager
    def expiring(self) -> Iterator[None]:
        """Set ``wait_timeout``."""
        self.execute("SET GLOBAL wait_timeout = 1")
        try:
            yield
        finally:
            self.execute("SET GLOBAL wait_timeout = DEFAULT")

    @contextlib.contextmanager
    def crowded(self) -> Iterator[None]:
        """Set ``max_connections``."""
        self.execute("SET GLOBAL max_connections = 10")
        try:
            yield
        finally:
            self.execute("SET GLOBAL max_connections = DEFAULT")

    def _prepare(self) -> None:
        self._run(
            "mariadb-install-db", "--no-defaults", *self._places(), "--skip-test-db",
            "--auth-root-authentication-method=normal",
        )  # fmt: skip

    def _command(self) -> list[str]:
        return [
            str(self._binary), "--no-defaults", *self._places(), f"--socket={self.host}",
            "--skip-networking", "--skip-log-bin", "--character-set-server=utf8mb4",
            "--innodb-flush-log-at-trx-commit=0", "--innodb-flush-method=nosync",
        ]  # fmt: skip

    def _places(self) -> list[str]:
        return [
            f"--datadir={self.directory / 'data'}",
            f"--tmpdir={self.directory}",  # in a common one, servers remove each other's tables
            f"--user={pwd.getpwuid(os.geteuid()).pw_name}",  # root has to say that it means it
        ]


SERVERS: dict[str, type[SqlServer]] = {
    server.name: server for server in (PostgreSQL, PgBouncer, MariaDB)
}


def _execute(connection: Any, sql: str) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return list(cursor.fetchall()) if cursor.description else []


def _wait_for_none(connection: Any, query: str) -> None:
    wait_until(lambda: not _execute(connection, query), START_TIMEOUT, "the connections to end")


def _somebody_else() -> dict[str, Any]:
    """Return the user of programs that refuse to be root, for ``subprocess``."""
    if os.geteuid() != 0:
        return {}
    names = {entry.pw_name: entry for entry in pwd.getpwall()}
    entry = names.get("postgres") or names["nobody"]
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}


def _own(directory: Path, identity: dict[str, Any]) -> None:
    """Give a directory, and what is in it, to the user of a server."""
    if identity:
        for path in (directory, *directory.iterdir()):
            os.chown(path, identity["user"], identity["group"])


def _version(binary: str) -> tuple[int, ...]:
    """Return the version in ``/usr/lib/postgresql/VERSION/bin/postgres``."""
    return tuple(int(part) for part in Path(binary).parts[-3].split(".") if part.isdecimal())


def main(arguments: Sequence[str]) -> int:
    """Run a command beside a server; return its exit code."""
    if len(arguments) < 2 or arguments[0] not in SERVERS:
        sys.stderr.write(
            f"usage: python -m tests.support.sql_server {'|'.join(SERVERS)} COMMAND ...\n"
        )
        return 2
    # As a shell does it: a Ctrl-C is the command's, and ours is to clean up after it. Not
    # SIG_IGN: the command would inherit that.
    signal.signal(signal.SIGINT, lambda *_: None)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        with SERVERS[arguments[0]]() as server:
            command = list(arguments[1:])
            return subprocess.run(
                command, env={**os.environ, **server.environment}, check=False
            ).returncode
    except NotInstalled as error:
        sys.stderr.write(f"{arguments[0]}: {error}\n")
        return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
