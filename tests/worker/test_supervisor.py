"""The parent of the workers: starts them, beats for them, takes back what a dead one held."""

from __future__ import annotations

import errno
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from django_jobqueue import Payload
from django_jobqueue.conf import get_settings
from django_jobqueue.connection import open_store, store
from django_jobqueue.exceptions import StoreUnavailable
from django_jobqueue.scheduling.recovery import CrashPolicy
from django_jobqueue.store.claims import Claims
from django_jobqueue.worker import supervisor as room
from django_jobqueue.worker.options import QueueOrder, WorkerOptions
from django_jobqueue.worker.orders import DONE, DUMP, HURRY, QUIET, READY, STOP, WORN
from django_jobqueue.worker.probes import ProbeOptions, Probes
from django_jobqueue.worker.supervisor import Supervisor
from django_jobqueue.worker.vitals import State
from tests.conftest import JobqueueSettings
from tests.support.clocks import freeze
from tests.support.inside import Inside
from tests.support.polling import wait_until

pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")

LEASE = 30.0

#: What the supervisor takes.
SIGNALS = [
    signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGTSTP, signal.SIGUSR1, signal.SIGTTIN,
    signal.SIGCHLD,
]  # fmt: skip

#: Runs in a child: (identity, control, report) -> exit code.
Child = Callable[[str, int, int], int]


def good(identity: str, control: int, report: int) -> int:
    """Work until told to stop."""
    os.write(report, READY)
    while (order := os.read(control, 1)) not in (STOP, HURRY, b""):
        del order
    os.write(report, DONE)
    return 0


class Rig:
    """A supervisor whose rounds the test looks into."""

    def __init__(
        self,
        child: Child,
        processes: int = 1,
        *,
        probes: Probes | None = None,
        superior: int = -1,
        **options: Any,
    ) -> None:
        self.rounds = 0
        self.acts: list[Callable[[], bool]] = []
        self.supervisor = Supervisor(
            store(),
            WorkerOptions(QueueOrder({"default": 1}), processes=processes, lease=LEASE, **options),
            CrashPolicy(),
            child,
            self._each_round,
            probes=probes,
            superior=superior,
        )

    @property
    def slots(self) -> list[Any]:
        """The places of the children."""
        return self.supervisor._slots

    @property
    def pids(self) -> list[int]:
        """The pids of the children that live."""
        return [slot.pid for slot in self.slots if slot.pid]

    def when(self, condition: Callable[[], Any], act: Callable[[], Any]) -> Rig:
        """Do something in the first round in which a condition holds; in order of the calls."""

        def try_it() -> bool:
            if condition():
                act()
                return True
            return False

        self.acts.append(try_it)
        return self

    def all_ready(self) -> bool:
        """Return whether every child has said that it runs."""
        return all(slot.pid and slot.ready for slot in self.slots)

    def send(self, number: int) -> Callable[[], None]:
        """Return what sends this process a signal."""
        return lambda: os.kill(os.getpid(), number)

    def run(self) -> int:
        """Supervise to the end."""
        return self.supervisor.run()

    def _each_round(self) -> None:
        self.rounds += 1
        if self.rounds > 4_000:
            pytest.fail("this never ends")
        if self.acts and self.acts[0]():
            self.acts.pop(0)


MakeRig = Callable[..., Rig]


@pytest.fixture
def make_rig(
    jobqueue_settings: JobqueueSettings, monkeypatch: pytest.MonkeyPatch
) -> Iterator[MakeRig]:
    """Make supervisors that are in a hurry; signal handlers are put back, children killed."""
    jobqueue_settings()
    before = {number: signal.getsignal(number) for number in SIGNALS}
    monkeypatch.setattr(room, "RESTART_MIN", 0.01)
    monkeypatch.setattr(room, "ROUND", 0.02)
    made: list[Rig] = []

    def make(child: Child = good, processes: int = 1, **options: Any) -> Rig:
        made.append(Rig(child, processes, **options))
        return made[-1]

    yield make
    for rig in made:
        for pid in rig.pids:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        for slot in rig.slots:
            for end in (slot.control, slot.report):
                if end >= 0:
                    os.close(end)
        rig.supervisor._signals.close()
        if rig.supervisor._orders.pipe >= 0:
            os.close(rig.supervisor._orders.pipe)
    for number, handler in before.items():
        signal.signal(number, handler)


