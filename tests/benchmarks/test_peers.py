"""The peers' table: who takes part, what is told of who cannot, and what a turn demands."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from zipfile import ZipFile

import pytest
import redis

from benchmarks.peers import PEERS, Unavailable, venv
from benchmarks.peers.measure import prepared, raced
from benchmarks.peers.peer import APPS, Command
from benchmarks.peers.producer import Producer
from benchmarks.peers.race import PeerRace
from benchmarks.peers.systems import Brpop, PythonPeer
from benchmarks.peers.table import text
from benchmarks.peers.turn import BULK, CPU, ENQUEUE, MEMORY, ONE, P50, P99, TWO, turn
from benchmarks.peers.venv import Venv
from benchmarks.race import STOLEN
from benchmarks.server import Server

#: Workers that come and go, and environments that are made: nothing that a version changes.
pytestmark = pytest.mark.once


class Ourselves(Venv):
    """The environment of the tests, which has redis-py."""

    @property
    def python(self) -> str:
        return sys.executable

    def prepare(self) -> None:
        pass


class Here(Brpop):
    """A peer that every machine has: the loop of BRPOP beside us."""

    share = 1.0

    def __init__(self) -> None:
        self.venv = Ourselves(self.package, self.requirements)

    def environment(self) -> dict[str, str]:
        # The jobs are what is looked for first, as with every peer.
        return {"PYTHONPATH": str(APPS)}


class Broken(Here):
    """One whose worker ends at once."""

    def command(self, *, concurrency: int, number: int = 0) -> Command:
        return [sys.executable, "-c", "raise SystemExit('I have no hands')"]


class Forgetful(Here):
    """One that counts other jobs than were done."""

    def counted(self, client: redis.Redis) -> int | None:
        return 1


class Nowhere(Here):
    """One that cannot be had."""

    def prepare(self) -> None:
        raise Unavailable("it was never written")


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server() as server:
        yield server


def a_package(directory: Path) -> Path:
    """Make a package with nothing in it, which pip installs without asking anybody."""
    path, facts = directory / "emptiness-1.0-py3-none-any.whl", "emptiness-1.0.dist-info"
    with ZipFile(path, "w") as wheel:
        wheel.writestr(
            f"{facts}/METADATA", "Metadata-Version: 2.1\nName: emptiness\nVersion: 1.0\n"
        )
        wheel.writestr(
            f"{facts}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(f"{facts}/RECORD", "")
    return path


def race(**figures: float) -> PeerRace:
    """Return the race of one contender that ran twice."""
    return PeerRace("peers", "some jobs", {"somebody": [figures, figures]})


def test_the_interface_names_all_peers() -> None:
    assert set(PEERS) == {
        "brpop", "rq", "rq-simple", "celery", "celery-late", "dramatiq", "huey", "sidekiq",
    }  # fmt: skip
    for name, peer in PEERS.items():
        assert peer.name == name
        if isinstance(peer, PythonPeer):
            assert (APPS / f"{peer.app}.py").is_file()


def test_a_worker_of_a_peer_knows_its_redis_and_its_journal(tmp_path: Path) -> None:
    for peer in PEERS.values():
        command, environment = peer.worker("redis://x/1", tmp_path / "j", concurrency=3)
        assert all(isinstance(word, str) for word in command)
        assert environment["BENCHMARK_REDIS_URL"] == "redis://x/1"
        assert environment["BENCHMARK_JOURNAL"] == str(tmp_path / "j")


def test_a_turn_finds_every_figure(server: Server) -> None:
    figures = turn(server, Here(), 200)
    assert set(figures) == {ONE, TWO, ENQUEUE, BULK, P50, P99, CPU, MEMORY}
    assert all(value > 0 for value in figures.values())
    assert figures[P50] <= figures[P99]


def test_a_turn_whose_worker_ends_is_refused_with_what_it_said(server: Server) -> None:
    with pytest.raises(RuntimeError, match="has not run") as caught:
        turn(server, Broken(), 100)
    assert "I have no hands" in "".join(caught.value.__notes__)


def test_a_turn_that_the_counters_contradict_is_refused(server: Server) -> None:
    with pytest.raises(RuntimeError, match="720 jobs were enqueued, and 1 were counted"):
        turn(server, Forgetful(), 100)


def test_a_peer_that_fails_is_told_and_left_out(server: Server) -> None:
    found = raced(server, [Broken()], 100, 2, {})
    assert found.runs == {}
    assert "has not run" in found.skipped["brpop"]
    assert "I have no hands" in found.skipped["brpop"]


def test_a_peer_that_cannot_be_had_is_told_and_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PEERS, "nowhere", Nowhere())
    monkeypatch.setitem(PEERS, "brpop", Here())
    skipped: dict[str, str] = {}
    assert prepared(["nowhere", "brpop"], skipped) == [PEERS["brpop"]]
    assert skipped == {"nowhere": "it was never written"}


def test_a_package_that_is_nowhere_makes_a_peer_unavailable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(venv.VARIABLE, str(tmp_path))
    with pytest.raises(Unavailable, match=r"nothing cannot be installed: .*no-such-directory"):
        Venv("nothing", ["./no-such-directory"]).prepare()


def test_an_environment_is_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(venv.VARIABLE, str(tmp_path))
    empty = Venv("empty", [str(a_package(tmp_path))])
    empty.prepare()
    assert list(empty.path.glob("lib/*/site-packages/emptiness-1.0.dist-info"))
    made = Path(empty.python).lstat()
    empty.prepare()
    assert Path(empty.python).lstat() == made
    (empty.path / "requirements.txt").unlink()  # as after a download that broke
    empty.prepare()
    assert Path(empty.python).lstat() != made


def test_the_table_has_a_line_for_each_and_a_reason_for_who_is_missing() -> None:
    found = race(**{ONE: 1234.0, TWO: 2.0, ENQUEUE: 3.0, P50: 0.5, P99: 4.0, CPU: 0.05, MEMORY: 20})
    found.skipped = {"sidekiq": "there is no ruby"}
    found.lost = {"somebody": 7}
    found.about = {"somebody": "the first of its kind"}
    lines = text(found).splitlines()
    assert lines[3].split() == [
        "somebody", "1,234", "2.00", "3.00", "-", "0.50", "4.00", "0.05", "20.0", "7",
    ]  # fmt: skip
    assert lines[4].split() == ["sidekiq", "skipped:", "there", "is", "no", "ruby"]
    assert "  somebody: the first of its kind" in lines
    assert any("killed 5 times" in line for line in lines)


def test_the_table_tells_nothing_of_kills_that_were_not_made() -> None:
    lines = text(race(**{ONE: 1.0, STOLEN: 0.0})).splitlines()
    assert lines[3].split()[-1] == "-"
    assert not any("killed" in line for line in lines)


def test_a_producer_that_ends_is_no_silence() -> None:
    command = [sys.executable, "-c", ""]
    with Producer(command, {}) as producer, pytest.raises(RuntimeError, match="ended while"):
        producer.one_by_one(range(3))


def test_the_command_knows_its_peers() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "peers", "--peers", "rq,nobody"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "there is no peer 'nobody'" in done.stderr
