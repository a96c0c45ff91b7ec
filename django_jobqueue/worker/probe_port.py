"""A port that answers two questions over HTTP, and that nobody can keep busy."""

from __future__ import annotations

import contextlib
import re
import select
import socket
from collections.abc import Callable, Sequence
from http import HTTPStatus

from django_jobqueue import clock
from django_jobqueue.exceptions import BootError

#: Clients at a time. One more puts out who has kept us waiting longest: a probe says at once what
#: it wants, and is not to wait for those that say nothing.
MAX_CLIENTS = 32

#: Bytes of a request, and seconds for it to come. What is larger or slower is no probe.
MAX_REQUEST = 4_096
PATIENCE = 5.0

#: Says whether the answer to the question of this name is yes, and why not; None: no such question.
Answer = Callable[[str], tuple[bool, bytes] | None]


def parse_address(text: str) -> tuple[str, int]:
    """
    Read ``PORT``, ``ADDRESS:PORT`` or ``[IPv6]:PORT``; without an address it is 127.0.0.1.

    Raises: BootError.
    """
    found = re.fullmatch(r"(?:(?:\[([^\]]+)\]|([^:\[\]]+)):)?([0-9]{1,5})", text)
    if found is None or int(found[3]) > 65_535:
        raise BootError(f"--probe-port {text!r}: write PORT or ADDRESS:PORT, as in 127.0.0.1:8080")
    return found[1] or found[2] or "127.0.0.1", int(found[3])


def listen(address: str, port: int) -> socket.socket:
    """Return a socket that listens there. Raises: BootError."""
    try:
        family, kind, protocol, _, where = socket.getaddrinfo(
            address, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        made = socket.socket(family, kind, protocol)
        try:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            made.bind(where)
            made.listen(MAX_CLIENTS)
            made.setblocking(False)
        except OSError:
            made.close()
            raise
    except OSError as error:
        raise BootError(
            f"--probe-port: cannot listen on {address} port {port}: {error.strerror}"
        ) from error
    return made


class _Client:
    """A connection whose request has not come in full."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.request = b""
        self.until = clock.monotonic() + PATIENCE

    def fileno(self) -> int:
        return self.connection.fileno()


class ProbePort:
    """
    Answers GET and HEAD of ``/NAME``: 200 for yes, 503 for no; 404 for other names.

    One request a connection; nobody is waited for.
    """

    def __init__(self, listener: socket.socket, answer: Answer) -> None:
        self._listener = listener
        self._answer = answer
        self._clients: list[_Client] = []

    def serve(self, timeout: float | None, *others: int) -> bool:
        """
        Serve who is there, or wait at most ``timeout`` seconds for somebody.

        Returns True as soon as one of the other descriptors can be read.
        """
        watched: Sequence[_Client | socket.socket | int] = [
            *others, self._listener, *self._clients,
        ]  # fmt: skip
        if self._clients:
            timeout = min(PATIENCE, PATIENCE if timeout is None else timeout)
        ready, _, _ = select.select(watched, [], [], timeout)
        now = clock.monotonic()
        for client in list(self._clients):
            is_over = self._hear(client) if client in ready else now >= client.until
            if is_over:
                self._clients.remove(client)
                client.connection.close()
        if self._listener in ready:
            self._accept()
        return any(other in ready for other in others)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # gone again, or no descriptor is left for it
            connection, _ = self._listener.accept()
            connection.setblocking(False)
            if len(self._clients) >= MAX_CLIENTS:
                self._clients.pop(0).connection.close()
            self._clients.append(_Client(connection))

    def _hear(self, client: _Client) -> bool:
        """Read what came and answer a request that is complete; return whether that was all."""
        try:
            said = client.connection.recv(MAX_REQUEST)
            client.request += said
            is_complete = re.search(rb"\r?\n\r?\n", client.request) is not None
            if not is_complete and said and len(client.request) < MAX_REQUEST:
                return False
            # So little fits into the system's buffer, and so it is sent without a wait.
            client.connection.send(self._reply(client.request if is_complete else b""))
        except BlockingIOError:
            return False
        except OSError:
            pass  # it hung up
        return True

    def _reply(self, request: bytes) -> bytes:
        found = re.match(rb"(GET|HEAD) /([a-z]{0,20})/?(?:\?\S*)? HTTP/1\.[01]\r?\n", request)
        if found is None:
            is_get = re.match(rb"(GET|HEAD) \S+ HTTP/1\.[01]\r?\n", request)
            status, body = HTTPStatus.NOT_FOUND if is_get else HTTPStatus.BAD_REQUEST, b"{}"
        elif (answer := self._answer(found[2].decode())) is None:
            status, body = HTTPStatus.NOT_FOUND, b"{}"
        else:
            status = HTTPStatus.OK if answer[0] else HTTPStatus.SERVICE_UNAVAILABLE
            body = answer[1]
        head = (
            f"HTTP/1.1 {status.value} {status.phrase}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n"
        )
        return head.encode() + (b"" if request.startswith(b"HEAD ") else body)
