"""The processes and what they run, as they told; and what they may be told."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from django_jobqueue.api import Process, ProcessSet, WorkSet
from django_jobqueue.connection import store
from tests.api.samples import NAME, jid_of, payload, ruby
from tests.conftest import JobqueueSettings
from tests.store.faults import wrong_type
from tests.support.clocks import freeze
from tests.support.inside import Inside

OURS, RUBY = "host-1:7:0123456789ab", "web.1:9:ba9876543210"

INFO: dict[str, Any] = {
    "hostname": "host-1", "started_at": 1_700_000_000.5, "pid": 7, "tag": "shop", "concurrency": 10,
    "queues": ["high", "low"], "weights": [{"high": 5, "low": 1}], "labels": ["a", "b"],
    "identity": OURS, "version": "django-jobqueue", "embedded": False,
}  # fmt: skip

FACTS: dict[str, str | int | float] = {
    "info": json.dumps(INFO), "concurrency": 10, "busy": 3, "beat": 1_700_000_010.25,
    "rtt_us": 1500, "quiet": "false", "rss": 2048,
}  # fmt: skip

#: Every property that a page or a command reads.
PROPERTIES = [name for name, value in vars(Process).items() if isinstance(value, property)]


@pytest.fixture(autouse=True)
def _configured(jobqueue_settings: JobqueueSettings) -> None:
    jobqueue_settings()


def work(job: bytes, run_at: int) -> str:
    return json.dumps({"queue": "low", "payload": job.decode(), "run_at": run_at})


def test_a_process_is_read_as_it_told() -> None:
    store().processes.record(OURS, FACTS, {})
    store().claims.join(OURS, 60.0)
    (process,) = ProcessSet()
    assert (process.identity, process.hostname, process.pid) == (OURS, "host-1", 7)
    assert process.started_at == datetime(2023, 11, 14, 22, 13, 20, 500_000, UTC)
    assert (process.tag, process.labels, process.version) == ("shop", ["a", "b"], "django-jobqueue")
    assert (process.queues, process.weights) == (["high", "low"], {"high": 5, "low": 1})
    assert (process.concurrency, process.busy, process.rtt) == (10, 3, 0.0015)
    assert process.queues_with_weights == {"high": 5, "low": 1}
    assert process.utilisation == 0.3
    assert process.beat == datetime(2023, 11, 14, 22, 13, 30, 250_000, UTC)
    assert process.rss == 2048 * 1024
    assert (process.is_quiet, process.stopping(), process.embedded) == (False, False, False)
    assert process.lease is not None
    assert 0 < process.lease <= 60
    assert repr(process) == f"<Process {OURS}>"


def test_a_ruby_process_is_read(inside: Inside) -> None:
    store().processes.record(
        RUBY,
        {"info": json.dumps({"hostname": "web.1", "queues": ["default"]}), "quiet": "true"},
        {},
    )
    process = ProcessSet().get(RUBY)
    assert process is not None
    assert (process.lease, process.is_quiet, process.weights) == (None, True, {})
    assert (process.queues_with_weights, process.utilisation) == ({"default": 0}, 0.0)
    assert ProcessSet().get("nobody") is None


def test_a_record_of_a_wrong_type_hides_no_other(inside: Inside) -> None:
    job = payload(1).encode()
    for identity in (OURS, RUBY):
        store().processes.record(identity, FACTS, {"t": work(job, 1)})
    with (
        wrong_type(inside.client, inside.key(RUBY)),
        wrong_type(inside.client, inside.key(f"{RUBY}:work")),
    ):
        assert [process.identity for process in ProcessSet()] == [OURS]
        assert [each.process for each in WorkSet()] == [OURS]


@pytest.mark.parametrize("info", ["", "[]", "{", "7", "[" * 5000, "hostile"])
def test_no_property_trusts_what_was_written(inside: Inside, info: str) -> None:
    hostile = json.dumps({name: [None, {"a": "x"}] for name in INFO})
    facts = dict.fromkeys(FACTS, "1e999\u202e") | {"info": hostile if info == "hostile" else info}
    store().processes.record(RUBY, facts, {"t": info})
    (process,) = ProcessSet()
    found = {name: getattr(process, name) for name in PROPERTIES}
    assert (found["pid"], found["busy"], found["rss"]) == (0, 0, 0)
    assert found["beat"] is None
    (running,) = WorkSet()
    assert (running.queue, running.run_at, running.elapsed) == ("", None, 0.0)
    assert not running.job.is_valid
    assert len(WorkSet()) == 0


def test_lost_processes_are_passed_over_and_cleaned_up(inside: Inside) -> None:
    store().processes.record(OURS, FACTS, {})
    inside.client.sadd(inside.key("processes"), "lost", b"\xff")
    processes = ProcessSet()
    assert [process.identity for process in processes] == [OURS]
    assert len(processes) == 3
    assert processes.cleanup() == 2
    assert len(processes) == 1


def test_all_processes_are_added_up_in_one_trip_a_hundred(
    count_round_trips: Callable[[], int],
) -> None:
    for number in range(150):
        store().processes.record(f"host:{number}:0123456789ab", FACTS, {})
    processes = ProcessSet()
    count_round_trips()
    assert sum(1 for _ in processes) == 150
    assert count_round_trips() == 3
    assert processes.total_concurrency == 1500
    assert processes.total_rss == 150 * 2048 * 1024


def test_leases_are_told_also_of_those_that_died() -> None:
    for number in range(130):
        store().claims.join(f"host:{number}:abc", 60.0)
    store().claims.declare_dead("host:0:abc")
    leases = ProcessSet().leases()
    assert len(leases) == 130
    assert leases.pop("host:0:abc") < 0
    assert all(0 < left <= 60 for left in leases.values())


def test_the_leader_is_told() -> None:
    assert ProcessSet().leader is None
    store().sets.lead(OURS, 60.0)
    assert ProcessSet().leader == OURS


@pytest.mark.parametrize(
    ("verb", "name"), [("quiet", "TSTP"), ("stop", "TERM"), ("dump_stacks", "TTIN")]
)
def test_an_order_waits_for_its_process_for_a_minute(inside: Inside, verb: str, name: str) -> None:
    store().processes.record(OURS, FACTS, {})
    (process,) = ProcessSet()
    assert getattr(process, verb)()
    assert 0 < inside.client.ttl(inside.key(f"{OURS}-signals")) <= 60
    assert store().processes.take_signal(OURS) == name
    store().processes.forget(OURS)
    assert not getattr(process, verb)()


def test_an_embedded_process_takes_no_orders() -> None:
    store().processes.record(RUBY, {"info": json.dumps({"embedded": True})}, {})
    (process,) = ProcessSet()
    assert not process.stop()
    assert store().processes.take_signal(RUBY) is None


# What runs ------------------------------------------------------------------------


@pytest.fixture
def running(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two processes that run three jobs."""
    freeze(monkeypatch).now = 1_700_000_100.0
    store().processes.record(OURS, {**FACTS, "busy": 2}, {
        "b:1:low": work(payload(1).encode(), 1_700_000_090),
        "b:2:low": work(payload(2).encode(), 1_700_000_040),
    })  # fmt: skip
    old = json.dumps({"queue": "mailers", "payload": json.loads(ruby()), "run_at": 1_700_000_050})
    store().processes.record(RUBY, {**FACTS, "busy": 1}, {"tid": old})


@pytest.mark.usefixtures("running")
def test_what_runs_longest_comes_first() -> None:
    works = list(WorkSet())
    assert [work.elapsed for work in works] == [60.0, 50.0, 10.0]
    first, second, _ = works
    assert (first.process, first.thread, first.queue) == (OURS, "b:2:low", "low")
    assert first.run_at == datetime(2023, 11, 14, 22, 14, tzinfo=UTC)
    assert (first.job.jid, first.job.job_class) == (jid_of(2), NAME)
    # As Sidekiq wrote it long ago.
    assert (second.process, second.payload.display_class) == (RUBY, "InvoiceMailer")
    assert "InvoiceMailer" in repr(second)


@pytest.mark.usefixtures("running")
def test_the_work_on_a_job_is_found() -> None:
    works = WorkSet()
    assert len(works) == 3
    found = works.find(jid_of(1))
    assert found is not None
    assert found.thread == "b:1:low"
    assert works.find("nobody") is None


def test_nothing_runs_where_nobody_works() -> None:
    assert list(WorkSet()) == []
    assert len(WorkSet()) == 0
