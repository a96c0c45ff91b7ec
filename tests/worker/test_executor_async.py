"""One async job run and judged on an event loop, as in a thread; what blocks runs beside it."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
from asgiref.sync import iscoroutinefunction, markcoroutinefunction, sync_to_async
from django.core.exceptions import ImproperlyConfigured
from django.db import connection, transaction

from django_jobqueue import Discard, Job, Payload, Skip, Snooze, databases
from django_jobqueue.conf import get_settings
from django_jobqueue.exceptions import JobTimeout
from django_jobqueue.job import coroutines
from django_jobqueue.middleware.database import DatabaseHygiene
from django_jobqueue.middleware.logging import JobFilter, LogContext
from django_jobqueue.signals import job_died, job_started, job_succeeded
from django_jobqueue.store.claims import (
    BACK,
    BURY,
    DISCARDED,
    DONE,
    EXPIRED,
    HELD,
    RETRY,
    SKIPPED,
    SNOOZE,
)
from django_jobqueue.store.locks import Lock
from django_jobqueue.testing import disable_job
from django_jobqueue.worker.executor import Executor
from django_jobqueue.worker.middleware import AsyncPerform, Perform
from django_jobqueue.worker.outcome import Outcome
from django_jobqueue.worker.tracker import Tracker
from testproject.backups.models import Database
from tests.worker import async_jobs, recorders
from tests.worker.async_jobs import ACTS, HOOKS, SEEN, LoopJob, ShortJob, ThreadJob, of
from tests.worker.recorders import path_of


@pytest.fixture(autouse=True)
def clean() -> Iterator[None]:
    """Nothing is left of other tests."""
    async_jobs.clear()
    recorders.SEEN.clear()
    yield
    async_jobs.clear()
    recorders.SEEN.clear()


class Bench:
    """Executors, and how a worker calls them."""

    def __init__(self, settings: Any) -> None:
        self._settings = settings
        self._made: list[Executor] = []
        self.is_stopping = False

    def executor(self, *layers: Any, **options: Any) -> Executor:
        self._settings.JOBQUEUE = {"OUTLET": "fake", "SERVER_MIDDLEWARE": path_of(*layers)}
        self._made.append(Executor(get_settings(), lambda: self.is_stopping, **options))
        return self._made[-1]

    def run(self, payload: Payload | bytes, *layers: Any, **options: Any) -> Outcome | None:
        """Run a job on a loop of its own."""
        return self.run_all([payload], self.executor(*layers, **options))[0]

    def run_all(self, payloads: list[Any], executor: Executor) -> list[Outcome | None]:
        """Run jobs at the same time."""

        async def together() -> list[Outcome | None]:
            raws = [each if isinstance(each, bytes) else each.encode() for each in payloads]
            return await asyncio.gather(*(executor.run_async(raw, "low") for raw in raws))

        return asyncio.run(together())

    def cancel(self, payload: Payload, *layers: Any) -> Outcome | None:
        """Run a job and cancel it when it has begun."""
        executor = self.executor(*layers)

        async def cancelled() -> Outcome | None:
            task = asyncio.ensure_future(executor.run_async(payload.encode(), "low"))
            while "began" not in SEEN:
                await asyncio.sleep(0)
            task.cancel()
            return await task

        return asyncio.run(cancelled())

    def close(self) -> None:
        """End the side threads: the database is about to go."""
        for executor in self._made:
            for thread in executor._side_threads._idle:
                thread.submit(databases.close, "a test").result(10)
                thread.shutdown()


@pytest.fixture
def bench(settings: Any) -> Iterator[Bench]:
    """Where jobs are run."""
    made = Bench(settings)
    yield made
    made.close()


def verb(outcome: Outcome | None) -> str:
    return DONE if outcome is None else outcome.verb


def act(done: Callable[[Job], Any]) -> async_jobs.Act:
    """Return what an async job does."""

    async def acting(job: Job) -> Any:
        return done(job)

    return acting


def raising(error: BaseException) -> async_jobs.Act:
    async def acting(job: Job) -> None:
        raise error

    return acting


# How it ends --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ValueError("no"), RETRY),
        (SystemExit(3), RETRY),
        (KeyboardInterrupt(), RETRY),
        (GeneratorExit(), RETRY),
        (asyncio.CancelledError(), RETRY),
        (TimeoutError("its own"), RETRY),
        (Snooze(5), SNOOZE),
        (Skip("no"), SKIPPED),
        (Discard("no"), DISCARDED),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_an_async_job_raises_is_judged_as_in_a_thread(
    bench: Bench, error: BaseException, expected: str
) -> None:
    ACTS["act"] = raising(error)
    executor = bench.executor()
    (on_loop,) = bench.run_all([of(LoopJob, "act")], executor)
    in_thread = executor.run(of(LoopJob, "act").encode(), "low")
    assert verb(on_loop) == verb(in_thread) == expected
    if on_loop is not None and expected == RETRY:
        assert type(on_loop.error) is type(error)


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (of(LoopJob), DONE),
        (of(LoopJob, expires_in=1.0, enqueued_at=1), EXPIRED),
        (of(LoopJob, "a", "b"), BURY),
        (of(LoopJob).replace(**{"class": "gone.Job"}), SNOOZE),
        (b"junk", BURY),
    ],
    ids=["sound", "expired", "wrong arity", "unknown", "junk"],
)
def test_what_is_no_sound_job_is_judged_too(
    bench: Bench, payload: Payload | bytes, expected: str
) -> None:
    assert verb(bench.run(payload)) == expected


def test_a_job_that_cannot_be_handled_ends_no_loop(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Executor, "_prepare", lambda *args: None)
    assert verb(bench.run(of(LoopJob))) == BURY


def test_a_kill_switch_holds_an_async_job(bench: Bench) -> None:
    with disable_job(LoopJob):
        outcome = bench.run(of(LoopJob))
    assert verb(outcome) == HELD
    assert SEEN == []


def test_the_lock_of_a_unique_job_goes_with_its_outcome_and_its_start_is_told(
    bench: Bench,
) -> None:
    starts: list[tuple[str, bool, bool]] = []

    def start(lock: Lock, release: bool) -> None:
        on_loop = threading.current_thread() is threading.main_thread()
        starts.append((lock.jid, release, on_loop))

    job = of(LoopJob, unique_for=60.0, unique_digest="a" * 32, unique_until="start")
    outcome = bench.run(job, start_lock=start)
    assert outcome == Outcome(DONE, lock=Lock("a" * 32, job.jid, 60.0))
    assert starts == [(job.jid, True, False)]


def test_attempts_are_measured_and_those_that_a_stop_cuts_off_are_not(bench: Bench) -> None:
    tracker = Tracker()
    executor = bench.executor(tracker=tracker)
    ACTS["fail"] = raising(ValueError())
    ACTS["back"] = raising(asyncio.CancelledError())
    bench.run_all([of(LoopJob), of(LoopJob), of(LoopJob, "fail")], executor)
    bench.is_stopping = True
    bench.run_all([of(LoopJob, "back")], executor)
    (counts,) = tracker.take().values()
    assert (counts.processed, counts.failed) == (3, 1)


def test_a_job_that_is_not_async_after_all_runs_beside_the_loop(bench: Bench) -> None:
    assert bench.run(of(ThreadJob)) is None
    assert SEEN == ["in a thread"]


def test_a_perform_with_a_yield_fails_with_the_reason(bench: Bench) -> None:
    class YieldingJob(Job):
        async def perform(self) -> Any:
            yield 1

    outcome = bench.executor().run(of(YieldingJob).encode(), "low")
    assert outcome is not None
    assert "perform has a yield" in str(outcome.error)


# Cancelled -----------------------------------------------------------------------


def test_a_job_is_cancelled_at_its_timeout_and_that_is_a_failure(bench: Bench) -> None:
    ACTS["slow"] = ACTS["forever"]
    outcome = bench.run(of(ShortJob, "slow"))
    assert outcome is not None
    assert outcome.verb == RETRY
    assert isinstance(outcome.error, JobTimeout)
    assert isinstance(outcome.error, TimeoutError)
    assert outcome.error.seconds == 0.02


def test_a_job_in_a_thread_is_cancelled_at_its_timeout_too(bench: Bench) -> None:
    outcome = bench.executor().run(of(ShortJob, "forever").encode(), "low")
    assert outcome is not None
    assert isinstance(outcome.error, JobTimeout)


def test_a_job_that_does_not_mind_its_timeout_is_told_of(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(coroutines, "DEAF", 0.0)
    told = asyncio.Event()

    async def deaf(job: Job) -> None:
        with suppress(asyncio.CancelledError):
            await told.wait()
        while "goes on" not in caplog.text:
            await asyncio.sleep(0)

    ACTS["deaf"] = deaf
    assert bench.run(of(ShortJob, "deaf")) is None  # it has done its work all the same
    name = f"{ShortJob.__module__}.ShortJob jid={'b' * 24}"
    assert f"{name} was cancelled at its timeout of 0.02 s, and goes on" in caplog.messages
    assert f"{name} was cancelled at its timeout of 0.02 s, and did not mind" in caplog.messages


@pytest.mark.parametrize("layers", [(), (recorders.First,)], ids=["bare", "in a side thread"])
def test_a_job_that_is_cancelled_by_the_stop_goes_back_and_has_not_failed(
    bench: Bench, layers: tuple[type, ...], caplog: pytest.LogCaptureFixture
) -> None:
    bench.is_stopping = True
    outcome = bench.cancel(of(LoopJob, "forever", retry=0), *layers)
    assert outcome == Outcome(BACK)
    assert SEEN == ["began"]  # and nothing of a death
    assert "failed" not in caplog.text


def test_a_unique_job_goes_back_with_its_lock(bench: Bench) -> None:
    bench.is_stopping = True
    job = of(LoopJob, "forever", unique_for=60.0, unique_digest="a" * 32)
    outcome = bench.cancel(job)
    assert outcome == Outcome(BACK, lock=Lock("a" * 32, job.jid, 60.0))


def test_a_job_that_ends_its_work_when_it_is_cancelled_has_succeeded(bench: Bench) -> None:
    async def save(job: Job) -> None:
        with suppress(asyncio.CancelledError):
            await ACTS["forever"](job)

    bench.is_stopping = True
    ACTS["save"] = save
    assert bench.cancel(of(LoopJob, "save")) is None


def test_a_death_that_is_being_told_is_not_cut_off_by_a_stop(bench: Bench) -> None:
    go_on = threading.Event()

    def hook() -> None:
        SEEN.append("began")
        assert go_on.wait(10)
        SEEN.append("ended")

    bench.is_stopping = True
    ACTS["fail"] = raising(ValueError())
    HOOKS["on_exhausted"] = hook
    executor = bench.executor()

    async def cancelled_in_the_hook() -> Outcome | None:
        raw = of(LoopJob, "fail", retry=0).encode()
        task = asyncio.ensure_future(executor.run_async(raw, "low"))
        while "began" not in SEEN:
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.sleep(0)
        go_on.set()
        return await task

    assert verb(asyncio.run(cancelled_in_the_hook())) == BURY
    assert SEEN[-1] == "ended"


# Beside it ------------------------------------------------------------------------


def where() -> str:
    on_loop = threading.current_thread() is threading.main_thread()
    return "loop" if on_loop else "side"


def test_receivers_and_hooks_run_beside_the_loop_where_they_may_block(bench: Bench) -> None:
    def hear(signal: Any, **facts: Any) -> None:
        SEEN.append(where())

    signals = (job_started, job_succeeded, job_died)
    ACTS["fail"] = raising(ValueError())
    HOOKS["on_exhausted"] = lambda: SEEN.append(where())
    for signal in signals:
        signal.connect(hear)
    try:
        bench.run(of(LoopJob))
        bench.run(of(LoopJob, "fail", retry=0))
    finally:
        for signal in signals:
            signal.disconnect(hear)
    told = SEEN.copy()
    assert told == ["side", "side", "side", ("exhausted", ValueError), "side", "side"]


def test_a_job_that_never_blocks_has_no_side_thread(bench: Bench) -> None:
    executor = bench.executor(DatabaseHygiene, LogContext)
    assert bench.run_all([of(LoopJob)] * 20, executor) == [None] * 20
    assert executor._side_threads._idle == []


def test_all_that_one_job_blocks_runs_in_one_thread_that_no_other_has_meanwhile(
    bench: Bench,
) -> None:
    all_there = asyncio.Event()
    threads: list[list[int]] = []

    async def block(job: Job) -> None:
        mine = [await sync_to_async(threading.get_ident)()]
        threads.append(mine)
        if len(threads) == 3:
            all_there.set()
        await all_there.wait()
        mine += await asyncio.gather(*(sync_to_async(threading.get_ident)() for _ in range(3)))

    ACTS["block"] = block
    executor = bench.executor()
    bench.run_all([of(LoopJob, "block")] * 3, executor)
    assert [len(set(mine)) for mine in threads] == [1, 1, 1]
    assert len({mine[0] for mine in threads}) == 3
    # And the next jobs have the same ones.
    before = {mine[0] for mine in threads}
    bench.run_all([of(LoopJob, "block")] * 3, executor)
    assert {mine[0] for mine in threads} == before


@pytest.mark.parametrize("at_once", [1, 2])
def test_a_thread_that_a_cancelled_job_still_blocks_is_not_given_to_another(
    bench: Bench, at_once: int
) -> None:
    go_on = threading.Event()
    executor = bench.executor()

    def block() -> None:
        SEEN.append("began")
        if not go_on.wait(10):
            SEEN.append("kept the other waiting")

    async def slow(job: Job) -> None:
        calls = [sync_to_async(block)() for _ in range(at_once)]
        await asyncio.gather(*calls)

    async def quick(job: Job) -> None:
        await sync_to_async(SEEN.append)("quick")
        go_on.set()

    ACTS["slow"], ACTS["quick"] = slow, quick

    async def one_after_the_other() -> list[Outcome | None]:
        task = asyncio.ensure_future(executor.run_async(of(LoopJob, "slow").encode(), "low"))
        while "began" not in SEEN:
            await asyncio.sleep(0)
        task.cancel()
        first = await task
        return [first, await executor.run_async(of(LoopJob, "quick").encode(), "low")]

    bench.is_stopping = True
    assert [verb(each) for each in asyncio.run(one_after_the_other())] == [BACK, DONE]
    assert SEEN == ["began", "quick"]


# The database ---------------------------------------------------------------------


async def create(name: str) -> None:
    await Database.objects.acreate(name=name, path=f"{name}.sqlite3")


@pytest.mark.django_db(transaction=True)
def test_jobs_use_the_orm_beside_the_loop(bench: Bench) -> None:
    async def work(job: Job) -> None:
        await create(job.jid)
        SEEN.append(await sync_to_async(where)())

    ACTS["work"] = work
    executor = bench.executor(DatabaseHygiene)
    for jids in ("a", "bc"):
        jobs = [of(LoopJob, "work", jid=letter * 24) for letter in jids]
        assert bench.run_all(jobs, executor) == [None] * len(jids)
    assert Database.objects.count() == 3
    assert SEEN == ["side"] * 3


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("layers", [(DatabaseHygiene,), (recorders.First, DatabaseHygiene), ()])
@pytest.mark.parametrize("error", [None, ValueError()], ids=["ends", "fails"])
def test_a_transaction_that_an_async_job_left_open_is_rolled_back_with_a_warning(
    bench: Bench,
    layers: tuple[type, ...],
    error: BaseException | None,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def leave_open() -> None:
        transaction.atomic().__enter__()
        Database.objects.create(name="left", path="left.sqlite3")
        if error is not None:
            raise error

    async def leave(job: Job) -> None:
        await sync_to_async(leave_open)()

    async def go_on(job: Job) -> None:
        assert not await sync_to_async(lambda: connection.in_atomic_block)()
        await create("next")

    ACTS["leave"], ACTS["go on"] = leave, go_on
    executor = bench.executor(*layers)
    bench.run_all([of(LoopJob, "leave")], executor)
    assert bench.run_all([of(LoopJob, "go on")], executor) == [None]
    assert [row.name for row in Database.objects.all()] == ["next"]
    (warning,) = [line for line in caplog.messages if "left a transaction open" in line]
    assert f"{LoopJob.__module__}.LoopJob jid={'b' * 24}" in warning


@pytest.mark.django_db(transaction=True)
def test_a_hook_may_use_the_orm(bench: Bench) -> None:
    HOOKS["on_exhausted"] = lambda: Database.objects.create(name="dead", path="dead.sqlite3")
    ACTS["fail"] = raising(ValueError())
    bench.run(of(LoopJob, "fail", retry=0), DatabaseHygiene)
    assert Database.objects.get().name == "dead"


@pytest.mark.django_db
def test_without_an_event_loop_the_orm_has_the_connection_of_the_caller(bench: Bench) -> None:
    # Its transaction is rolled back after the test: nobody else could see the row.
    ACTS["work"] = act(lambda job: None)

    async def count(job: Job) -> None:
        SEEN.append(await Database.objects.acount())

    Database.objects.create(name="mine", path="mine.sqlite3")
    ACTS["count"] = count
    assert bench.executor(inline=True).run_payload(of(LoopJob, "count"), "low")[0] is None
    assert SEEN == [1]


def test_a_job_can_be_run_to_its_end_where_an_event_loop_runs_already(bench: Bench) -> None:
    executor = bench.executor(inline=True)
    ACTS["act"] = act(lambda job: 7)

    async def test() -> Any:
        return executor.run_payload(of(LoopJob, "act"), "low")

    assert asyncio.run(test()) == (None, 7)


# Middleware -------------------------------------------------------------------------


class Capable:
    """Serves both."""

    async_capable = True

    def __init__(self, perform: Perform | AsyncPerform) -> None:
        self._perform = perform
        self._is_async = iscoroutinefunction(perform)
        if self._is_async:
            markcoroutinefunction(self)

    def __call__(self, job: Job) -> Any:
        SEEN.append(("capable", where(), self._is_async))
        return self._perform(job)


class Unmarked(Capable):
    """Forgets to say that its instances are async."""

    def __init__(self, perform: Perform | AsyncPerform) -> None:
        self._perform = perform
        self._is_async = iscoroutinefunction(perform)


def both(perform: Any) -> Any:
    """Serve both, as a function."""
    if not iscoroutinefunction(perform):
        return perform

    async def call(job: Job) -> Any:
        SEEN.append(("function", where()))
        return await perform(job)

    return call


both.async_capable = True  # type: ignore[attr-defined]


class Blocking:
    """Knows nothing of event loops."""

    def __init__(self, perform: Perform) -> None:
        self._perform = perform

    def __call__(self, job: Job) -> Any:
        SEEN.append(("blocking", where()))
        result = self._perform(job)
        SEEN.append(("after", where()))
        return result


class BlockingToo(Blocking):
    """The same under another name."""


class AsyncOnly:
    """Cannot serve a thread."""

    async_capable = True
    sync_capable = False

    def __init__(self, perform: AsyncPerform) -> None:
        self._perform = perform


class AsyncOnlyByItsCall:
    """The same, and does not say so."""

    def __init__(self, perform: AsyncPerform) -> None:
        self._perform = perform

    async def __call__(self, job: Job) -> Any:
        """Never called."""


def test_middleware_of_every_kind_is_passed_in_order(bench: Bench) -> None:
    ACTS["act"] = act(lambda job: SEEN.append(("job", where())))
    bench.run(of(LoopJob, "act"), Capable, Blocking, both, BlockingToo, Unmarked)
    assert SEEN == [
        ("capable", "loop", True),
        ("blocking", "side"),
        ("function", "loop"),
        ("blocking", "side"),
        ("capable", "loop", True),
        ("job", "loop"),
        ("after", "side"),
        ("after", "side"),
    ]


def test_middleware_that_blocks_shares_the_thread_and_the_connection_of_the_job(
    bench: Bench,
) -> None:
    idents: list[int] = []

    class Ident(Blocking):
        def __call__(self, job: Job) -> Any:
            idents.append(threading.get_ident())
            return self._perform(job)

    async def note(job: Job) -> None:
        idents.append(await sync_to_async(threading.get_ident)())

    ACTS["note"] = note
    globals()["Ident"] = Ident
    Ident.__qualname__ = "Ident"
    assert bench.run(of(LoopJob, "note"), Ident) is None
    assert len(idents) == 2
    assert len(set(idents)) == 1


def test_many_jobs_pass_middleware_that_blocks_at_the_same_time(bench: Bench) -> None:
    at_once = asyncio.Barrier(30)

    async def meet(job: Job) -> None:
        await at_once.wait()

    ACTS["meet"] = meet
    executor = bench.executor(Blocking, both, BlockingToo)
    assert bench.run_all([of(LoopJob, "meet")] * 30, executor) == [None] * 30


def test_middleware_that_blocks_sees_what_the_job_raises_and_may_change_it(bench: Bench) -> None:
    ACTS["fail"] = raising(SystemExit(3))
    assert verb(bench.run(of(LoopJob, "fail"), recorders.First)) == RETRY
    assert bench.run(of(LoopJob, "fail"), recorders.Swallow) is None
    assert verb(bench.run(of(LoopJob), recorders.Forget)) == SKIPPED
    outcome = bench.run(of(LoopJob), recorders.RaiseAfter)
    assert outcome is not None
    assert str(outcome.error) == "after"


def test_a_worker_can_tell_which_middleware_holds_a_thread(bench: Bench) -> None:
    executor = bench.executor(DatabaseHygiene, LogContext, Blocking, both)
    assert executor.blocking_middleware() == [f"{__name__}.Blocking"]


@pytest.mark.parametrize("layer", [AsyncOnly, AsyncOnlyByItsCall])
def test_middleware_that_is_async_only_is_refused_with_the_reason(
    bench: Bench, layer: type
) -> None:
    with pytest.raises(ImproperlyConfigured, match=rf"{layer.__name__} is async only"):
        bench.executor(layer)


def test_lines_of_jobs_at_the_same_time_carry_the_job_each_has(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    users = logging.getLogger("shop.jobs")
    caplog.handler.addFilter(JobFilter())
    caplog.set_level(logging.INFO)

    async def log(job: Job) -> None:
        for _ in range(3):
            users.info(job.jid)
            await asyncio.gather(asyncio.sleep(0), sync_to_async(users.info)(job.jid))

    ACTS["log"] = log
    executor = bench.executor(LogContext)
    bench.run_all([of(LoopJob, "log", jid=letter * 24) for letter in "abc"], executor)
    lines = [record for record in caplog.records if record.name == "shop.jobs"]
    assert len(lines) == 18
    assert all(vars(record)["jid"] == record.getMessage() for record in lines)
    ended = [record for record in caplog.records if " done in " in record.getMessage()]
    assert sorted(vars(record)["jid"][0] for record in ended) == ["a", "b", "c"]
