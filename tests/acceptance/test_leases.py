"""
Silence that is longer than a lease: frozen processes, a Redis that is away, C code with the GIL.

Each story waits for a lease of 15 s, the shortest there is, and then as long
again to see that nothing happens. So they all run at once, from the first test on.
"""

from __future__ import annotations

import os
import re
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from django_jobqueue.payload import Payload
from tests.acceptance.site import LEASE, SOON, Site, count_lines, elapse, payload, tell
from tests.jobsite.jobs import GilJob, NoopJob, SleepJob, WaitJob
from tests.support import procfs
from tests.support.polling import wait_until
from tests.support.reaper import reaper
from tests.support.server import RedisServer

Story = Callable[[Path], None]

#: Seconds in which a process whose lease has ended is looked for at least once, and some more.
LOOK = 12.0


@contextmanager
def place(directory: Path, **config: object) -> Iterator[Site]:
    """A site on a server of the story's own."""
    with RedisServer(config) as server, Site(server, directory) as site:
        yield site


def news(site: Site) -> dict[str, tuple[int, int]]:
    """Return how often each process said that Redis was away and back, by its pid."""
    away = Counter(re.findall(r"\S+ \S+ (\d+) ERROR Redis is away", site.output()))
    back = Counter(re.findall(r"\S+ \S+ (\d+) WARNING Redis back", site.output()))
    return {pid: (away[pid], back[pid]) for pid in away | back}


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
        tell(
            f"frozen with {len(held)} claims: {len(running)} running, "
            f"{sum(not started for started in held.values())} unstarted; double starts "
            f"{starts.total()}, fenced {site.counter('fenced')}"
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
        elapse(LEASE + 3)
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
        with site.server.client(socket_timeout=LEASE + SOON) as client:
            client.client_pause((LEASE + 3) * 1000)
            client.ping()
        elapse(LOOK)
        assert site.counter("recovered") == 0
        go_on.touch()
        site.await_finished(*long_idents, *short_idents)
        site.await_settled()
        assert not any(site.doubles())
        assert count_lines(site.output(), "Traceback") == [0]


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
    gil_held_for_longer_than_the_lease,
]


def _ident(raw: bytes) -> str:
    return str(Payload.decode(raw).args[0])


# The tests ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[Story, Future[None]]]:
    """All stories, under way at the same time."""
    reaper()  # one for all threads
    with ThreadPoolExecutor(len(STORIES)) as pool:
        yield {
            story: pool.submit(story, tmp_path_factory.mktemp(story.__name__[:20]))
            for story in STORIES
        }


Told = dict[Story, "Future[None]"]


def test_a_frozen_process_finds_its_late_results_fenced(told: Told) -> None:
    told[frozen_past_its_lease].result()


def test_a_short_freeze_repeats_nothing(told: Told) -> None:
    told[frozen_for_less_than_its_lease].result()


def test_an_outage_longer_than_the_lease_repeats_nothing(told: Told) -> None:
    told[redis_away_for_longer_than_the_lease].result()


def test_a_pause_longer_than_the_lease_repeats_nothing(told: Told) -> None:
    told[redis_pauses_for_longer_than_the_lease].result()


def test_c_code_that_holds_the_gil_for_longer_than_the_lease_repeats_nothing(told: Told) -> None:
    told[gil_held_for_longer_than_the_lease].result()
