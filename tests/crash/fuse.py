"""A hook on every call to Redis: it counts them, and kills the process at one of them."""

from __future__ import annotations

import itertools
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from django.db.backends.signals import connection_created

from django_jobqueue.store.link import Link
from django_jobqueue.store.waiter import Waiter
from tests.support.journal import Journal

T = TypeVar("T")

#: When a process dies: before a call, after it (its reply unread), or between two commands of it.
BEFORE, AFTER, WITHIN = "before", "after", "within"

#: What is a step as well, beside the calls to Redis.
MARK, SQL = "mark", "sql"


@dataclass(frozen=True, slots=True)
class Point:
    """One moment to die at: a step by its number from 1; ``cut``: the commands that still run."""

    number: int
    when: str
    cut: int = 0

    def __str__(self) -> str:
        behind = f" behind {self.cut} of its commands" if self.when == WITHIN else ""
        return f"crash {self.when} call {self.number}{behind}"


@dataclass(frozen=True, slots=True)
class Call:
    """One step that a process took; ``size`` is the number of commands that were sent together."""

    number: int
    name: str
    size: int

    def points(self) -> list[Point]:
        """
        Return the moments to die at.

        That before it is not among them: where one thread takes every step, it is the
        moment after the step before.
        """
        # Of a transaction nothing is done before its last word.
        first = self.size - 1 if self.name.startswith("MULTI") else 1
        cuts = [Point(self.number, WITHIN, cut) for cut in range(first, self.size)]
        return [*cuts, Point(self.number, AFTER)]


def moments(calls: Sequence[Call]) -> list[Point]:
    """Return every moment of a life that differs from the one before it."""
    return [Point(1, BEFORE), *(point for call in calls for point in call.points())]


class Fuse:
    """
    Writes down every step of this process, and kills it at one of them by SIGKILL.

    For a process that was forked to be killed: what it hooks stays hooked.
    """

    def __init__(self, trace: Path, point: Point | None) -> None:
        self._trace = os.open(trace, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self._point = point
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self._here = threading.local()
        self._databases: list[Any] = []

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Count nothing of this thread: somebody else does it."""
        before = getattr(self._here, "aside", False)
        self._here.aside = True
        try:
            yield
        finally:
            self._here.aside = before

    def arm(self) -> None:
        """Begin to count."""
        self._hook_link()
        self._hook_waiter()
        self._hook_journal()
        connection_created.connect(self._hook_database, weak=False)

    def _hook_link(self) -> None:
        send: Any = Link._send
        script: Any = Link.script
        fuse = self

        def named(link: Link, name: str, keys: Sequence[Any], arguments: Sequence[Any]) -> Any:
            fuse._here.verb = name
            return script(link, name, keys, arguments)

        def counted(link: Link, commands: Sequence[Sequence[Any]]) -> Any:
            names = "+".join(fuse._name(command) for command in commands)
            # The replies are read: only then it is certain that Redis has done it.
            return fuse.step(names, len(commands), lambda size: send(link, commands[:size]))

        hook(Link, "_send", counted)
        hook(Link, "script", named)

    def _hook_waiter(self) -> None:
        ask: Any = Waiter._ask
        answer: Any = Waiter._answer
        fuse = self

        def counted_ask(waiter: Waiter, queue: str) -> None:
            watch = waiter._watches.get(queue)
            if watch is not None and watch.asked:
                ask(waiter, queue)
            else:
                fuse.step("BLMOVE", 1, lambda size: ask(waiter, queue))

        def counted_answer(waiter: Waiter, queue: str) -> Any:
            return fuse.step("BLMOVE answers", 0, lambda size: answer(waiter, queue))

        hook(Waiter, "_ask", counted_ask)
        hook(Waiter, "_answer", counted_answer)

    def _hook_journal(self) -> None:
        write: Any = Journal._write
        fuse = self

        def counted(journal: Journal, mark: str, jid: str, ident: object) -> None:
            word = {"S": "starts", "F": "ends"}[mark]
            fuse.step(f"{MARK} {ident} {word}", 0, lambda size: write(journal, mark, jid, ident))

        hook(Journal, "_write", counted)

    def _hook_database(self, *, connection: Any, **_: Any) -> None:
        def counted(
            execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any
        ) -> Any:
            words = sql.split(None, 3)
            if words[0] not in ("INSERT", "UPDATE", "DELETE", "COMMIT"):
                return execute(sql, params, many, context)
            name = f"{SQL} {' '.join(words[: 2 if words[0] == 'UPDATE' else 3])}"
            return self.step(name, 0, lambda size: execute(sql, params, many, context))

        # A connection that is opened anew keeps what was hooked before.
        if connection not in self._databases:
            self._databases.append(connection)
            connection.execute_wrappers.append(counted)

    def step(self, name: str, size: int, act: Callable[[int], T]) -> T:
        """Do one step, whole or in part, and die of it if it is the one."""
        if getattr(self._here, "aside", False):
            return act(size)
        with self._lock:
            number = next(self._numbers)
            os.write(self._trace, f"{number}\t{size}\t{name}\n".encode())
        point = self._point
        if point is None or point.number != number:
            return act(size)
        if point.when == WITHIN:
            act(min(point.cut, size))
        elif point.when == AFTER:
            act(size)
        os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(60)  # the signal comes before that
        raise AssertionError("SIGKILL did not kill")

    def _name(self, command: Sequence[Any]) -> str:
        word = str(command[0])
        if word in ("EVALSHA", "EVAL"):
            return f"{word} {self._here.verb}"
        return word


def hook(owner: Any, name: str, act: Callable[..., Any]) -> None:
    """Put something in the place of a method or function, for the rest of this process."""
    setattr(owner, name, act)


def read_trace(trace: Path) -> list[Call]:
    """Return the steps that a process took."""
    if not trace.exists():
        return []
    lines = (line.split("\t") for line in trace.read_text().splitlines())
    return [Call(int(number), name, int(size)) for number, size, name in lines]
