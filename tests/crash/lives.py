"""One life after the other: forked, killed at a point, declared dead, and finished by another."""

from __future__ import annotations

import gc
import logging
import os
import random
import shutil
import signal
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, Self

from django.core.management import call_command

from django_jobqueue.management.commands import runjobs
from django_jobqueue.worker import launcher
from django_jobqueue.worker.boot import make_identity, new_nonce
from tests.acceptance.site import Site
from tests.crash import audit
from tests.crash.fuse import Call, Fuse, Point, hook, read_trace
from tests.crash.sabotage import Sabotage
from tests.crash.scripts import FirstLife, SecondLife
from tests.crash.worker import Worker, threaded
from tests.crash.world import CHILD, QUEUES, World, make_template
from tests.support import procfs
from tests.support.polling import wait_until
from tests.support.server import RedisServer

#: Seconds that a life may take on a machine that is busy.
LIFE = 120

#: Seconds until the next act of others, where a worker lives with all its threads.
NEXT_ACT = 0.5

#: What every worker would import by itself, each time anew.
LATE_IMPORTS = (
    "django.core.cache.backends.locmem",
    "django_jobqueue.middleware.database",
    "django_jobqueue.middleware.logging",
    "django_jobqueue.reconciliation.run",
)


@dataclass(slots=True)
class Verdict:
    """
    What came of one life, killed at a point, and of the next one where it was killed ``then``.

    ``call`` is the last step that somebody was killed at, None where none came so far.
    """

    point: Point | None
    call: Call | None = None
    then: Point | None = None
    wrong: list[str] = field(default_factory=list)
    double_starts: int = 0
    double_finishes: int = 0

    @property
    def where(self) -> str:
        """The moment of the crash, for people."""
        if self.point is None:
            return "no crash"
        return str(self.point) if self.then is None else f"{self.point}, and then {self.then}"

    def __str__(self) -> str:
        called = f": {self.call.name}" if self.call else ""
        return "\n    ".join([f"{self.where}{called}", *self.wrong])


