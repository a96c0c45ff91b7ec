"""Jobs that wait, one job, errors grouped, locks, metrics and the server, as they are reported."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from django_jobqueue import Job
from django_jobqueue.api import Filter, LockSet
from django_jobqueue.connection import store
from django_jobqueue.exceptions import InvalidQuery
from django_jobqueue.job.declaration import wire_name
from django_jobqueue.reports.entries import entries
from django_jobqueue.reports.errors import errors
from django_jobqueue.reports.job import job, places
from django_jobqueue.reports.locks import locks
from django_jobqueue.reports.metrics import metrics
from django_jobqueue.reports.server import server
from tests.api.samples import NAME, ODD, enqueue, jid_of, payload, put, ruby
from tests.conftest import JobqueueSettings
from tests.support.inside import Inside, inside

__all__ = ["inside"]

FAILURE: dict[str, Any] = {
    "retry_count": 1, "retry": 5, "failed_at": 1_700_000_000_000, "error_class": "TimeoutError",
}  # fmt: skip


class HidingJob(Job):
    """Has an argument that nobody is shown."""

    redact = ("token",)

    def perform(self, number: int, token: str) -> None:
        """Do nothing."""

    @classmethod
    def admin_url(cls, payload: Any) -> str | None:
        """Return where its row is."""
        return f"/rows/{payload.args[0]}/"


def hiding(number: int, **fields: Any) -> Any:
    return payload(number, **{"class": wire_name(HidingJob), "args": [number, "sesame"], **fields})


@pytest.fixture(autouse=True)
def _configured(jobqueue_settings: JobqueueSettings) -> None:
    jobqueue_settings()


def test_a_page_of_a_set_has_what_failed_and_how_often(inside: Inside) -> None:
    put(inside, "retry", payload(1, **FAILURE), payload(2), first=1_800_000_000)
    found = entries("retry")
    first, second = found.entries
    assert (found.place, found.size, found.cursor) == ("retry", 2, None)
    assert (first.jid, first.job_class, first.queue) == (jid_of(1), NAME, "low")
    assert first.at == datetime(2027, 1, 15, 8, tzinfo=UTC)
    assert (first.attempts, first.attempts_allowed, first.error_class) == (2, 6, "TimeoutError")
    assert (second.attempts, second.attempts_allowed, second.args) == (0, 26, None)
    assert first.key == f"1800000000.0-{jid_of(1)}"
    assert [each.jid for each in entries("retry", start=1).entries] == [jid_of(2)]
    assert [each.jid for each in entries("retry", newest_first=True, count=1).entries] == [
        jid_of(2)
    ]


def test_a_filter_finds_what_it_says(inside: Inside) -> None:
    put(inside, "dead", *(payload(number) for number in range(30)), hiding(30))
    found = entries("dead", Filter(job_class=wire_name(HidingJob)))
    assert [each.jid for each in found.entries] == [jid_of(30)]
    assert (found.size, found.cursor) == (31, None)
    assert found.filter == {"job_class": wire_name(HidingJob)}


def test_arguments_are_shown_when_they_are_asked_for_and_redacted(inside: Inside) -> None:
    put(inside, "dead", hiding(1, error_message="bad token sesame"))
    plain = json.dumps(entries("dead").as_dict())
    assert "sesame" not in plain
    (entry,) = entries("dead", with_args=True).entries
    assert (entry.args, entry.error_message) == ([1, "[redacted]"], "bad token [redacted]")


def test_bytes_that_are_no_job_are_told_as_such(inside: Inside) -> None:
    enqueue(*ODD)
    put(inside, "dead", *ODD, ruby())
    for place in ("queue:low", "dead"):
        found = entries(place, with_args=True)
        json.dumps(found.as_dict(), allow_nan=False)
        assert [each.valid for each in found.entries].count(False) == len(ODD)
        assert all(each.problem for each in found.entries if not each.valid)


def test_a_place_that_there_is_not_is_refused() -> None:
    for place in ("queue", "processed", "held:", ""):
        with pytest.raises(InvalidQuery):
            entries(place)


def test_a_job_is_found_wherever_it_is_with_all_its_fields(inside: Inside) -> None:
    put(inside, "retry", payload(1, once=True, **FAILURE))
    put(inside, "dead", hiding(2))
    enqueue(payload(3), queue="far")
    assert places() == ["dead", "retry", "schedule", "queue:aside", "queue:far"]
    (found,) = job(jid_of(1))
    assert (found.place, found.fields["error_class"]) == ("retry", "TimeoutError")
    assert found.lock_owner == jid_of(1)
    (found,) = job(jid_of(2), with_args=True)
    assert (found.fields["args"], found.url) == ([2, "[redacted]"], "/rows/2/")
    (found,) = job(jid_of(2))
    assert "args" not in found.fields
    assert [each.place for each in job(jid_of(3))] == ["queue:far"]
    assert job(jid_of(3), place="dead") == []
    assert job("nobody") == []


def test_a_job_that_runs_is_found_too() -> None:
    facts = {"queue": "low", "payload": payload(7).encode().decode(), "run_at": 1_700_000_000}
    store().processes.record("host:1:0123456789ab", {"info": "{}"}, {"t": json.dumps(facts)})
    assert [each.place for each in job(jid_of(7))] == ["process host:1:0123456789ab"]


def test_errors_are_grouped_by_class_error_and_message(inside: Inside) -> None:
    jobs = [payload(n, **FAILURE, error_message=f"after {n} s") for n in range(30)]
    put(inside, "dead", *jobs, payload(90, error_class="KeyError", error_message="'x'"))
    put(inside, "retry", payload(91, **FAILURE, error_message="after 7 s"))
    found = errors()
    first = found.groups[0]
    assert (first.place, first.error_class, first.message) == ("dead", "TimeoutError", "after # s")
    assert (first.count, first.seen, len(found.groups)) == (30, 30, 3)
    assert (found.size, found.looked_at) == (32, 32)
    assert {group.place for group in errors("retry").groups} == {"retry"}
    meant = Filter(job_class=first.job_class, error_class="TimeoutError", message=first.message)
    assert len(entries("dead", meant).entries) == 30


def test_of_many_errors_the_counts_are_estimates(inside: Inside) -> None:
    put(inside, "dead", *(payload(n, **FAILURE) for n in range(300)))
    found = errors("dead", sample=100)
    assert 90 <= found.looked_at <= 110
    assert found.groups[0].count == 300
    assert found.groups[0].seen == found.looked_at


def test_what_a_message_gives_away_is_hidden_in_its_group(inside: Inside) -> None:
    put(inside, "dead", hiding(1, error_class="ValueError", error_message="no: sesame\nmore"))
    (group,) = errors().groups
    assert group.message == "no: [redacted]"


def test_locks_tell_whether_their_holders_live(inside: Inside) -> None:
    put(inside, "retry", payload(1, once=True))
    put(inside, "schedule", payload(2, once=True))
    inside.client.delete(inside.key("schedule"))
    found = {lock.jid: lock for page in _pages() for lock in page}
    assert (found[jid_of(1)].place, found[jid_of(1)].has_holder) == ("retry", True)
    assert (found[jid_of(2)].place, found[jid_of(2)].has_holder) == ("", False)
    assert LockSet().get(found[jid_of(2)].digest) is not None


def _pages() -> Iterator[Any]:
    cursor: int | None = 0
    while cursor is not None:
        found = locks(cursor=cursor, count=100)
        yield found.locks
        cursor = None if found.cursor is None else int(found.cursor)


def test_metrics_are_of_all_classes_or_of_one() -> None:
    found = metrics()
    assert (found.jobs, found.marks) == ((), ())
    (one,) = metrics(NAME, minutes=5).jobs
    assert (one.name, one.processed, one.p50, len(one.series)) == (NAME, 0, None, 5)
    json.dumps(metrics(NAME, hours=1).as_dict(), allow_nan=False)
    with pytest.raises(InvalidQuery, match="metrics are kept for"):
        metrics(minutes=481)
    with pytest.raises(InvalidQuery, match="metrics are kept for"):
        metrics(hours=73)


def test_the_server_tells_what_it_is() -> None:
    found = server().as_dict()
    assert found["version"]
    assert found["rtt"] > 0
    assert (found["evicts"], found["is_too_old"], found["role"]) == (False, False, "master")
    json.dumps(found, allow_nan=False)
