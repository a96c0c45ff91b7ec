"""Wait for a push without taking the job: idle workers start at once and lose nothing."""

from __future__ import annotations

import os
import select
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from redis.connection import AbstractConnection
from redis.exceptions import RedisError

from django_jobqueue import clock
from django_jobqueue.exceptions import StoreUnavailable
from django_jobqueue.store.connections import TRUSTED, is_open
from django_jobqueue.store.keys import Keys
from django_jobqueue.store.link import Link

#: Seconds that one blocking command waits at the server.
BLOCK = 4

#: Seconds after which a blocking command without a reply means a dead connection.
SILENCE = BLOCK + 5.0


@dataclass(slots=True)
class _Watch:
    connection: AbstractConnection
    generation: int
    #: When the blocking command was sent, and when somebody looked for its reply.
    since: float = 0.0
    seen: float = 0.0
    asked: bool = False


@dataclass(slots=True)
class Waiter:
    """
    Peek at several queues at once, until one of them has a job.

    A queue's tail is moved onto itself (``BLMOVE q q RIGHT RIGHT``): that blocks
    while the queue is empty and changes nothing when it is not, so a reply that
    is lost loses no job. Each queue has a connection; one ``select`` waits for
    all of them and for ``wake``, which other threads write to.
    """

    _link: Link
    _keys: Keys
    _wake: int
    _watches: dict[str, _Watch] = field(default_factory=dict)

    def wait(self, queues: Sequence[str], timeout: float) -> list[str]:
        """
        Return the queues that have a job as soon as one has; none when woken or after ``timeout``.

        Seconds.

        Raises: StoreUnavailable when a connection is lost; StoreFull or
        StoreRefused when the server will not let us wait on some queue, in
        which case the caller polls.
        """
        for queue in queues:
            self._ask(queue)
        sockets = {self._socket(q): q for q in queues}
        ready: list[str] = []
        for descriptor in readable([self._wake, *sockets], timeout):
            if descriptor == self._wake:
                drain(self._wake)
            elif self._answer(sockets[descriptor]):
                ready.append(sockets[descriptor])
        self._find_silence(queues)
        return ready

    def close(self) -> None:
        """Close all connections; the server forgets that we waited."""
        for queue in list(self._watches):
            self._drop(queue)

    def _ask(self, queue: str) -> None:
        generation = self._link.generation
        watch = self._watches.get(queue)
        if watch is not None and watch.generation != generation:
            # Whatever made the others look anew: this one may wait where nobody pushes.
            self._drop(queue)
            watch = None
        if watch is not None and _is_stale(watch):
            self._drop(queue)
            watch = None
        if watch is not None and watch.asked:
            return
        try:
            if watch is None:
                watch = _Watch(self._link.connection(), generation)
                watch.connection.connect()
                self._watches[queue] = watch
            key = self._keys.queue(queue)
            watch.connection.send_command("BLMOVE", key, key, "RIGHT", "RIGHT", BLOCK)
        except (RedisError, OSError) as error:
            self._drop(queue)
            raise self._link.failed(error) from error
        watch.asked = True
        watch.since = watch.seen = clock.monotonic()

    def _answer(self, queue: str) -> bool:
        watch = self._watches[queue]
        watch.asked = False
        try:
            reply: Any = watch.connection.read_response()
        except (RedisError, OSError) as error:
            failed = self._link.failed(error)
            if isinstance(failed, StoreUnavailable):
                self._drop(queue)
            raise failed from error
        return reply is not None

    def _find_silence(self, queues: Sequence[str]) -> None:
        now = clock.monotonic()
        for queue in queues:  # others may have an answer that nobody has read
            watch = self._watches[queue]
            watch.seen = now
            if watch.asked and now - watch.since > SILENCE:
                self._drop(queue)
                raise self._link.failed(
                    StoreUnavailable(f"no reply for {SILENCE:g} s (Redis at {self._link.address})")
                )

    def _socket(self, queue: str) -> int:
        # redis-py takes its socket away when it closes, and does not say so in its types.
        sock: Any = self._watches[queue].connection._sock
        if sock is None:
            self._drop(queue)
            raise self._link.failed(
                StoreUnavailable(f"connection closed (Redis at {self._link.address})")
            )
        return int(sock.fileno())

    def _drop(self, queue: str) -> None:
        watch = self._watches.pop(queue, None)
        if watch is not None:
            watch.connection.disconnect()


def _is_stale(watch: _Watch) -> bool:
    """
    Return whether a connection may have ended while nobody looked: all threads were busy.

    If Redis was away meanwhile, others have told of that. The end of this connection,
    found only now, must not be news of another outage.
    """
    unseen = clock.monotonic() - watch.seen
    if watch.asked:  # what can be read is a reply or the end, and which, only reading tells
        return unseen > BLOCK
    return unseen > TRUSTED and not is_open(watch.connection)


def readable(descriptors: Sequence[int], timeout: float) -> list[int]:
    """Wait up to ``timeout`` seconds for descriptors, of any number: ``select`` ends at 1023."""
    poll = select.poll()
    for descriptor in descriptors:
        poll.register(descriptor, select.POLLIN)
    return [descriptor for descriptor, _ in poll.poll(max(0.0, timeout) * 1000)]


def drain(descriptor: int) -> None:
    """Read all that was written to a non-blocking wake-up pipe."""
    try:
        while os.read(descriptor, 4096):
            pass
    except BlockingIOError:
        pass