def claim_a_job(identity: str) -> None:
    """Join and claim one job, in a child."""
    claims = open_store(get_settings()).claims
    claims.join(identity, LEASE)
    claims.step(identity, lease=LEASE, batch="1", wanted=1, queues=["default"])


def push(number: int = 1) -> None:
    job = Payload({"class": "HardJob", "args": [number], "jid": f"{number:024x}"})
    store().queues.push({"default": [job.encode()]})


# The usual day ----------------------------------------------------------------


def test_children_run_until_told_to_stop_and_the_end_is_clean(make_rig: MakeRig) -> None:
    rig = make_rig(processes=3)
    pids: list[int] = []
    rig.when(rig.all_ready, lambda: pids.extend(rig.pids))
    rig.when(lambda: True, rig.send(signal.SIGTERM))
    assert rig.run() == 0
    assert len(set(pids)) == 3
    assert os.getpid() not in pids
    assert rig.pids == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_each_of_these_signals_stops(make_rig: MakeRig, number: int) -> None:
    rig = make_rig()
    rig.when(rig.all_ready, rig.send(number))
    assert rig.run() == 0


def test_children_that_end_by_themselves_end_the_supervisor(make_rig: MakeRig) -> None:
    def drained(identity: str, control: int, report: int) -> int:
        os.write(report, READY + DONE)
        return 0

    assert make_rig(drained, processes=2).run() == 0


def test_jobs_left_by_a_child_are_in_the_exit_code(make_rig: MakeRig) -> None:
    def left_some(identity: str, control: int, report: int) -> int:
        os.write(report, READY + DONE)
        return 3

    assert make_rig(left_some).run() == 3


def test_orders_are_passed_on_to_every_child_in_turn(make_rig: MakeRig, tmp_path: Path) -> None:
    def listening(identity: str, control: int, report: int) -> int:
        heard = tmp_path / str(os.getpid())
        os.write(report, READY)
        got = b""
        while not got.endswith(HURRY):
            got += os.read(control, 1)
            heard.write_bytes(got)
        os.write(report, DONE)
        return 0

    def have_heard(order: bytes) -> Callable[[], bool]:
        return lambda: (
            len(list(tmp_path.iterdir())) == 2
            and all(file.read_bytes().endswith(order) for file in tmp_path.iterdir())
        )

    rig = make_rig(listening, processes=2)
    rig.when(rig.all_ready, rig.send(signal.SIGTTIN))
    rig.when(have_heard(DUMP), rig.send(signal.SIGUSR1))
    rig.when(have_heard(QUIET), rig.send(signal.SIGTTIN))
    rig.when(have_heard(DUMP), rig.send(signal.SIGTSTP))
    rig.when(have_heard(QUIET), rig.send(signal.SIGTERM))
    rig.when(have_heard(STOP), rig.send(signal.SIGTERM))
    assert rig.run() == 0
    heard = [file.read_bytes() for file in tmp_path.iterdir()]
    assert heard == [DUMP + QUIET + DUMP + QUIET + STOP + HURRY] * 2


