"""The tree of processes: who starts whom again, who takes over what, and what nobody leaks."""

from __future__ import annotations

import os
import re
import signal
import sys
from pathlib import Path

from tests.acceptance.site import SOON, Site, count_lines, elapse, payload
from tests.jobsite.jobs import FailJob, GilJob, NoopJob, SleepJob, SpinJob, WaitJob
from tests.support.polling import wait_until
from tests.support.processes import Process


def descriptors(pid: int) -> list[str]:
    """Return what each open file descriptor of a process leads to."""
    folder = Path(f"/proc/{pid}/fd")
    return sorted(os.readlink(entry) for entry in folder.iterdir() if entry.is_symlink())


def threads(pid: int) -> int:
    """Return how many threads a process has."""
    return len(list(Path(f"/proc/{pid}/task").iterdir()))


def test_a_child_that_keeps_dying_is_started_less_and_less_often(site: Site) -> None:
    worker = site.run_ready()
    for death in range(3):
        wait_until(lambda: len(site.identities()) == 1 and worker.children(), SOON, "a child")
        worker.kill9_child()
        wait_until(
            lambda: len(re.findall(r"another one starts in", worker.output())) == death + 1,  # noqa: B023 - asked at once
            SOON,
            "the news of its death",
        )
    delays = re.findall(r"died: signal SIGKILL; another one starts in ([\d.]+) s", worker.output())
    assert [float(delay) for delay in delays] == [1.0, 2.0, 4.0]
    # One that waits to start a child can still be stopped.
    worker.term()
    assert worker.wait() == 0
    assert site.leftovers() == []


def test_a_child_that_dies_while_its_worker_is_quiet_is_not_replaced(site: Site) -> None:
    worker = site.run_ready("--processes", "2", "--concurrency", "1")
    wait_until(lambda: len(site.identities()) == 2, SOON, "both children")
    worker.signal(signal.SIGTSTP)
    wait_until(lambda: count_lines(worker.output(), "quiet: ") == [2], SOON, "both to be quiet")
    job = site.push(NoopJob, "late")
    worker.kill9_child()
    worker.wait_for_line("died: signal SIGKILL")
    elapse(2.5)  # the time after which another one would be there, and some more
    assert len(worker.children()) == 1
    assert site.queue() == [job.encode()]
    worker.term()
    assert worker.wait() == 0


def test_a_frozen_child_does_not_keep_a_worker_from_stopping(site: Site) -> None:
    long_job = site.push(SleepJob, "long", 300)
    worker = site.run_ready("--timeout", "0")
    site.await_started("long")
    worker.signal_child(signal.SIGSTOP)
    worker.term()
    assert worker.wait(8 + SOON) == 3
    worker.wait_for_line("does not stop; killing it")
    # It was taken back at once, as one that was running when its process died.
    (back,) = site.store.queues.page("default")
    assert long_job.jid.encode() in back
    assert b'"crashes":1' in back
    assert site.held() == {}
    assert site.identities() == []


def test_jobs_that_never_end_leave_the_others_their_turn_and_do_not_stop_a_stop(
    site: Site,
) -> None:
    endless = [site.push(SpinJob, f"endless{number}") for number in range(2)]
    worker = site.run_ready("--concurrency", "3", "--timeout", "1")
    site.await_started("endless0", "endless1")
    idents = [f"job{number}" for number in range(20)]
    site.push_all(payload(NoopJob, ident) for ident in idents)
    site.await_finished(*idents)
    worker.term()
    assert worker.wait(1 + SOON) == 0
    assert set(site.queue()) == {job.encode() for job in endless}
    worker.wait_for_line("requeued 2 running jobs")


def test_c_code_with_the_gil_does_not_keep_the_parent_from_stopping(site: Site) -> None:
    site.push(GilJob, "gil", 60)
    worker = site.run_ready("--concurrency", "2", "--timeout", "0")
    site.await_started("gil")
    worker.term()
    assert worker.wait(8 + SOON) == 3
    assert len(site.queue()) == 1
    assert site.held() == {}


