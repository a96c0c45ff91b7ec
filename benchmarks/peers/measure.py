"""The peers' table: every system under the same load, one turn each after the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import median

from benchmarks.peers import PEERS, Peer, Unavailable, kill
from benchmarks.peers.ours import Ours
from benchmarks.peers.race import PeerRace
from benchmarks.peers.systems import PythonPeer
from benchmarks.peers.table import text
from benchmarks.peers.turn import BULK, ENQUEUE, ONE, P50, P99, jobs_of, turn, waits_of
from benchmarks.race import Figures
from benchmarks.server import Server

__all__ = ["measure", "text"]

OURS = Ours.name
LOOP, SIDEKIQ = "brpop", "sidekiq"


def measure(
    server: Server, jobs: int, rounds: int, *, chosen: Sequence[str] = (), kills: bool = True
) -> list[PeerRace]:
    """
    Race the chosen peers, all of them without a choice, against us.

    A peer that cannot be had, or that fails, is told and left out. We must not fail.
    """
    skipped: dict[str, str] = {}
    peers: list[Peer] = [Ours(), *prepared(chosen or list(PEERS), skipped)]
    race = raced(server, peers, jobs, rounds, skipped)
    if kills:
        _kill(race)
    _compare(race)
    return [race]


def prepared(names: Sequence[str], skipped: dict[str, str]) -> list[Peer]:
    """Return those of them that can be had; ``skipped`` takes the others."""
    found = []
    for name in names:
        try:
            PEERS[name].prepare()
        except Unavailable as error:
            skipped[name] = str(error)
        else:
            found.append(PEERS[name])
    return found


def raced(
    server: Server, peers: Sequence[Peer], jobs: int, rounds: int, skipped: dict[str, str]
) -> PeerRace:
    """Let them take their turns; ``skipped`` names who is out already, and takes who fails."""
    race = PeerRace.run(
        "peers",
        f"up to {jobs:,} jobs that do nothing",
        {peer.name: _guarded(server, peer, jobs, skipped) for peer in peers},
        rounds,
        warm_up=0,  # each turn warms up its workers by itself
    )
    race.skipped = skipped
    for name in skipped.keys() & race.runs.keys():
        del race.runs[name]
    race.about = {
        peer.name: (
            f"{peer.versions()}, {peer.settings}; {jobs_of(peer, jobs):,} jobs, "
            f"{waits_of(peer)} {peer.pause * 1000:g} ms apart for the latency"
        )
        for peer in peers
        if peer.name in race.runs
    }
    return race


def _guarded(
    server: Server, peer: Peer, jobs: int, skipped: dict[str, str]
) -> Callable[[], Figures]:
    """Return a turn that, where a peer fails, takes that down and lets it rest from then on."""

    def run() -> Figures:
        if peer.name in skipped:
            return {}
        try:
            return turn(server, peer, jobs)
        except (RuntimeError, OSError) as error:
            if peer.name == OURS:
                raise
            skipped[peer.name] = "; ".join([f"failed: {error}", *getattr(error, "__notes__", ())])
            return {}

    return run


def _kill(race: PeerRace) -> None:
    # Ours holds its promises to times, which others must not spoil.
    answers = {OURS: kill.lost(None)}
    others = [name for name in race.runs if name != OURS]
    answers.update(zip(others, kill.all_lost(others), strict=True))
    for name, answer in answers.items():
        if isinstance(answer, int):
            race.lost[name] = answer
        else:
            race.notes.append(f"{name}, killed: {answer}")


def _compare(race: PeerRace) -> None:
    """Hold us to our goals against whoever took part."""
    if LOOP in race.runs:
        race.compare(OURS, LOOP, ONE, later=5.0)
    if SIDEKIQ in race.runs:
        race.compare(OURS, SIDEKIQ, ONE)
        race.compare(OURS, SIDEKIQ, ENQUEUE, later=1.0)
        race.compare(OURS, SIDEKIQ, BULK, later=1.0)
        race.compare(OURS, SIDEKIQ, P50, later=1.0, bound="most")
        race.compare(OURS, SIDEKIQ, P99, later=1.0, bound="most")
    in_python = [
        name for name in race.runs if name != LOOP and isinstance(PEERS.get(name), PythonPeer)
    ]
    if in_python:
        best = max(in_python, key=lambda name: median(race.figures(name, ONE)))
        race.compare(OURS, best, ONE, later=10.0)
