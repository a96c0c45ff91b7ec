"""A filter says which jobs are meant: as a value that can be shown, kept and sent."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from django.http import QueryDict

from django_jobqueue.api import (
    DeadSet,
    Filter,
    JobRecord,
    Queue,
    RetrySet,
    ScheduledSet,
    error_group,
    top_frame,
)
from django_jobqueue.exceptions import InvalidQuery
from django_jobqueue.retry import pack_backtrace
from tests.api.samples import NAME, ODD, RUBY, LookJob, enqueue, jid_of, payload, put, ruby
from tests.conftest import JobqueueSettings
from tests.support.inside import Inside

#: A traceback as our workers write one, the innermost frame last.
TRACEBACK = [
    '  File "/srv/app/shop/jobs.py", line 12, in perform\n    pay()',
    '  File "/srv/app/shop/bank.py", line 7, in pay\n    raise TimeoutError',
]

#: A failed job.
FAILED: dict[str, Any] = {
    "error_class": "TimeoutError", "error_message": "no answer from 10.0.0.7:5432 in 2.5 s\nmore",
    "error_backtrace": pack_backtrace(TRACEBACK), "tags": ["mail", 7], "enqueued_at": 1000_000,
}  # fmt: skip


def record(**fields: Any) -> JobRecord:
    return JobRecord(payload(1, **{**FAILED, **fields}).encode())


# What it says ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("meant", "other"),
    [
        ({"text": '"args":[1]'}, {"text": "nothing"}),
        ({"job_class": NAME}, {"job_class": NAME[:-1]}),
        ({"error_class": "TimeoutError"}, {"error_class": "Timeout"}),
        ({"message": "no answer from # in # s"}, {"message": "answer"}),
        ({"message": "no answer from 10.1.2.3:99"}, {"message": "no answer from here"}),
        ({"frame": "shop/bank.py in pay"}, {"frame": "shop/jobs.py in perform"}),
        ({"queue": "low"}, {"queue": "lo"}),
        ({"tag": "mail"}, {"tag": "mai"}),
        ({"tag": "7"}, {"tag": "8"}),
        ({"jid": jid_of(1)}, {"jid": jid_of(2)}),
        ({"since": 1000.0}, {"since": 1000.5}),
        ({"until": 1000.0}, {"until": 999.5}),
        ({"queue": "low", "tag": "mail"}, {"queue": "low", "tag": "no"}),
    ],
)
def test_each_condition_holds_for_what_it_means(
    meant: dict[str, Any], other: dict[str, Any]
) -> None:
    assert Filter(**meant).matches(record())
    assert not Filter(**other).matches(record())


def test_an_empty_one_holds_for_everything() -> None:
    assert Filter().is_empty
    assert str(Filter()) == "all jobs"
    assert all(Filter().matches(JobRecord(raw)) for raw in [*ODD, ruby()])


def test_a_class_is_meant_by_either_of_its_names() -> None:
    for name in ("InvoiceMailer", "Sidekiq::ActiveJob::Wrapper"):
        assert Filter(job_class=name).matches(JobRecord(ruby()))


def test_a_text_is_found_however_json_writes_it() -> None:
    text = 'Grüße "von" \\ 7'
    job = {**RUBY, "args": [text]}
    for escaped in (True, False):
        raw = json.dumps(job, ensure_ascii=escaped).encode()
        assert Filter(text=text).matches(JobRecord(raw))
    assert Filter(text='["Gr').matches(JobRecord(json.dumps(job).encode()))


def test_times_are_those_of_the_queue_or_of_the_making() -> None:
    assert Filter(since=5).matches(record(enqueued_at=None, created_at=6_000))
    assert not Filter(since=5).matches(record(enqueued_at=None))
    assert not Filter(until=5).matches(JobRecord(b"null"))


def test_it_never_stumbles_over_what_was_written() -> None:
    each = Filter(
        text="a", job_class="a", error_class="a", message="a", frame="a", queue="a", tag="a",
        jid="a", since=0, until=1,
    )  # fmt: skip
    odd: list[Any] = [None, True, 7, 1e300, [], [[]], {}, "\x00", "\ud800", "a" * 10_000]
    for name in (*FAILED, "queue", "jid", "class", "created_at", "wrapped"):
        for value in odd:
            raw = json.dumps({**payload(1, **FAILED).fields, name: value}).encode()
            entry = JobRecord(raw)
            error_group(entry)
            for condition, given in each.as_dict().items():
                Filter(**{condition: given}).matches(entry)
    assert not any(each.matches(JobRecord(raw)) for raw in ODD)


# Errors of a kind -----------------------------------------------------------------


def test_errors_of_a_kind_are_one_group_whatever_their_numbers() -> None:
    group = error_group(record())
    assert group == (NAME, "TimeoutError", "shop/bank.py in pay", "no answer from # in # s")
    moved = [line.replace("line 7", "line 9") for line in TRACEBACK]
    again = record(
        error_message="no  answer from 192.168.0.1:1 in 9 s", error_backtrace=pack_backtrace(moved)
    )
    assert error_group(again) == group


@pytest.mark.parametrize(
    ("message", "told"),
    [
        ("<Order at 0x7f3A> of 6ba7b810-9dad-11d1-80b4-00c04fd430c8", "<Order at #> of #"),
        ("no job deadbeef00112233 in facade", "no job # in facade"),
        ("x" * 500, "x" * 200),
        ("\n\n first\r\nsecond", "first"),
        ("", ""),
    ],
)
def test_a_message_is_told_without_what_differs(message: str, told: str) -> None:
    group = error_group(record(error_message=message))
    assert group[3] == told
    assert error_group(record(error_message=told))[3] == told


def test_the_top_frame_is_the_innermost() -> None:
    assert top_frame(record(error_backtrace=["/app/bank.rb:12:in `pay'", "/app/job.rb:3"])) == (
        "/app/bank.rb:#:in `pay'"
    )
    assert top_frame(record(error_backtrace=['File "C:\\shop\\jobs.py", line 3'])) == "shop/jobs.py"
    assert top_frame(record(error_backtrace=None)) == ""


def test_the_filter_of_a_group_holds_for_all_of_it_and_no_other() -> None:
    entries = [
        record(), record(error_message="no answer from 1 in 2 s"),
        record(error_message="no answer from 1 in 2 s of 3"), record(error_message=""),
        record(error_backtrace=None), record(error_class="OSError"), record(wrapped="Other"),
        record(error_class="E" * 5000, error_message="m" * 5000),
        JobRecord(ruby()), JobRecord(b"null"),
    ]  # fmt: skip
    groups = [error_group(entry) for entry in entries]
    for group in groups:
        meant = Filter.of(json.loads(json.dumps(Filter.of_error(group).as_dict())))
        assert [meant.matches(entry) for entry in entries] == [each == group for each in groups]


# As a value -----------------------------------------------------------------------


def test_it_is_told_to_people() -> None:
    assert str(Filter(job_class="BackupJob", error_class="TimeoutError")) == (
        "class BackupJob, error TimeoutError"
    )
    assert str(Filter(text="a\x1b[0m", jid="b\x1b", since=0)) == (
        "text 'a\\x1b[0m', jid b\\x1b, since 1970-01-01 00:00:00 UTC"
    )


def test_it_travels_as_json_and_in_a_query_string() -> None:
    meant = Filter(job_class="BackupJob", tag="x", since=1.5, exact=True)
    assert meant.as_dict() == {"job_class": "BackupJob", "tag": "x", "since": 1.5, "exact": True}
    assert Filter.of(json.loads(json.dumps(meant.as_dict()))) == meant
    query = QueryDict("job_class=BackupJob&tag=x&since=1.5&exact=1&jid=&until=")
    assert Filter.of(query) == meant
    assert Filter.of({"since": "1970-01-01T00:00:07Z", "until": None}) == Filter(since=7.0)


@pytest.mark.parametrize(
    "given",
    [
        {"klass": "A"}, {"text": 7}, {"text": "a" * 501}, {"since": "yesterday"}, {"since": True},
        {"since": float("nan")}, {"until": "inf"}, {"until": "2027-02-31"}, {"exact": "yes"},
        {"job_class": ["A"]},
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_with_its_value(given: dict[str, Any]) -> None:
    with pytest.raises(InvalidQuery, match=r"^\w+=.* is not possible: "):
        Filter.of(given)


@pytest.mark.parametrize(
    ("meant", "hint"),
    [
        (Filter(), None),
        (Filter(job_class=NAME), NAME),
        (Filter(job_class=NAME, error_class="Net::ReadTimeout"), "Net::ReadTimeout"),
        (Filter(jid="abc", text="def"), "abc"),
        (Filter(text='a"b', tag="mail"), "mail"),
        (Filter(tag="7"), None),
        (Filter(tag="True"), None),
        (Filter(text="é", message="m", frame="f", queue="q"), None),
    ],
)
def test_the_hint_stands_in_whatever_it_holds_for(meant: Filter, hint: str | None) -> None:
    assert meant.hint == hint


# Searching ------------------------------------------------------------------------


@pytest.fixture
def _configured(jobqueue_settings: JobqueueSettings) -> None:
    jobqueue_settings()


def numbers(entries: list[Any]) -> list[int]:
    return sorted(entry.args[0] for entry in entries)


@pytest.mark.usefixtures("_configured")
def test_a_queue_and_a_set_are_searched_with_a_filter(inside: Inside) -> None:
    jobs = [payload(n, tags=["odd"] if n % 2 else [], enqueued_at=n * 1000) for n in range(10)]
    enqueue(*jobs)
    put(inside, "dead", *jobs, *ODD)
    meant = Filter(job_class=NAME, tag="odd")
    for jobs_of in (Queue("low"), DeadSet()):
        found = jobs_of.search(meant)
        assert (numbers(found.entries), found.cursor) == ([1, 3, 5, 7, 9], None)
    assert numbers(Queue("low").search(Filter(tag="odd", since=2, until=7)).entries) == [3, 5, 7]
    assert len(DeadSet().search(Filter()).entries) == 10 + len(ODD)
    assert [entry.jid for entry in DeadSet().search(Filter(jid=jid_of(4))).entries] == [jid_of(4)]


def gather(search: Callable[[int], Any], between: Callable[[Any], None]) -> list[int]:
    """Search with steps as small as can be; ``between`` is given what each has found."""
    met: list[int] = []
    cursor: int | None = 0
    while cursor is not None:
        found = search(cursor)
        met += [entry.args[0] for entry in found.entries]
        between(found)
        cursor = found.cursor
    return met


@pytest.mark.usefixtures("_configured")
def test_some_time_of_a_set_is_read_by_its_times_and_nobody_is_passed_over(
    inside: Inside, count_round_trips: Callable[[], int]
) -> None:
    raws = put(inside, "schedule", *map(payload, range(1700)), first=0.0)
    inside.client.zadd(inside.key("schedule"), dict.fromkeys(raws[300:1000], 300.0))
    scheduled = ScheduledSet()
    count_round_trips()
    found = scheduled.search(Filter(since=1690, until=1695))
    assert (numbers(found.entries), found.looked_at) == (list(range(1690, 1696)), 6)
    assert count_round_trips() == 1
    meant = Filter(since=100, until=1600)

    def take(found: Any) -> None:
        for entry in found.entries[-2:]:
            assert entry.delete()

    met = gather(lambda cursor: scheduled.search(meant, budget=0, cursor=cursor), take)
    # Of the long run with one score as many may be passed over as have left of it.
    assert set(range(100, 1601)) - set(met) <= set(range(300, 1000))
    assert len(set(met)) >= 1501 - 2
    assert len(met) == len(set(met))


@pytest.mark.usefixtures("_configured")
def test_redis_looks_for_the_hint_where_most_of_the_set_is_meant(inside: Inside) -> None:
    put(inside, "retry", *map(payload, range(600)), first=0.0)
    meant = Filter(job_class=NAME, since=10, until=590)
    met = gather(lambda cursor: RetrySet().search(meant, budget=0, cursor=cursor), lambda _: None)
    assert set(met) == set(range(10, 591))
    few = Filter(job_class=NAME, since=10, until=20)
    assert numbers(RetrySet().search(few).entries) == list(range(10, 21))


@pytest.mark.usefixtures("_configured")
def test_a_cursor_that_no_search_has_returned_is_refused() -> None:
    for cursor in (-1, True, "0", 1 << 97, (1 << 96) | (0x7FF8 << 80)):
        with pytest.raises(InvalidQuery, match="cursor="):
            DeadSet().search(Filter(since=0), cursor=cursor)  # type: ignore[arg-type]


def test_the_class_itself_is_no_text() -> None:
    with pytest.raises(InvalidQuery, match="job_class="):
        Filter(job_class=LookJob)  # type: ignore[arg-type]