# Deaths -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("death", "told"),
    [
        (lambda: os._exit(0), "died: exit code 0; another one starts in"),
        (lambda: os._exit(7), "died: exit code 7; another one starts in"),
        (lambda: os.kill(os.getpid(), signal.SIGKILL), "died: signal SIGKILL; another one"),
        (lambda: os.kill(os.getpid(), signal.SIGRTMIN + 5), "died: signal 39; another one"),
    ],
    ids=["_exit(0)", "_exit(7)", "SIGKILL", "a signal without a name"],
)
def test_a_child_that_ends_unasked_has_crashed_and_its_jobs_go_back_at_once(
    make_rig: MakeRig,
    inside: Inside,
    tmp_path: Path,
    death: Callable[[], None],
    told: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def dying_once(identity: str, control: int, report: int) -> int:
        if not (tmp_path / "died").exists():
            (tmp_path / "died").touch()
            claim_a_job(identity)
            os.write(report, READY)
            death()
        return good(identity, control, report)

    push()
    rig = make_rig(dying_once)
    rig.when(lambda: rig.all_ready() and len(inside.jobs()) == 1, rig.send(signal.SIGTERM))
    assert rig.run() == 0
    assert inside.jobs()[0]["crashes"] == 1
    assert store().claims.leases() == {}
    assert told in caplog.text
    assert "took back 1 job(s)" in caplog.text


def test_a_child_that_cannot_start_ends_everything_with_its_code(
    make_rig: MakeRig, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def first_good_then_bad(identity: str, control: int, report: int) -> int:
        try:
            (tmp_path / "one").touch(exist_ok=False)
        except FileExistsError:
            return 1
        return good(identity, control, report)

    rig = make_rig(first_good_then_bad, processes=2)
    assert rig.run() == 1
    assert rig.pids == []
    assert "could not start (exit code 1); giving up" in caplog.text


def test_a_child_that_worked_before_is_replaced_though_the_next_one_cannot_start(
    make_rig: MakeRig, tmp_path: Path
) -> None:
    def run(identity: str, control: int, report: int) -> int:
        starts = len(list(tmp_path.iterdir()))
        (tmp_path / str(starts)).touch()
        if starts == 0:
            os.write(report, READY)
            os._exit(9)
        return 1 if starts == 1 else good(identity, control, report)

    rig = make_rig(run)
    rig.when(rig.all_ready, lambda: None)  # the first
    rig.acts.clear()
    rig.when(lambda: rig.all_ready() and len(list(tmp_path.iterdir())) == 3, rig.send(15))
    assert rig.run() == 0


def test_replacements_come_ever_more_slowly_until_one_has_proved_itself(
    make_rig: MakeRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "RESTART_MIN", 1.0)
    clock = freeze(monkeypatch)
    rig = make_rig()
    (slot,) = rig.slots
    died = signal.SIGKILL.value  # as waitpid tells it

    def delay_after(lived: float) -> float:
        slot.pid, slot.identity = 99_999_999, "host:1:a"
        slot.control, slot.report = os.pipe()[1], os.pipe()[0]
        os.set_blocking(slot.report, False)
        slot.born = clock.monotonic - lived
        rig.supervisor._bury(slot, died)
        return float(slot.start_at - clock.monotonic)

    for expected in (1, 2, 4, 8, 16, 30, 30, 30):
        assert expected <= delay_after(lived=5) <= expected * 1.2
    assert 1 <= delay_after(lived=60) <= 1.2
    assert 2 <= delay_after(lived=5) <= 2.4


def test_where_no_process_is_to_be_had_the_others_go_on_and_it_is_tried_again(
    make_rig: MakeRig, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    fork, calls = os.fork, []

    def scarce() -> int:
        ends = [os.path.realpath(end) for end in Path("/proc/self/fd").iterdir()]
        calls.append(sum("pipe:" in end for end in ends))
        if len(calls) in (2, 3):
            raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")
        return fork()

    monkeypatch.setattr(os, "fork", scarce)
    rig = make_rig(processes=2)
    rig.when(rig.all_ready, rig.send(signal.SIGTERM))
    assert rig.run() == 0
    assert caplog.text.count("a worker cannot be started: [Errno 11] Resource") == 2
    assert len(calls) == 4
    assert calls[3] <= calls[1]  # no pipe is left open


def test_a_child_that_dies_while_stopping_is_not_replaced(
    make_rig: MakeRig, inside: Inside, caplog: pytest.LogCaptureFixture
) -> None:
    def dies_at_the_end(identity: str, control: int, report: int) -> int:
        claim_a_job(identity)
        os.write(report, READY)
        os.read(control, 1)
        os._exit(5)

    push()
    rig = make_rig(dies_at_the_end)
    rig.when(rig.all_ready, rig.send(signal.SIGTERM))
    assert rig.run() == 0
    assert "died while stopping: exit code 5" in caplog.text
    assert inside.args() == [[1]]


def test_a_child_that_does_not_stop_is_killed_in_the_end(
    make_rig: MakeRig, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(room, "PATIENCE", 0.05)

    def deaf(identity: str, control: int, report: int) -> int:
        os.write(report, READY)
        while True:
            time.sleep(60)

    rig = make_rig(deaf, timeout=0.0)
    rig.when(rig.all_ready, rig.send(signal.SIGTERM))
    assert rig.run() == 3
    assert "does not stop; killing it" in caplog.text


def test_a_child_that_raises_is_told_and_has_not_started(
    make_rig: MakeRig, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(identity: str, control: int, report: int) -> int:
        raise RuntimeError("before it began")

    assert make_rig(broken).run() == 1
    assert "could not start (exit code 1); giving up" in caplog.text


def test_a_poison_pill_is_left_to_those_who_run_user_code(
    make_rig: MakeRig, inside: Inside, tmp_path: Path
) -> None:
    def dying_once(identity: str, control: int, report: int) -> int:
        if not (tmp_path / "died").exists():
            (tmp_path / "died").write_text(identity)
            claim_a_job(identity)
            claims = open_store(get_settings()).claims
            (field,) = claims.fields(identity)
            claims.step(identity, lease=LEASE, batch="2", wanted=0, queues=[], suspect=field)
            os.write(report, READY)
            os._exit(0)
        return good(identity, control, report)

    job = {"class": "HardJob", "args": [1], "jid": "1", "crashes": 2, "crashed_at": 4 * 10**12}
    store().queues.push({"default": [Payload(job).encode()]})
    rig = make_rig(dying_once)
    rig.when(
        lambda: rig.all_ready() and (tmp_path / "died").exists()
        and not rig.supervisor._deaths.identities,
        rig.send(signal.SIGTERM),
    )  # fmt: skip
    assert rig.run() == 0
    assert inside.jobs() == []
    identity = (tmp_path / "died").read_text()
    assert store().claims.count(identity) == 1
    assert store().claims.expired() == ([identity], [])


# Beats ------------------------------------------------------------------------


def test_leases_of_ready_children_are_renewed_and_those_of_frozen_ones_are_not(
    make_rig: MakeRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    beaten: list[str] = []

    def extend(self: Claims, identity: str, lease: float) -> bool:
        beaten.append(identity)
        return True

    monkeypatch.setattr(Claims, "extend", extend)
    monkeypatch.setattr(room, "beat_interval", lambda lease: 0.0)
    rig = make_rig(processes=2)

    def freeze_first() -> None:
        os.kill(rig.slots[0].pid, signal.SIGSTOP)

    def frozen() -> bool:
        return bool(rig.slots[0].stopped)

    second: list[str] = []
    rig.when(rig.all_ready, lambda: second.append(rig.slots[1].identity))
    rig.when(lambda: True, beaten.clear)
    rig.when(lambda: len(beaten) >= 4, freeze_first)
    rig.when(frozen, beaten.clear)
    seen: list[set[str]] = []
    rig.when(lambda: len(beaten) >= 4, lambda: seen.append(set(beaten)))
    rig.when(lambda: True, lambda: os.kill(rig.slots[0].pid, signal.SIGCONT))
    rig.when(lambda: not frozen(), beaten.clear)
    rig.when(lambda: len(set(beaten)) == 2, rig.send(signal.SIGTERM))
    assert rig.run() == 0
    assert seen == [{second[0]}]


def test_an_outage_of_redis_is_told_once_and_ends_nothing(
    make_rig: MakeRig, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    beats: list[int] = []

    def extend(self: Claims, identity: str, lease: float) -> bool:
        beats.append(1)
        if len(beats) < 4:
            raise StoreUnavailable("gone")
        return True

    monkeypatch.setattr(Claims, "extend", extend)
    monkeypatch.setattr(room, "beat_interval", lambda lease: 0.0)
    rig = make_rig()
    rig.when(lambda: len(beats) > 5, rig.send(signal.SIGTERM))
    assert rig.run() == 0
    assert sum("Redis is away: gone" in line for line in caplog.messages) == 1
    assert sum("Redis back after" in line for line in caplog.messages) == 1


def test_a_death_during_an_outage_is_settled_when_redis_is_back(
    make_rig: MakeRig, inside: Inside, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    declare_dead, tries = Claims.declare_dead, []

    def flaky(self: Claims, identity: str) -> None:
        tries.append(identity)
        if len(tries) < 3:
            raise StoreUnavailable("gone")
        declare_dead(self, identity)

    def dying_once(identity: str, control: int, report: int) -> int:
        if not (tmp_path / "died").exists():
            (tmp_path / "died").touch()
            claim_a_job(identity)
            os.write(report, READY)
            os._exit(0)
        return good(identity, control, report)

    monkeypatch.setattr(Claims, "declare_dead", flaky)
    push()
    rig = make_rig(dying_once)
    rig.when(lambda: rig.all_ready() and len(inside.jobs()) == 1, rig.send(signal.SIGTERM))
    assert rig.run() == 0
    assert len(tries) == 3
    assert len(set(tries)) == 1


def test_deaths_that_cannot_be_settled_at_the_end_are_left_to_recovery(
    make_rig: MakeRig, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def gone(self: Claims, identity: str) -> None:
        raise StoreUnavailable("gone")

    def dies_at_the_end(identity: str, control: int, report: int) -> int:
        os.write(report, READY)
        os.read(control, 1)
        os._exit(5)

    monkeypatch.setattr(Claims, "declare_dead", gone)
    rig = make_rig(dies_at_the_end)
    rig.when(rig.all_ready, rig.send(signal.SIGTERM))
    assert rig.run() == 3
    assert "1 dead worker(s) are left to recovery" in caplog.text


# Before anything runs ---------------------------------------------------------


def test_the_wait_for_redis_ends_with_its_time_or_with_a_signal(make_rig: MakeRig) -> None:
    rig = make_rig()
    assert rig.supervisor.wait(0.01) is False
    os.kill(os.getpid(), signal.SIGTTIN)
    assert rig.supervisor.wait(0.01) is False
    os.kill(os.getpid(), signal.SIGTERM)
    assert rig.supervisor.wait(600) is True
    assert rig.supervisor.wait(600) is True


def test_a_stop_before_the_first_child_starts_none(make_rig: MakeRig) -> None:
    rig = make_rig()
    os.kill(os.getpid(), signal.SIGTERM)
    wait_until(lambda: rig.supervisor.wait(0.01), what="the signal")
    assert rig.run() == 0
    assert rig.pids == []
    assert all(not slot.born for slot in rig.slots)


# Limits -----------------------------------------------------------------------


def count_starts(directory: Path) -> int:
    """Return how many children have started."""
    return len(list(directory.iterdir()))


def worn_at_once(directory: Path, *, code: int = 0) -> Child:
    """Return a child that asks to be replaced, if it is one of the first ``2``."""

    def run(identity: str, control: int, report: int) -> int:
        (directory / str(os.getpid())).touch()
        if count_starts(directory) <= 2:
            if code:
                claim_a_job(identity)
            os.write(report, READY + WORN)
            assert os.read(control, 1) == STOP
            os.write(report, DONE)
            return code
        return good(identity, control, report)

    return run


def test_a_child_that_reached_a_limit_is_replaced_and_has_not_failed(
    make_rig: MakeRig,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(room, "RESTART_MIN", 600.0)  # nobody waits for that
    rig = make_rig(worn_at_once(tmp_path))
    rig.when(lambda: rig.all_ready() and count_starts(tmp_path) == 3, rig.send(signal.SIGTERM))
    assert rig.run() == 0
    assert rig.slots[0].failures == 0
    assert "died" not in caplog.text
    assert store().claims.leases() == {}


def test_what_it_could_not_deliver_is_taken_back_at_once(
    make_rig: MakeRig, inside: Inside, tmp_path: Path
) -> None:
    push()
    rig = make_rig(worn_at_once(tmp_path, code=3))
    rig.when(lambda: count_starts(tmp_path) == 3 and rig.all_ready(), lambda: None)
    rig.when(lambda: len(inside.jobs()) == 1, rig.send(signal.SIGTERM))
    assert rig.run() == 0


def test_children_that_reach_a_limit_together_go_one_by_one(
    make_rig: MakeRig, tmp_path: Path
) -> None:
    def once(identity: str, control: int, report: int) -> int:
        (tmp_path / str(os.getpid())).touch()
        os.write(report, READY + WORN if count_starts(tmp_path) <= 3 else READY)
        assert os.read(control, 1) in (STOP, HURRY)
        os.write(report, DONE)
        return 0

    rig = make_rig(once, processes=3)
    going: list[int] = []

    def look() -> bool:
        going.append(sum(slot.retiring for slot in rig.slots))
        return count_starts(tmp_path) == 6 and rig.all_ready()

    rig.when(look, rig.send(signal.SIGTERM))
    assert rig.run() == 0
    assert max(going) == 1


def test_no_child_goes_for_a_limit_while_the_worker_is_quiet_or_redis_is_away(
    make_rig: MakeRig, tmp_path: Path
) -> None:
    heard = tmp_path / "heard"

    def worn(identity: str, control: int, report: int) -> int:
        os.write(report, READY + WORN)
        got = b""
        while not got.endswith(STOP):
            got += os.read(control, 1)
            heard.write_bytes(got)
        os.write(report, DONE)
        return 0

    rig = make_rig(worn)
    rig.supervisor._outage.began(StoreUnavailable("gone"), "somebody")
    rounds: list[int] = []
    retiring: list[bool] = []
    rig.when(lambda: rig.slots[0].worn, lambda: rounds.append(rig.rounds))
    rig.when(lambda: rig.rounds >= rounds[0] + 3, rig.send(signal.SIGTSTP))
    rig.when(lambda: heard.exists(), lambda: rig.supervisor._outage.ended("somebody"))
    rig.when(lambda: True, lambda: rounds.append(rig.rounds))
    rig.when(lambda: rig.rounds >= rounds[1] + 3, lambda: retiring.append(rig.slots[0].retiring))
    rig.when(lambda: True, rig.send(signal.SIGTERM))
    assert rig.run() == 0
    assert retiring == [False]
    assert heard.read_bytes() == QUIET + STOP


def test_one_that_does_not_go_is_killed_and_replaced(
    make_rig: MakeRig,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(room, "PATIENCE", 0.05)

    def deaf(identity: str, control: int, report: int) -> int:
        (tmp_path / str(os.getpid())).touch()
        if count_starts(tmp_path) == 1:
            os.write(report, READY + WORN)
            while True:
                time.sleep(60)
        return good(identity, control, report)

    rig = make_rig(deaf, timeout=0.0)

    def stop() -> None:
        monkeypatch.setattr(room, "PATIENCE", 30.0)  # with the one that does go
        rig.send(signal.SIGTERM)()

    rig.when(lambda: count_starts(tmp_path) == 2 and rig.all_ready(), stop)
    assert rig.run() == 0
    assert "does not stop; killing it" in caplog.text
    assert "died: signal SIGKILL; another one starts" in caplog.text


# Stopped by somebody else -----------------------------------------------------


def test_a_child_that_was_told_to_stop_from_afar_is_not_replaced_and_the_others_go_on(
    make_rig: MakeRig, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "django_jobqueue")

    def one_stops(identity: str, control: int, report: int) -> int:
        if not (tmp_path / "stopped").exists():
            (tmp_path / "stopped").touch()
            os.write(report, READY + DONE)
            return 0
        return good(identity, control, report)

    rig = make_rig(one_stops, processes=2)
    rig.when(lambda: any(slot.finished for slot in rig.slots), lambda: None)
    rounds: list[int] = []
    rig.when(lambda: len(rig.pids) == 1, lambda: rounds.append(rig.rounds))
    rig.when(lambda: rig.rounds >= rounds[0] + 3 and len(rig.pids) == 1, rig.send(signal.SIGTERM))
    assert rig.run() == 0
    assert caplog.text.count("was stopped by itself; none takes its place") == 1


# A superior -------------------------------------------------------------------


class Superior:
    """The reloader's end of a pipe; ``out`` is the supervisor's, who is given it for good."""

    def __init__(self) -> None:
        self.out, into = os.pipe()
        os.set_blocking(self.out, False)
        self.into = open(into, "wb", buffering=0)  # noqa: SIM115 - the fixture closes it

    def order(self, what: bytes) -> Callable[[], Any]:
        """Return what gives an order."""
        return lambda: self.into.write(what)


@pytest.fixture
def superior() -> Iterator[Superior]:
    """Somebody who gives orders."""
    made = Superior()
    yield made
    made.into.close()


def test_orders_of_a_superior_are_like_signals_and_a_signal_beside_one_counts_once(
    make_rig: MakeRig, superior: Superior, tmp_path: Path
) -> None:
    heard = tmp_path / "heard"

    def listening(identity: str, control: int, report: int) -> int:
        os.write(report, READY)
        got = b""
        while not got.endswith(HURRY):
            got += os.read(control, 1)
            heard.write_bytes(got)
        os.write(report, DONE)
        return 0

    def have_heard(orders: bytes) -> Callable[[], bool]:
        return lambda: heard.exists() and heard.read_bytes() == orders

    rig = make_rig(listening, superior=superior.out)
    rig.when(rig.all_ready, superior.order(DUMP))
    rig.when(have_heard(DUMP), superior.order(STOP))
    rig.when(have_heard(DUMP + STOP), rig.send(signal.SIGINT))
    rig.when(lambda: rig.supervisor._orders.signalled, superior.order(STOP))
    rig.when(lambda: True, lambda: None)
    rig.when(have_heard(DUMP + STOP), superior.order(HURRY))
    assert rig.run() == 0
    assert heard.read_bytes() == DUMP + STOP + HURRY


def test_the_end_of_a_superior_is_a_stop(
    make_rig: MakeRig, superior: Superior, caplog: pytest.LogCaptureFixture
) -> None:
    def stranger(identity: str, control: int, report: int) -> int:
        superior.into.close()  # a child of the reloader would not have it
        return good(identity, control, report)

    rig = make_rig(stranger, superior=superior.out)
    rig.when(rig.all_ready, superior.into.close)
    assert rig.run() == 0
    assert "the reloader is gone; stopping" in caplog.text


def test_an_order_to_stop_ends_the_wait_for_redis(make_rig: MakeRig, superior: Superior) -> None:
    rig = make_rig(superior=superior.out)
    superior.into.write(STOP)
    assert rig.supervisor.wait(600) is True


# Probes -----------------------------------------------------------------------


def test_the_probes_see_what_the_supervisor_does_and_who_is_there(
    make_rig: MakeRig, tmp_path: Path
) -> None:
    probes = Probes(ProbeOptions(ready_file=str(tmp_path / "ready")), children=2, lease=LEASE)
    vitals = probes.vitals
    seen: list[list[State]] = []

    def showing(identity: str, control: int, report: int) -> int:
        vitals.show(State.WORKING, time.monotonic(), turned_at=0, served_at=0)
        return good(identity, control, report)

    def look() -> None:
        seen.append([vitals.read(row).state for row in range(3)])

    try:
        rig = make_rig(showing, processes=2, probes=probes)
        assert rig.supervisor.wait(0.01) is False
        look()
        rig.when(rig.all_ready, lambda: None)
        rig.when(lambda: True, look)
        rig.when(lambda: True, lambda: os.kill(rig.slots[0].pid, signal.SIGKILL))
        rig.when(lambda: not rig.slots[0].pid, look)
        rig.when(rig.all_ready, rig.send(signal.SIGTSTP))
        rig.when(lambda: vitals.read(0).state is State.QUIET, rig.send(signal.SIGTERM))
        rig.when(lambda: vitals.read(0).state is State.STOPPING, lambda: None)
        assert rig.run() == 0
        assert rig.acts == []
    finally:
        probes.close()
    working, absent = State.WORKING, State.ABSENT
    assert seen == [[absent] * 3, [working] * 3, [working, absent, working]]
