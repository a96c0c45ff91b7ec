"""
A network that fails on demand, between a client and its server.

Everything that a wire can do to a Redis connection without iptables: silence, a
slow line, cut and refused connections, answers that never arrive.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import socket
import struct
import threading
from collections.abc import Callable, Coroutine, Iterator
from types import TracebackType
from typing import Any, Literal, Self, TypeVar
from urllib.parse import urlsplit, urlunsplit

import hiredis

T = TypeVar("T")

#: Which way bytes go: what the client asks, or what the server answers.
Direction = Literal["request", "reply"]

#: Bytes read at once.
_CHUNK = 65536

#: Commands of a client that has just connected.
_GREETINGS = frozenset((b"AUTH", b"HELLO", b"SELECT", b"CLIENT"))

#: Close with a reset, at once, and forget what was not sent.
_LINGER_NOT = struct.pack("ii", 1, 0)


class TcpProxy:
    """
    A proxy in front of ``upstream`` (a ``redis://`` or ``unix://`` URL).

    Clients use ``url``. The proxy passes everything until told otherwise; a mode
    holds until the next mode, and is in force when its method returns. Methods may
    be called from any thread.

    Bytes that were dropped cannot come back: a connection which a mode has made
    mute stays mute after ``pass_through``, as on a real line whose peer is gone.
    New connections are whole again.
    """

    def __init__(self, upstream: str) -> None:
        self._upstream = urlsplit(upstream)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._listener: asyncio.Server | None = None
        self._links: set[_Link] = set()
        self._mode = _Mode()
        self._port = 0
        self._accepted = 0
        self._hits = 0
        self._answered = 0

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def url(self) -> str:
        """The URL of the upstream with the proxy's address in it."""
        path = "" if self._upstream.scheme == "unix" else self._upstream.path
        credentials, at, _ = self._upstream.netloc.rpartition("@")
        address = f"{credentials}{at}127.0.0.1:{self._port}"
        return urlunsplit(("redis", address, path, self._upstream.query, ""))

    @property
    def port(self) -> int:
        """The port of the proxy on 127.0.0.1."""
        return self._port

    @property
    def accepted(self) -> int:
        """How many connections were accepted so far."""
        return self._accepted

    @property
    def hits(self) -> int:
        """How many connections ``swallow_replies(to=...)`` has made mute or ``cut_after`` cut."""
        return self._hits

    @property
    def answered(self) -> int:
        """How many commands ``answer`` has answered since it was called last."""
        return self._answered

    @property
    def open_connections(self) -> int:
        """How many connections stand now."""
        return len(self._links)

    def start(self) -> None:
        """Listen on a free port."""
        self._thread.start()
        self._call(self._listen)

    def close(self) -> None:
        """Cut everything and stop. Idempotent."""
        if self._loop.is_closed():
            return
        if self._thread.is_alive():
            self._call(self._shut)
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
        self._loop.close()

    # Modes ------------------------------------------------------------------

    def pass_through(self) -> None:
        """Pass everything, and listen again if connections were refused."""
        self._set(_Mode())

    def black_hole(self) -> None:
        """Take connections and bytes, and let nothing out on either side: no answer, no FIN."""
        self._set(_Mode(silences=frozenset(("request", "reply"))))

    def delay(self, seconds: float, chunk: int = _CHUNK) -> None:
        """
        Hold every piece for ``seconds``, in each direction, and pass it on in its order.

        A request whose client has given up in the meantime still arrives.
        ``chunk`` bounds the bytes of a piece: 1 makes every read a single byte.
        """
        self._set(_Mode(delay=seconds, chunk=chunk))

    def swallow_replies(self, to: bytes = b"", times: int | None = None) -> None:
        """
        Deliver requests and drop what the server answers.

        ``to``: only from the first request on whose bytes contain it, a connection
        at a time; other connections are not touched. ``times``: so many
        connections are made mute, then the mode is over.
        """
        silences: frozenset[Direction] = frozenset() if to else frozenset(("reply",))
        self._set(_Mode(silences=silences, swallow_to=to, swallow_times=times))

    def cut_after(self, count: int, direction: Direction = "request") -> None:
        """
        Pass ``count`` more bytes of a direction, cut the connection there, then pass again.

        The bytes are counted over all connections; the one that reaches the count
        is cut. The receiver gets exactly these bytes and then the end.
        """
        self._set(_Mode(cut_direction=direction, cut_budget=count))

    def answer(self, *errors: str) -> None:
        """
        Answer each command by the next of these errors, round and round, and deliver none.

        Not of a client that greets: who it is, and which database it wants. ``answered``
        tells how many commands it were.
        """
        replies = (b"-" + error.encode() + b"\r\n" for error in itertools.cycle(errors))
        self._answered = 0
        self._set(_Mode(errors=replies))

    def refuse(self) -> None:
        """Cut what stands and refuse new connections: the server is down."""
        self._set(_Mode(refuses=True))
        self.cut_all()

    def cut_all(self) -> int:
        """Reset every connection that stands; return how many. The mode stays."""
        return self._call(self._cut_all)

    def half_close_all(self) -> int:
        """Tell every client that the server has ended (FIN); it may still send. Return how many."""
        return self._call(self._half_close_all)

    # In the loop ------------------------------------------------------------

    def _set(self, mode: _Mode) -> None:
        self._call(lambda: self._enter(mode))

    async def _enter(self, mode: _Mode) -> None:
        self._mode = mode
        for link in self._links:
            link.mute |= mode.silences
        if mode.refuses and self._listener is not None:
            self._listener.close()
            self._listener = None
        elif not mode.refuses and self._listener is None:
            await self._listen()

    async def _listen(self) -> None:
        self._listener = await asyncio.start_server(
            self._accept, "127.0.0.1", self._port, reuse_address=True
        )
        self._port = self._listener.sockets[0].getsockname()[1]

    async def _shut(self) -> None:
        if self._listener is not None:
            self._listener.close()
        links = list(self._links)
        await self._cut_all()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        if tasks:  # who reads finds the end; who holds bytes back would sleep on
            _, tasks = await asyncio.wait(tasks, timeout=0.2)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for link in links:
            await link.close()

    async def _cut_all(self) -> int:
        links = list(self._links)
        for link in links:
            link.cut()
        return len(links)

    async def _half_close_all(self) -> int:
        links = list(self._links)
        for link in links:
            link.half_close()
        return len(links)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._accepted += 1
        try:
            server_reader, server_writer = await self._connect()
        except OSError:  # the server is down: the client learns it by a closed connection
            writer.transport.abort()
            return
        link = _Link(writer, server_writer, set(self._mode.silences))
        self._links.add(link)
        await asyncio.gather(
            self._pump(link, "request", reader, server_writer),
            self._pump(link, "reply", server_reader, writer),
        )
        self._links.discard(link)
        await link.close()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._upstream.scheme == "unix":
            return await asyncio.open_unix_connection(self._upstream.path)
        return await asyncio.open_connection(self._upstream.hostname, self._upstream.port)

    async def _pump(
        self,
        link: _Link,
        direction: Direction,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        """Carry bytes one way until the sender is done or the connection is cut."""
        before = b""
        while data := await _read(reader):
            mode = self._mode
            for piece in mode.pieces(data):
                await asyncio.sleep(mode.delay)
                if direction == "request":
                    before = self._silence_answer(link, mode, before, piece)
                    if mode.errors is not None:
                        piece = await self._answer(link, mode.errors, piece)
                if direction in link.mute:
                    continue
                passed, is_cut = mode.budgeted(direction, piece)
                if not await _send(writer, passed):
                    link.cut()
                    return
                if is_cut:
                    self._hits += 1
                    self._mode = _Mode()
                    link.cut_behind(writer)
                    return
        await asyncio.sleep(self._mode.delay)
        if direction not in link.mute:
            _send_end(writer)

    def _silence_answer(self, link: _Link, mode: _Mode, before: bytes, data: bytes) -> bytes:
        """
        Make the link mute when a request holds the bytes that ``swallow_replies`` waits for.

        Returns the end of what was seen, because a request may come in two reads.
        """
        if not mode.swallow_to or mode.swallow_times == 0:
            return b""
        seen = before + data
        if mode.swallow_to in seen:
            link.mute.add("reply")
            self._hits += 1
            if mode.swallow_times is not None:
                mode.swallow_times -= 1
            return b""
        return seen[-(len(mode.swallow_to) - 1) :] if len(mode.swallow_to) > 1 else b""

    async def _answer(self, link: _Link, errors: Iterator[bytes], data: bytes) -> bytes:
        """Answer the commands that end in ``data``, and return those that pass."""
        passed = b""
        for words in link.commands(data):
            if words[0].upper() in _GREETINGS:
                passed += b"*%d\r\n" % len(words)
                passed += b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in words)
            else:
                self._answered += 1
                await _send(link.client, next(errors))
        return passed

    def _call(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        return asyncio.run_coroutine_threadsafe(work(), self._loop).result(timeout=10)


class _Mode:
    """What the proxy does now; a new one replaces the old one whole."""

    def __init__(
        self,
        *,
        silences: frozenset[Direction] = frozenset(),
        delay: float = 0.0,
        chunk: int = _CHUNK,
        swallow_to: bytes = b"",
        swallow_times: int | None = None,
        cut_direction: Direction = "request",
        cut_budget: int | None = None,
        refuses: bool = False,
        errors: Iterator[bytes] | None = None,
    ) -> None:
        self.silences = silences
        self.delay = delay
        self.chunk = chunk
        self.swallow_to = swallow_to
        self.swallow_times = swallow_times
        self.cut_direction = cut_direction
        self.cut_budget = cut_budget
        self.refuses = refuses
        self.errors = errors

    def pieces(self, data: bytes) -> list[bytes]:
        """Cut ``data`` into what is passed on at once."""
        return [data[at : at + self.chunk] for at in range(0, len(data), self.chunk)]

    def budgeted(self, direction: Direction, data: bytes) -> tuple[bytes, bool]:
        """Return what may still pass of ``data``, and whether the connection is cut after it."""
        if self.cut_budget is None or direction != self.cut_direction:
            return data, False
        passed = data[: self.cut_budget]
        self.cut_budget -= len(passed)
        return passed, self.cut_budget == 0


class _Link:
    """One client's connection with its connection to the server."""

    def __init__(
        self,
        client: asyncio.StreamWriter,
        server: asyncio.StreamWriter,
        mute: set[Direction],
    ) -> None:
        self.mute = mute
        self.client = client
        self._reader = hiredis.Reader()
        self._server = server

    def cut(self) -> None:
        """Reset both sides."""
        for writer in (self.client, self._server):
            _abort(writer)

    def commands(self, data: bytes) -> list[list[bytes]]:
        """Return the commands that end in ``data``, each as its words."""
        self._reader.feed(data)
        return list(iter(self._reader.gets, False))

    def half_close(self) -> None:
        """Send the client nothing more, not even an answer that is on its way, and end that way."""
        self.mute.add("reply")
        _send_end(self.client)

    def cut_behind(self, receiver: asyncio.StreamWriter) -> None:
        """Let the receiver read what it was sent and then the end; reset the other side."""
        other = self._server if receiver is self.client else self.client
        _abort(other)
        receiver.close()

    async def close(self) -> None:
        """Close both sides in good order, and wait until they are."""
        for writer in (self.client, self._server):
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()


def _abort(writer: asyncio.StreamWriter) -> None:
    if writer.transport.is_closing():
        return
    sock = writer.get_extra_info("socket")
    if sock is not None and sock.family in (socket.AF_INET, socket.AF_INET6):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOT)
    writer.transport.abort()


async def _read(reader: asyncio.StreamReader) -> bytes:
    """Read what is there; a reset is an end as any other."""
    try:
        return await reader.read(_CHUNK)
    except OSError:
        return b""


async def _send(writer: asyncio.StreamWriter, data: bytes) -> bool:
    """Send; False when nobody is there any more."""
    try:
        writer.write(data)
        await writer.drain()
    except OSError:
        return False
    return True


def _send_end(writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        writer.write_eof()