def test_a_second_process_of_one_identity_is_a_failed_start(site: Site, tmp_path: Path) -> None:
    job, identity = site.push(NoopJob, "waits"), "host:1:aaaaaaaaaaaa"
    assert site.store.claims.join(identity, 60.0)
    step = site.store.claims.step(identity, lease=60, batch="b", wanted=1, queues=["default"])
    script = f"""if True:
        import os, django
        django.setup()
        from django_jobqueue.conf import get_settings
        from django_jobqueue.connection import store
        from django_jobqueue.worker.launcher import Launcher
        from django_jobqueue.worker.options import QueueOrder, WorkerOptions
        options = WorkerOptions(QueueOrder.parse(["default"]), concurrency=2, lease=15.0)
        there, here = os.pipe()
        Launcher(store(), get_settings(), options, {identity!r}, there, here).run()
    """
    env = {
        "DJANGO_SETTINGS_MODULE": "tests.jobsite.settings",
        "JOBQUEUE_TEST_URL": site.server.url,
        "JOBQUEUE_TEST_PREFIX": site.prefix,
    }
    with Process([sys.executable, "-c", script], tmp_path / "second.log", env=env) as second:
        assert second.wait() == 1
        second.wait_for_line(f"BootError: identity already live: {identity}")
    assert site.held() == {identity: 1}
    assert [claim.raw for claim in step.claimed] == [job.encode()]
    assert site.store.claims.leave(identity) == 1


def test_nobody_leaks_threads_or_descriptors(site: Site) -> None:
    worker = site.run_ready("--processes", "2", "--concurrency", "4")
    site.push_all(payload(NoopJob, f"warm{number}") for number in range(200))
    wait_until(lambda: len(site.journal.finishes) == 200, SOON, "the first jobs")
    site.await_settled()

    def counted() -> dict[int, tuple[int, int]]:
        pids = [worker.pid, *worker.children()]
        return {pid: (threads(pid), len(descriptors(pid))) for pid in pids}

    # The beat that comes seconds after the start opens the last connection, and every
    # other service has had its first turn by then.
    wait_until(lambda: len(site.store.processes.identities()) == 2, SOON, "two records")
    wait_until(lambda: count_lines(worker.output(), " threads on ") == [2], SOON, "two starts")
    elapse(2.0)
    before = counted()
    for round_ in range(5):
        site.push_all(payload(FailJob, f"fail{round_}-{n}", "ValueError") for n in range(100))
        site.push_all(payload(NoopJob, f"job{round_}-{n}") for n in range(400))
        wait_until(
            lambda: len(site.journal.finishes) == 200 + 400 * (round_ + 1),  # noqa: B023 - asked at once
            SOON,
            "a round",
        )
    site.await_settled()
    after = counted()
    assert after.keys() == before.keys()
    for pid, (thread_count, descriptor_count) in after.items():
        assert thread_count <= before[pid][0]
        # A connection may be on its way from one use to another.
        assert descriptor_count <= before[pid][1] + 2


def test_a_supervisor_that_starts_many_children_leaks_none_of_their_pipes(site: Site) -> None:
    worker = site.run_ready("--processes", "3", "--concurrency", "1")
    wait_until(lambda: len(site.identities()) == 3, SOON, "three children")
    before = len(descriptors(worker.pid))
    pipes = {pid: _pipes(pid) for pid in worker.children()}
    # No child has an end of a pipe that the supervisor holds for a sibling.
    for pid, own in pipes.items():
        others = set().union(*(held for other, held in pipes.items() if other != pid))
        assert not own & others & _pipes(worker.pid)
    for index in range(3):
        worker.kill9_child(index)
        wait_until(lambda: len(worker.children()) == 3, SOON, "another child")
    wait_until(lambda: len(site.identities()) == 3, SOON, "three children")
    assert len(descriptors(worker.pid)) <= before + 1


def _pipes(pid: int) -> set[str]:
    return {target for target in descriptors(pid) if target.startswith("pipe:")}


def test_two_workers_share_a_queue_and_repeat_nothing(site: Site) -> None:
    go_on = site.journal.path.with_name("go on")
    workers = [site.run_ready("--concurrency", "3") for _ in range(2)]
    site.push_all(payload(WaitJob, f"long{number}", str(go_on)) for number in range(6))
    site.await_started(*(f"long{number}" for number in range(6)))
    assert sorted(site.held().values()) == [3, 3]
    go_on.touch()
    idents = [f"job{number}" for number in range(1000)]
    site.push_all(payload(NoopJob, ident) for ident in idents)
    site.await_finished(*idents)
    site.await_settled()
    assert not any(site.doubles())
    for worker in workers:
        worker.term()
    assert [worker.wait() for worker in workers] == [0, 0]
    assert site.leftovers() == []