class Lives:
    """
    Lives the scripted life as often as asked, each in a world of its own on one server.

    This process has booted Django, and every worker is a fork of it; ``fault`` is done in
    each fork before it lives. A context manager.
    """

    def __init__(
        self,
        server: RedisServer,
        directory: Path,
        *,
        seed: int = 0,
        fault: Callable[[], None] | None = None,
    ) -> None:
        self._server = server
        self._directory = directory
        self._seed = seed
        self._fault = fault
        self._number = 0
        self._template = directory / "template.sqlite3"

    def __enter__(self) -> Self:
        self._directory.mkdir(parents=True, exist_ok=True)
        make_template(self._template)
        for module in LATE_IMPORTS:
            import_module(module)
        gc.freeze()
        return self

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self._directory, ignore_errors=True)

    def calls(self) -> list[Call]:
        """Return the steps of a life that nobody kills. Raises: AssertionError for a bad one."""
        verdict, calls = self._uncrashed()
        assert not verdict.wrong, str(verdict)
        return calls

    def find(self, sabotage: Sabotage) -> Verdict | None:
        """Return the first life that shows a fault, of those that may show it; None for none."""
        _, calls = self._uncrashed()  # it may be bad even so
        for call in calls:
            for point in call.points() if sabotage.may_show_at(call.name) else ():
                verdict = self.live(point)
                if verdict.call is not None and sabotage.explains(verdict.wrong):
                    return verdict
        return None

    def live(self, point: Point) -> Verdict:
        """Live once, with a crash at a point; then the second worker, and the books."""
        with self._world() as world:
            return self._live(world, point)

    def live_twice(self, point: Point, then: Point) -> Verdict:
        """Live once, with a crash at a point, and another one of the worker that comes after."""
        with self._world() as world:
            return self._live(world, point, then)

    def live_threaded(self, points: Sequence[Point]) -> list[Verdict]:
        """Live once for each point, all at the same time, with all threads of a worker."""
        with ExitStack() as worlds:
            lives = []
            for point in points:
                world = worlds.enter_context(self._world())
                victim, pid = self._fork(world, partial(_live_threaded, world, point))
                lives.append((world, point, victim, pid))
            neighbours = [Neighbour(world) for world, *_ in lives]
            verdicts = []
            for world, point, victim, pid in lives:
                status = _wait_among(neighbours, pid)
                with world.entered():
                    verdicts.append(self._conclude(world, point, victim, status))
            return verdicts

    def live_supervised(self, points: Sequence[Point]) -> list[Verdict]:
        """
        Live once for each point, all at the same time, by ``runjobs``.

        Its first child dies at the point, its second one finishes everything.
        """
        with ExitStack() as worlds:
            lives = []
            for point in points:
                world = worlds.enter_context(self._world())
                world.declare_dead(CHILD)
                _, pid = self._fork(world, partial(_run_jobs, world, point))
                worlds.callback(_kill_all, pid)
                lives.append((world, point, pid))
            neighbours = [Neighbour(world) for world, *_ in lives]
            return [_judge_supervised(*life, neighbours) for life in lives]

    def _uncrashed(self) -> tuple[Verdict, list[Call]]:
        """Live twice without a crash: the first time also teaches the server the scripts."""
        for _ in range(2):
            with self._world() as world:
                verdict = self._live(world, None)
                calls = read_trace(world.trace)
        return verdict, calls

    def _live(self, world: World, point: Point | None, then: Point | None = None) -> Verdict:
        victim, pid = self._fork(world, partial(_live_by_hand, world, point))
        with world.entered():
            return self._conclude(world, point, victim, _wait(pid), then)

    def _conclude(
        self, world: World, point: Point | None, victim: str, status: int, then: Point | None = None
    ) -> Verdict:
        """
        Look at what a dead worker has left, have another one finish it, and look again.

        ``then`` is where that one is killed in its turn, and a third one finishes.
        """
        verdict = Verdict(point)
        crashes: list[audit.Crash] = []
        if not self._bury(world, verdict, crashes, victim, status):
            return verdict
        if then is not None:
            world.trace.unlink()
            verdict.then, verdict.call = then, None
            victim, pid = self._fork(world, partial(_finish_by_hand, world, then))
            if not self._bury(world, verdict, crashes, victim, _wait(pid)):
                return verdict
        _, pid = self._fork(world, partial(_finish_by_hand, world, None))
        if _wait(pid) != 0:
            verdict.wrong.append(f"the next worker failed\n{_told(world.log)}")
            return verdict
        end = audit.look(world)
        verdict.wrong += audit.at_the_end(world, crashes, end)
        verdict.double_starts = audit.lost_starts(world, crashes).total()
        verdict.double_finishes = _more_finishes(end)
        return verdict

    def _bury(
        self,
        world: World,
        verdict: Verdict,
        crashes: list[audit.Crash],
        victim: str,
        status: int,
    ) -> bool:
        """Look at what a process has left, and declare it dead; return whether it ended well."""
        killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
        if not killed and os.waitstatus_to_exitcode(status) != 0:
            verdict.wrong.append(f"the worker failed\n{_told(world.log)}")
            return False
        if killed:
            verdict.call = _call_at(world, verdict.then or verdict.point)
        scene = audit.look(world)
        verdict.wrong += audit.at_the_crash(world, scene)
        crashes.append(audit.Crash(scene, victim))
        world.turn_off()
        world.declare_dead(victim, CHILD)
        return True

    def _fork(self, world: World, live: Callable[[str], int]) -> tuple[str, int]:
        """Begin a process; return the identity that its worker has, and its pid."""
        nonce = new_nonce()
        with world.entered():
            world.ready_to_fork()
            pid = os.fork()
            if pid == 0:
                _become(world, lambda: self._changed(live, make_identity(os.getpid(), nonce)))
        return make_identity(pid, nonce), pid

    def _changed(self, live: Callable[[str], int], identity: str) -> int:
        random.seed(self._seed)
        if self._fault is not None:
            self._fault()
        return live(identity)

    @contextmanager
    def _world(self) -> Iterator[World]:
        self._number += 1
        directory = self._directory / str(self._number)
        with Site(self._server, directory) as site:
            world = World(site, directory, self._template)
            with world.entered():
                world.fill()
            yield world
        shutil.rmtree(directory)


