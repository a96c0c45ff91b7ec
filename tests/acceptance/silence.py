"""
Stories of silence that is longer than a lease, and who tells them.

Each waits for a lease of 15 s, the shortest there is, and then as long again to see
that nothing happens. So they all happen at once, beside the other acceptance tests, and
in a process of their own: ``python -m tests.acceptance.silence DIRECTORY``.
"""

from __future__ import annotations

import os
import re
import signal
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import django

from django_jobqueue.payload import Payload
from tests.acceptance.site import LEASE, SOON, Site, count_lines, elapse, payload, tell
from tests.jobsite.jobs import GilJob, NoopJob, SleepJob, WaitJob
from tests.support import procfs
from tests.support.polling import wait_until
from tests.support.processes import Process
from tests.support.reaper import reaper
from tests.support.server import RedisServer

Story = Callable[[Path], None]

#: Seconds in which a process whose lease has ended is looked for at least once, and some more.
LOOK = 12.0

#: The file with the figures of a story.
NOTES = "notes"

#: Share of a CPU that five jobs take which look for a file a hundred times a second.
BUSY_WAIT = 0.05


@contextmanager
def place(directory: Path, **config: object) -> Iterator[Site]:
    """A site on a server of the story's own."""
    with RedisServer(config) as server, Site(server, directory) as site:
        yield site


def note(site: Site, text: str) -> None:
    """Write a figure down, for who hears the end of the story."""
    with site.journal.path.with_name(NOTES).open("a") as notes:
        notes.write(f"{text}\n")


def news(site: Site) -> dict[str, tuple[int, int]]:
    """Return how often each process said that Redis was away and back, by its pid."""
    away = Counter(re.findall(r"\S+ \S+ (\d+) ERROR Redis is away", site.output()))
    back = Counter(re.findall(r"\S+ \S+ (\d+) WARNING Redis back", site.output()))
    return {pid: (away[pid], back[pid]) for pid in away | back}


