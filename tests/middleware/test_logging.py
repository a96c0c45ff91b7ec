"""Log lines of a job say which job it is, in one line each, and never its arguments."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from django_jobqueue import Job, Payload
from django_jobqueue.job.attempt import Attempt
from django_jobqueue.middleware.logging import JobFilter, LogContext
from tests.support.clocks import freeze

JID = "b" * 24

users = logging.getLogger("shop.jobs")


class NoteJob(Job):
    """What runs is the test's own function."""

    def perform(self, *args: Any) -> None:
        """Do nothing."""


class AsyncNoteJob(Job):
    """Logs in a coroutine."""

    async def perform(self) -> None:
        """Log, also out of a task."""
        users.info("in a coroutine")
        await asyncio.gather(self.note(), self.note())

    async def note(self) -> None:
        """Log."""
        users.info("in a task")


def job(*args: Any, of: type[Job] = NoteJob, **fields: Any) -> Job:
    payload = Payload({"class": "shop.NoteJob", "args": list(args), "jid": JID, **fields})
    return of.for_attempt(Attempt(payload, "default", 0.0))


class Collector(logging.Handler):
    """Keeps records, with the filter on it as a project would put it on a handler."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []
        self.addFilter(JobFilter())

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    def facts(self) -> list[tuple[str, Any, Any, Any, Any]]:
        """Return what the records say of their job."""
        return [
            (r.getMessage(), r.jid, r.job, r.queue, r.attempt)  # type: ignore[attr-defined]
            for r in self.records
        ]


@pytest.fixture
def collector(caplog: pytest.LogCaptureFixture) -> Iterator[Collector]:
    """A handler with the filter."""
    caplog.set_level(logging.DEBUG)
    handler = Collector()
    users.addHandler(handler)
    yield handler
    users.removeHandler(handler)


def run(act: Callable[[], Any], around: Job) -> Any:
    return LogContext(lambda job: act())(around)


def test_a_job_is_one_line_at_its_start_and_one_at_its_end(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.DEBUG, "django_jobqueue")
    clock = freeze(monkeypatch)
    run(lambda: clock.advance(1.25), job(queue="low", retry_count=0))
    started, done = caplog.records
    assert (started.levelno, done.levelno) == (logging.DEBUG, logging.INFO)
    assert started.getMessage() == f"shop.NoteJob jid={JID} started, attempt 2"
    assert done.getMessage() == f"shop.NoteJob jid={JID} done in 1.250 s"
    for record in (started, done):
        facts = {name: vars(record)[name] for name in ("job", "jid", "queue", "attempt")}
        assert facts == {"job": "shop.NoteJob", "jid": JID, "queue": "low", "attempt": 2}
    assert vars(done)["elapsed"] == 1.25


def test_the_result_comes_through() -> None:
    assert run(lambda: 7, job()) == 7


def test_a_failure_passes_and_is_not_called_done(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "django_jobqueue")
    with pytest.raises(ZeroDivisionError):
        run(lambda: 1 // 0, job())
    assert [line.rpartition(" ")[0] for line in caplog.messages] == [
        f"shop.NoteJob jid={JID} started, attempt"
    ]


def test_arguments_are_never_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    run(lambda: None, job("secret", {"token": "secret"}))
    assert len(caplog.records) == 2
    assert "secret" not in caplog.text
    assert "secret" not in str([vars(record) for record in caplog.records])


def test_newlines_make_no_second_line(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "django_jobqueue")
    names: dict[str, Any] = {"class": "x\r\ny\x1b[31m", "jid": "a\nb"}
    run(lambda: None, job(**names))
    assert [len(line.splitlines()) for line in caplog.messages] == [1, 1]
    assert all(line.isprintable() for line in caplog.messages)


def test_lines_of_the_job_itself_carry_the_job(collector: Collector) -> None:
    run(lambda: users.info("inside"), job(queue="low", retry_count=3))
    assert collector.facts() == [("inside", JID, "shop.NoteJob", "low", 5)]


def test_lines_outside_of_a_job_carry_empty_fields_so_that_a_format_may_name_them(
    collector: Collector,
) -> None:
    run(lambda: None, job())
    with pytest.raises(ZeroDivisionError):
        run(lambda: 1 // 0, job())
    users.info("outside")
    assert collector.facts() == [("outside", "", "", "", "")]


def test_a_job_inside_a_job_takes_over_for_as_long_as_it_runs(collector: Collector) -> None:
    def outer() -> None:
        users.info("before")
        run(lambda: users.info("inner"), job(jid="c" * 24))
        users.info("after")

    run(outer, job())
    assert [(line, jid) for line, jid, *_ in collector.facts()] == [
        ("before", JID),
        ("inner", "c" * 24),
        ("after", JID),
    ]


def test_threads_do_not_mix_their_jobs(collector: Collector) -> None:
    both = threading.Barrier(2, timeout=10)

    def work(jid: str) -> None:
        def act() -> None:
            both.wait()
            users.info(jid)
            both.wait()

        run(act, job(jid=jid))

    threads = [threading.Thread(target=work, args=(letter * 24,)) for letter in "cd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert sorted((line, jid) for line, jid, *_ in collector.facts()) == [
        ("c" * 24, "c" * 24),
        ("d" * 24, "d" * 24),
    ]


def test_lines_of_coroutines_and_their_tasks_carry_the_job(collector: Collector) -> None:
    around = job(of=AsyncNoteJob)
    run(around.run, around)
    assert [(line, jid) for line, jid, *_ in collector.facts()] == [
        ("in a coroutine", JID),
        ("in a task", JID),
        ("in a task", JID),
    ]


def test_fields_that_a_record_has_already_are_kept(collector: Collector) -> None:
    run(lambda: users.info("x", extra={"jid": "mine"}), job())
    assert [jid for _, jid, *_ in collector.facts()] == ["mine"]


def test_without_the_level_nothing_is_logged_and_the_context_is_there(
    collector: Collector, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "django_jobqueue.job")
    run(lambda: users.warning("inside"), job())
    assert [record.name for record in caplog.records] == ["shop.jobs"]
    assert collector.facts()[0][1] == JID
