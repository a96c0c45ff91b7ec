"""A port that answers two questions, and that no client can keep busy."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest

from django_jobqueue.exceptions import BootError
from django_jobqueue.worker import probe_port as room
from django_jobqueue.worker.probe_port import ProbePort, listen, parse_address
from tests.support.clocks import freeze


class Rig:
    """A port on which the test does every turn."""

    def __init__(self) -> None:
        self.answers = {"live": (True, b"yes"), "ready": (False, b"no")}
        self.listener = listen("127.0.0.1", 0)
        self.port = ProbePort(self.listener, self.answers.get)
        self.clients: list[socket.socket] = []

    def connect(self, request: bytes = b"") -> socket.socket:
        """Come as a client and say this much; be let in."""
        client = socket.create_connection(self.listener.getsockname(), timeout=10)
        self.clients.append(client)
        self.port.serve(10)
        if request:
            client.sendall(request)
        return client

    def ask(self, request: bytes) -> tuple[str, bytes]:
        """Return the line of the status and the body of the answer."""
        client = self.connect(request)
        self.port.serve(10)
        head, _, body = self.read(client).partition(b"\r\n\r\n")
        return head.decode().splitlines()[0], body

    def read(self, client: socket.socket) -> bytes:
        """Read until the port hangs up."""
        got = b""
        while said := client.recv(65_536):
            got += said
        return got

    def close(self) -> None:
        """Let go of all."""
        for client in (*self.clients, *(each.connection for each in self.port._clients)):
            client.close()
        self.listener.close()


@pytest.fixture
def rig() -> Iterator[Rig]:
    """A port at 127.0.0.1."""
    made = Rig()
    yield made
    made.close()


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("8080", ("127.0.0.1", 8080)),
        ("0.0.0.0:8080", ("0.0.0.0", 8080)),  # noqa: S104 - it is only read
        ("localhost:0", ("localhost", 0)),
        ("[::1]:65535", ("::1", 65535)),
        ("[::]:80", ("::", 80)),
    ],
)
def test_an_address_is_a_port_with_or_without_a_host(text: str, address: tuple[str, int]) -> None:
    assert parse_address(text) == address


@pytest.mark.parametrize(
    "text", ["", ":80", "host", "host:", "1:2:3", "::1:80", "65536", "-1", "8 0"]
)
def test_what_is_no_address_is_told(text: str) -> None:
    with pytest.raises(BootError, match="write PORT or ADDRESS:PORT"):
        parse_address(text)


def test_a_port_in_use_is_told(rig: Rig) -> None:
    port = rig.listener.getsockname()[1]
    with pytest.raises(BootError, match=rf"cannot listen on 127\.0\.0\.1 port {port}: .*in use"):
        listen("127.0.0.1", port)


def test_a_host_that_nobody_knows_is_told() -> None:
    with pytest.raises(BootError, match="cannot listen on no such host port 80"):
        listen("no such host", 80)


@pytest.mark.parametrize(
    ("request_line", "status", "body"),
    [
        ("GET /live HTTP/1.1", "200 OK", b"yes"),
        ("GET /live/ HTTP/1.0", "200 OK", b"yes"),
        ("GET /ready?verbose=1 HTTP/1.1", "503 Service Unavailable", b"no"),
        ("HEAD /ready HTTP/1.1", "503 Service Unavailable", b""),
        ("GET / HTTP/1.1", "404 Not Found", b"{}"),
        ("GET /metrics HTTP/1.1", "404 Not Found", b"{}"),
        ("GET /../../etc/passwd HTTP/1.1", "404 Not Found", b"{}"),
        ("POST /live HTTP/1.1", "400 Bad Request", b"{}"),
        ("\x16\x03\x01 a TLS client", "400 Bad Request", b"{}"),
    ],
)
def test_each_question_has_its_answer(
    rig: Rig, request_line: str, status: str, body: bytes
) -> None:
    line, got = rig.ask(f"{request_line}\r\nHost: x\r\n\r\n".encode())
    assert (line, got) == (f"HTTP/1.1 {status}", body)
    assert rig.port._clients == []


def test_a_request_may_come_in_pieces(rig: Rig) -> None:
    client = rig.connect()
    for piece in (b"GET /li", b"ve HTTP/1.1\r\n", b"\r\n"):
        client.sendall(piece)
        rig.port.serve(10)
    assert rig.read(client).endswith(b"yes")


def test_a_client_that_says_nothing_keeps_nobody_waiting_and_is_put_out(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = freeze(monkeypatch)
    silent = rig.connect()
    assert rig.ask(b"GET /live HTTP/1.1\r\n\r\n")[1] == b"yes"
    clock.advance(room.PATIENCE)
    rig.port.serve(0)
    assert rig.read(silent) == b""
    assert rig.port._clients == []


def test_a_trickle_is_not_patience(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = freeze(monkeypatch)
    slow = rig.connect(b"G")
    rig.port.serve(10)
    clock.advance(room.PATIENCE / 2)
    slow.sendall(b"E")
    rig.port.serve(10)
    clock.advance(room.PATIENCE / 2)
    rig.port.serve(0)
    assert rig.port._clients == []


def test_more_than_a_request_is_cut(rig: Rig) -> None:
    line, _ = rig.ask(b"x" * room.MAX_REQUEST)
    assert line == "HTTP/1.1 400 Bad Request"


def test_clients_that_hang_up_do_no_harm(rig: Rig) -> None:
    rig.connect().close()
    rig.port.serve(10)
    assert rig.port._clients == []
    assert rig.ask(b"GET /live HTTP/1.1\r\n\r\n")[1] == b"yes"


def test_clients_that_say_nothing_make_room_for_the_next_the_oldest_first(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "MAX_CLIENTS", 2)
    oldest, other = rig.connect(), rig.connect()
    third = rig.connect(b"GET /live HTTP/1.1\r\n\r\n")
    assert len(rig.port._clients) == 2
    assert rig.read(oldest) == b""
    rig.port.serve(10)
    assert rig.read(third).endswith(b"yes")
    other.sendall(b"GET /ready HTTP/1.1\r\n\r\n")
    rig.port.serve(10)
    assert rig.read(other).endswith(b"no")


def test_without_descriptors_nobody_is_let_in_and_nothing_fails(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Exhausted:
        def __init__(self, listener: socket.socket) -> None:
            self.fileno: Callable[[], int] = listener.fileno

        def accept(self) -> None:
            raise OSError(errno.EMFILE, "Too many open files")

    port = ProbePort(Exhausted(rig.listener), rig.answers.get)  # type: ignore[arg-type]
    with closing(socket.create_connection(rig.listener.getsockname(), timeout=10)):
        assert port.serve(10) is False
    assert port._clients == []


def test_a_wait_ends_when_another_descriptor_can_be_read(rig: Rig) -> None:
    ours, theirs = os.pipe()
    assert rig.port.serve(0, ours) is False
    os.close(theirs)
    assert rig.port.serve(None, ours) is True
    os.close(ours)