def cpu_seconds(pid: str) -> float:
    """Return the seconds of CPU time that a process has had."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def everybody(site: Site) -> set[str]:
    """Return the pids of all supervisors and children, as the log has them."""
    return {str(pid) for worker in site.workers for pid in (worker.pid, *worker.children())}


# The stories -------------------------------------------------------------------------


def frozen_past_its_lease(directory: Path) -> None:
    """SIGSTOP of a child for longer than its lease, and SIGCONT when others have its jobs."""
    with place(directory) as site:
        idents = [f"job{number}" for number in range(1500)]
        site.push_all(payload(SleepJob, ident, 0.02) for ident in idents)
        zombie = site.run_ready("--concurrency", "5")
        (child,) = zombie.children()
        identity = site.identity(child)

        def freeze() -> dict[str, bool] | None:
            """Stop it, and return whether each job that it holds has started, if it is of use."""
            os.kill(child, signal.SIGSTOP)
            wait_until(lambda: procfs.is_stopped(child), SOON, "it to stop")
            claims, _ = site.store.claims.held(identity)
            starts, finishes = site.journal.starts, site.journal.finishes
            held = {ident: ident in starts for ident in (_ident(claim.raw) for claim in claims)}
            # Every thread inside a job: none has begun one and not had the time to say so.
            busy = sum(started and ident not in finishes for ident, started in held.items())
            if len(finishes) > 100 and busy == 5 and not all(held.values()):
                return held
            os.kill(child, signal.SIGCONT)
            return None

        held = wait_until(freeze, SOON, "a moment with started and unstarted claims")
        running = {i for i in held if site.journal.finishes[i] == 0 and held[i]}
        site.run_ready("--concurrency", "5")
        site.await_finished(*(set(idents) - set(held)))
        site.await_finished(*held, timeout=2 * LEASE + SOON)
        assert site.counter("fenced") == 0
        os.kill(child, signal.SIGCONT)
        wait_until(lambda: site.counter("fenced") >= len(running), SOON, "the late results")
        zombie.wait_for_line("came too late")
        site.await_settled()
        starts, _ = site.doubles()
        note(
            site,
            f"frozen with {len(held)} claims: {len(running)} running, "
            f"{sum(not started for started in held.values())} unstarted; double starts "
            f"{starts.total()}, fenced {site.counter('fenced')}",
        )
        assert site.missing(idents) == []
        assert starts.keys() <= {ident for ident, started in held.items() if started}
        assert starts.total() <= sum(held.values())
        # The zombie is a worker again.
        site.workers[1].term()
        assert site.workers[1].wait() == 0
        site.push(NoopJob, "after")
        site.await_finished("after")
        zombie.term()
        assert zombie.wait() == 0
        assert site.entries("dead") == []
        assert site.leftovers() == []


def frozen_for_less_than_its_lease(directory: Path) -> None:
    """SIGSTOP of a child for half its lease, while another one would be free to take its jobs."""
    with place(directory) as site:
        idle = site.run_ready("--concurrency", "5", "--queue", "other")
        elapse(LEASE + 1)  # from now on it may judge others
        idents = [f"job{number}" for number in range(600)]
        site.push_all(payload(SleepJob, ident, 0.02) for ident in idents)
        worker = site.run_ready("--concurrency", "5")
        wait_until(lambda: len(site.journal.finishes) > 50, SOON, "some jobs")
        (child,) = worker.children()
        os.kill(child, signal.SIGSTOP)
        elapse(LEASE / 2)
        os.kill(child, signal.SIGCONT)
        site.await_finished(*idents)
        site.await_settled()
        assert not any(site.doubles())
        assert site.counter("fenced") == 0
        assert site.counter("recovered") == 0
        assert idle.is_running


def redis_away_for_longer_than_the_lease(directory: Path) -> None:
    """Kill -9 of Redis under jobs that run on, and a restart when every lease has ended."""
    with place(directory, appendfsync="always") as site:
        go_on = directory / "go on"
        idents = [f"job{number}" for number in range(5)]
        site.push_all(payload(WaitJob, ident, str(go_on)) for ident in idents)
        # One has all its threads busy, the other one is free.
        workers = [site.run_ready("--concurrency", "2")]
        workers.append(site.run_ready("--concurrency", "5"))
        site.await_started(*idents)
        pids = everybody(site)
        site.server.kill9()
        before = {pid: cpu_seconds(pid) for pid in pids}
        elapse(LEASE + 3)
        shares = [(cpu_seconds(pid) - before[pid]) / (LEASE + 3) for pid in sorted(pids)]
        note(
            site, f"while Redis was away: {', '.join(f'{share:.1%}' for share in shares)} of a CPU"
        )
        # Time of the CPU, not of the clock: a busy machine makes it no longer. The jobs that
        # wait look for their file a hundred times a second.
        assert max(shares) < 0.05 + BUSY_WAIT
        site.server.start()
        wait_until(lambda: set(news(site)) == pids, SOON, lambda: f"news of {pids}: {news(site)}")
        elapse(LOOK)
        site.push(NoopJob, "after")
        site.await_finished("after")
        wait_until(lambda: sum(site.held().values()) == 5, SOON, "the long jobs to be all")
        go_on.touch()
        site.await_finished(*idents)
        site.await_settled()
        assert not any(site.doubles())
        assert site.counter("fenced") == 0
        assert site.counter("recovered") == 0
        for worker in workers:
            worker.term()
        assert [worker.wait() for worker in workers] == [0, 0]
        assert news(site) == dict.fromkeys(pids, (1, 1))
        assert "Traceback" not in site.output()
        assert site.leftovers() == []


def redis_pauses_for_longer_than_the_lease(directory: Path) -> None:
    """CLIENT PAUSE: connections stand, commands are answered when every lease has ended."""

    def pause(server: RedisServer) -> None:
        with server.client(socket_timeout=LEASE + SOON) as client:
            client.client_pause((LEASE + 3) * 1000)
            client.ping()

    silent_for_longer_than_the_lease(directory, pause)


def redis_frozen_for_longer_than_the_lease(directory: Path) -> None:
    """SIGSTOP of Redis, as DEBUG SLEEP or a slow command: connections are made, nobody answers."""

    def freeze(server: RedisServer) -> None:
        os.kill(server.pid, signal.SIGSTOP)
        elapse(LEASE + 3)
        os.kill(server.pid, signal.SIGCONT)

    silent_for_longer_than_the_lease(directory, freeze)


def silent_for_longer_than_the_lease(
    directory: Path, fall_silent: Callable[[RedisServer], None]
) -> None:
    """Two workers with long jobs and short ones, while the server says nothing."""
    with place(directory) as site:
        go_on = directory / "go on"
        long_idents = [f"long{number}" for number in range(4)]
        short_idents = [f"short{number}" for number in range(1000)]
        site.push_all(payload(WaitJob, ident, str(go_on)) for ident in long_idents)
        site.push_all(payload(SleepJob, ident, 0.01) for ident in short_idents)
        for _ in range(2):
            site.run_ready("--concurrency", "4")
        site.await_started(*long_idents)
        wait_until(lambda: len(site.journal.finishes) > 50, SOON, "some jobs")
        fall_silent(site.server)
        elapse(LOOK)
        assert site.counter("recovered") == 0
        go_on.touch()
        site.await_finished(*long_idents, *short_idents)
        site.await_settled()
        assert not any(site.doubles())
        assert count_lines(site.output(), "Traceback") == [0]


def clock_of_redis_jumps_ahead(directory: Path) -> None:
    """An hour in one moment: to Redis every lease ended long ago, and everybody still beats."""
    with place(directory) as site:
        go_on = directory / "go on"
        long_idents = [f"long{number}" for number in range(4)]
        for _ in range(2):
            site.run_ready("--concurrency", "4")
        wait_until(lambda: len(site.identities()) == 2, SOON, "two leases")
        elapse(LEASE + 1)  # from now on each may judge the other
        site.push_all(payload(WaitJob, ident, str(go_on)) for ident in long_idents)
        site.await_started(*long_idents)
        with site.redis.pipeline() as pipe:
            for identity, end in site.store.claims.leases().items():
                pipe.zadd(site.keys.leases, {identity: (end - 3600) * 1000}, xx=True)
            pipe.execute()
        short_idents = [f"short{number}" for number in range(200)]
        site.push_all(payload(SleepJob, ident, 0.01) for ident in short_idents)
        site.await_finished(*short_idents)
        elapse(LEASE / 4 + 1)  # by now everybody has beaten by the new time
        go_on.touch()
        site.await_finished(*long_idents)
        site.await_settled()
        starts, _ = site.doubles()
        note(
            site,
            f"a clock that jumped: {site.counter('recovered')} taken back, double starts "
            f"{starts.total()}, fenced {site.counter('fenced')}",
        )
        # One storm at most: who ran may have been taken for dead, once.
        assert site.missing(long_idents + short_idents) == []
        assert starts.total() <= site.counter("recovered") <= 2 * 4
        assert site.entries("dead") == []
        assert len(site.identities()) == 2


def everybody_killed_and_nobody_there_for_long(directory: Path) -> None:
    """Kill -9 of all there are; whoever comes after minutes takes everything up by itself."""
    with place(directory) as site:
        go_on = directory / "go on"
        idents = [f"job{number}" for number in range(3)]
        site.push_all(payload(WaitJob, ident, str(go_on)) for ident in idents)
        killed = site.run_ready("--concurrency", "3", "--processes", "2")
        site.await_started(*idents)
        behind = [f"behind{number}" for number in range(5)]
        killed.kill9_group()
        site.push_all(payload(NoopJob, ident) for ident in behind)
        for identity, end in site.store.claims.leases().items():
            site.redis.zadd(site.keys.leases, {identity: (end - 600) * 1000}, xx=True)
        assert sum(site.held().values()) == 3
        began = time.monotonic()
        site.run_ready("--concurrency", "3")
        go_on.touch()
        site.await_finished(*behind)
        assert set(site.journal.starts) == {*idents, *behind}
        # Whoever has just come waits for a lease before it takes anybody for dead.
        site.await_finished(*idents, timeout=LEASE + SOON)
        note(site, f"all there was {time.monotonic() - began:.1f} s after a start")
        site.await_settled()
        assert site.journal.starts == dict.fromkeys(idents, 2) | dict.fromkeys(behind, 1)
        assert site.counter("recovered") == 3


def gil_held_for_longer_than_the_lease(directory: Path) -> None:
    """C code that lets no thread run: the parent beats, and nobody takes the jobs."""
    with place(directory) as site:
        go_on = directory / "go on"
        site.push(WaitJob, "beside", str(go_on))
        worker = site.run_ready("--concurrency", "2")
        site.await_started("beside")
        site.push(GilJob, "gil", 2 * LEASE)
        site.await_started("gil")
        thief = site.run_ready("--queue", "other")
        site.await_finished("gil", timeout=2 * LEASE + SOON)
        go_on.touch()
        site.await_finished("beside")
        site.await_settled()
        assert site.journal.starts == {"beside": 1, "gil": 1}
        assert site.counter("recovered") == 0
        assert site.counter("fenced") == 0
        assert thief.is_running
        site.push(NoopJob, "after")
        site.await_finished("after")
        worker.term()
        assert worker.wait() == 0


STORIES: list[Story] = [
    frozen_past_its_lease,
    frozen_for_less_than_its_lease,
    redis_away_for_longer_than_the_lease,
    redis_pauses_for_longer_than_the_lease,
    redis_frozen_for_longer_than_the_lease,
    clock_of_redis_jumps_ahead,
    everybody_killed_and_nobody_there_for_long,
    gil_held_for_longer_than_the_lease,
]


def _ident(raw: bytes) -> str:
    return str(Payload.decode(raw).args[0])


class Told:
    """How the stories ended, in a directory that all test processes share."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def tell(self, story: Story) -> None:
        """Have a story happen, and write down what went wrong in it."""
        directory, wrong = self.directory / story.__name__, ""
        directory.mkdir()
        try:
            story(directory)
        except BaseException:
            wrong = traceback.format_exc()
        draft = directory / "draft"
        draft.write_text(wrong)
        draft.rename(directory.with_suffix(".told"))

    def hear(self, story: Story) -> None:
        """Wait for the end of a story. Raises: AssertionError with what went wrong."""
        told = self.directory / f"{story.__name__}.told"
        wait_until(told.exists, 8 * LEASE + SOON, story.__doc__ or "a story")
        notes = self.directory / story.__name__ / NOTES
        if notes.exists():
            tell(notes.read_text())
        if wrong := told.read_text():
            raise AssertionError(wrong)


@contextmanager
def telling(directory: Path) -> Iterator[Told]:
    """Have all stories happen, unless another test process has begun to have them."""
    directory.mkdir(exist_ok=True)
    try:
        (directory / "teller").touch(exist_ok=False)
    except FileExistsError:
        yield Told(directory)
        return
    command = [sys.executable, "-m", __name__, str(directory)]
    env = {"DJANGO_SETTINGS_MODULE": "tests.settings"}
    with Process(command, directory / "log", env=env) as teller:
        yield Told(directory)
        teller.wait(8 * LEASE + SOON)


def main(directory: str) -> None:
    """Have all stories happen at once."""
    django.setup()
    reaper()  # one for all threads
    with ThreadPoolExecutor(len(STORIES)) as pool:
        list(pool.map(Told(Path(directory)).tell, STORIES))


if __name__ == "__main__":
    main(*sys.argv[1:])