class Neighbour:
    """What others do at a place while a worker with all its threads lives there."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._began = time.monotonic()
        self._acts = [world.push_late, world.turn_off]

    def act(self) -> None:
        """Do what is due."""
        self._world.ripen()
        if self._acts and time.monotonic() - self._began > NEXT_ACT:
            self._began = time.monotonic()
            self._acts.pop(0)()

    def is_at(self, world: World) -> bool:
        """Whether this is the one there."""
        return self._world is world

    @property
    def has_acted(self) -> bool:
        """Whether there is nothing more to come."""
        return not self._acts


# In the forks -----------------------------------------------------------------------


def _live_by_hand(world: World, point: Point | None, identity: str) -> int:
    fuse = Fuse(world.trace, point)
    worker = Worker(identity, FirstLife(world, fuse))
    fuse.arm()
    return worker.run()


def _finish_by_hand(world: World, point: Point | None, identity: str) -> int:
    fuse = Fuse(world.trace, point)
    worker = Worker(identity, SecondLife(world, identity, fuse))
    if point is not None:
        fuse.arm()
    return worker.run()


def _live_threaded(world: World, point: Point, identity: str) -> int:
    worker = threaded(identity)
    Fuse(world.trace, point).arm()
    return worker.run()


def _run_jobs(world: World, point: Point, identity: str) -> int:
    """Be a supervisor whose first child has the fuse."""
    real = launcher.run_child

    def run_child(*wiring: Any) -> int:
        if not world.trace.exists():
            Fuse(world.trace, point).arm()
        return real(*wiring)

    hook(runjobs, "run_child", run_child)
    queues = [word for name in QUEUES for word in ("-q", name)]
    call_command("runjobs", *queues, "-c", "3", "--async-concurrency", "2", "--strict", "-v", "0")
    return 0


def _become(world: World, live: Callable[[], int]) -> None:
    """Be the worker, and nothing else: what is of the parent does not run in the child."""
    code = 70
    try:
        os.setsid()
        signal.alarm(2 * LIFE)  # one that hangs shows by this signal
        log = os.open(world.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        for descriptor in (1, 2):
            os.dup2(log, descriptor)
        os.environ["JOBQUEUE_TEST_JOURNAL"] = str(world.site.journal.path)
        logging.basicConfig(level=logging.WARNING, force=True, stream=sys.stderr)
        code = live()
    except BaseException:
        traceback.print_exc()
    finally:
        logging.shutdown()
        os._exit(code)


# In the parent ------------------------------------------------------------------------


def _wait(pid: int) -> int:
    """Wait for the end of a child, and return how it ended."""
    return os.waitpid(pid, 0)[1]


def _wait_among(neighbours: Sequence[Neighbour], pid: int) -> int:
    """Wait for the end of a child while others act, and return how it ended."""

    def ended() -> tuple[int] | None:
        for neighbour in neighbours:
            neighbour.act()
        found, status = os.waitpid(pid, os.WNOHANG)
        return (status,) if found else None

    return wait_until(ended, LIFE, f"the end of process {pid}")[0]


def _judge_supervised(
    world: World, point: Point, pid: int, neighbours: Sequence[Neighbour]
) -> Verdict:
    """Wait until ``runjobs`` has nothing more to do, stop it, and look."""
    (mine,) = [neighbour for neighbour in neighbours if neighbour.is_at(world)]

    def is_over() -> bool:
        for neighbour in neighbours:
            neighbour.act()
        call = _call_at(world, point)
        return mine.has_acted and call is not None and not world.left_to_do()

    verdict = Verdict(point)
    try:
        wait_until(is_over, LIFE, lambda: f"an end: {world.left_to_do()}")
    except AssertionError as error:
        verdict.wrong.append(f"{error}\n{_told(world.log)}")
        return verdict
    verdict.call = _call_at(world, point)
    os.kill(pid, signal.SIGTERM)
    if _wait(pid) != 0:
        verdict.wrong.append(f"runjobs failed\n{_told(world.log)}")
    end = audit.look(world)
    verdict.wrong += audit.after_a_supervised_crash(world, end)
    verdict.double_starts = audit.more_starts(world, end).total()
    verdict.double_finishes = _more_finishes(end)
    return verdict


def _more_finishes(end: audit.Scene) -> int:
    """Return how often jobs have finished once more."""
    return (end.finishes - Counter(end.finishes.keys())).total()


def _kill_all(pid: int) -> None:
    """Kill what is left of a session."""
    procfs.kill_session(pid)


def _call_at(world: World, point: Point | None) -> Call | None:
    """Return the step at a point; None where no process has come so far."""
    if point is None:
        return None
    return next((call for call in read_trace(world.trace) if call.number == point.number), None)


def _told(log: Path) -> str:
    """Return the last words of a worker."""
    return log.read_text(errors="replace")[-3000:] if log.exists() else ""
