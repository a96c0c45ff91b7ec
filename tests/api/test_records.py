"""What a job says of itself, whoever wrote it, and however badly."""

from __future__ import annotations

import base64
import json
import zlib
from datetime import UTC, datetime
from typing import Any

import pytest

from django_jobqueue.api import JobRecord
from django_jobqueue.api.records import BACKTRACE_LINES
from django_jobqueue.payload import Payload, wrap_invalid
from django_jobqueue.retry import pack_backtrace
from tests.api.samples import NAME, ODD, jid_of, payload, ruby
from tests.support.clocks import freeze

#: Every property that a page or a command reads.
PROPERTIES = [name for name, value in vars(JobRecord).items() if isinstance(value, property)]

HOSTILE: list[Any] = [
    None, True, -1, 1.5, 10**400, float("1e300"), "", "x" * 100_000, "\u202e<script>\n", [], [[]],
    {}, {"a": {"b": []}}, "\ud800",
]  # fmt: skip


def read_all(record: JobRecord) -> dict[str, Any]:
    return {name: getattr(record, name) for name in PROPERTIES} | {"repr": repr(record)}


def test_our_own_job_is_read() -> None:
    record = JobRecord(payload(7, created_at=1_700_000_000_250, tags=["a"]).encode())
    assert (record.jid, record.job_class, record.args) == (jid_of(7), NAME, [7])
    assert (record.queue, record.tags, record.is_valid) == ("low", ["a"], True)
    assert record.created_at == datetime(2023, 11, 14, 22, 13, 20, 250_000, UTC)
    assert record.enqueued_at is record.failed_at is record.retried_at is record.held_at is None
    assert (record.retry_count, record.error_class, record.error_message) == (None, "", "")
    assert record.error_backtrace == []
    assert record.original is None
    assert record.unique_digest is None


def test_the_job_of_a_ruby_client_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    freeze(monkeypatch).now = 1_700_000_011.5
    record = JobRecord(ruby(error_backtrace=pack_backtrace(["a.rb:1", "b.rb:2"])))
    assert record.job_class == "Sidekiq::ActiveJob::Wrapper"
    assert record.display_class == "InvoiceMailer"
    assert record.enqueued_at == datetime(2023, 11, 14, 22, 13, 21, 500_000, UTC)
    assert record.failed_at == datetime(2023, 11, 14, 22, 13, 22, 750_000, UTC)
    assert record.latency == 10.0
    assert (record.retry_count, record.error_class) == (0, "Net::ReadTimeout")
    assert record.error_message == "execution expired"
    assert record.error_backtrace == ["a.rb:1", "b.rb:2"]
    assert record.tags == ["mail", "7"]
    assert record.context == {"tenant": "acme"}
    assert record.fields["wrapped"] == "InvoiceMailer"


def test_a_traceback_of_long_ago_is_a_plain_list() -> None:
    assert JobRecord(ruby(error_backtrace=["a.rb:1", 2])).error_backtrace == ["a.rb:1", "2"]
    long = JobRecord(ruby(error_backtrace=["x"] * (BACKTRACE_LINES + 5)))
    assert len(long.error_backtrace) == BACKTRACE_LINES


@pytest.mark.parametrize(
    "packed",
    [
        "no base64", base64.b64encode(b"not zlib").decode(), pack_backtrace(["x", "y"])[:8],
        base64.b64encode(zlib.compress(b'{"no": "list"}')).decode(),
        # A bomb: 20 MB in 20 kB.
        base64.b64encode(zlib.compress(b'["' + b"x" * 20_000_000 + b'"]')).decode(),
    ],
    ids=["base64", "zlib", "cut", "object", "bomb"],
)  # fmt: skip
def test_a_traceback_that_cannot_be_unpacked_is_none(packed: str) -> None:
    assert JobRecord(ruby(error_backtrace=packed)).error_backtrace == []


@pytest.mark.parametrize("raw", ODD, ids=lambda raw: repr(raw[:8]))
def test_bytes_that_are_no_job_are_shown(raw: bytes) -> None:
    record = JobRecord(raw, "low")
    assert read_all(record)["is_valid"] is False
    assert (record.raw, record.jid, record.args, record.queue) == (raw, "", [], "low")
    assert record.problem


@pytest.mark.parametrize("value", HOSTILE, ids=lambda value: repr(value)[:20])
def test_no_property_trusts_a_type(value: Any) -> None:
    names = [
        *("queue", "tags", "created_at", "enqueued_at", "failed_at", "retried_at", "held_at"),
        *("retry_count", "crashes", "error_class", "error_message", "error_backtrace", "cattr"),
        *("wrapped", "display_class", "unique_digest", "retry", "raw"),
    ]
    fields = {"class": "InvalidPayload", "args": [], "jid": "1", **dict.fromkeys(names, value)}
    found = read_all(JobRecord(json.dumps(fields).encode()))
    assert all(type(found[name]) is str for name in ("queue", "error_class", "display_class"))
    assert found["repr"].isprintable()


def test_what_a_shell_prints_has_no_arguments() -> None:
    shown = repr(JobRecord(payload(1, args=["secret"]).encode()))
    assert "secret" not in shown
    assert NAME in shown


def test_the_bytes_that_a_worker_kept_are_given_back() -> None:
    raw = b"\xff no job"
    assert JobRecord(wrap_invalid(raw, "low").encode()).original == raw
    assert JobRecord(Payload({"class": "A", "args": [], "jid": "1"}).encode()).original is None
