"""A log of JSON: an object a line, with all that is known, and nothing that can be forged."""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from django_jobqueue import Payload
from django_jobqueue.log import JsonFormatter, identify, running
from django_jobqueue.middleware.logging import JobFilter

users = logging.getLogger("shop.jobs")

JOB = Payload({"class": "shop.NoteJob", "args": ["secret"], "jid": "b" * 24, "retry_count": 1})


class Lines(logging.Handler):
    """Keeps what the formatter makes."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(JsonFormatter())
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))

    def last(self) -> dict[str, Any]:
        """Return the last line, read."""
        made: dict[str, Any] = json.loads(self.lines[-1])
        return made


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> Iterator[Lines]:
    """What the users' logger writes."""
    caplog.set_level(logging.DEBUG)
    lines = Lines()
    users.addHandler(lines)
    yield lines
    users.removeHandler(lines)


def test_a_line_has_time_level_logger_message_process_and_thread(log: Lines) -> None:
    users.warning("%d of %d", 1, 2)
    line = log.last()
    assert line.pop("time").endswith("+00:00")
    assert line == {
        "level": "WARNING", "logger": "shop.jobs", "message": "1 of 2", "pid": os.getpid(),
        "thread": "MainThread",
    }  # fmt: skip


def test_the_time_is_iso_8601_in_utc_with_milliseconds() -> None:
    record = logging.makeLogRecord({"created": 1_700_000_000.1239, "msg": "x"})
    assert json.loads(JsonFormatter().format(record))["time"] == "2023-11-14T22:13:20.123+00:00"


@pytest.mark.parametrize(
    "spelled", [r"a\nb", r"a\r\nb", r"\x1b[31m", r"\x00\x7f\x85", r"\u2028", r"\udcff", r"\xe9"]
)
def test_nothing_that_is_said_makes_a_second_line_or_a_control_character(
    log: Lines, spelled: str
) -> None:
    text = spelled.encode().decode("unicode_escape")
    record = logging.makeLogRecord({"msg": "%s", "args": (text,), "note": text})
    # Past pytest, which would report it: half a character cannot be sent from one process
    # of pytest-xdist to the other.
    log.handle(record)
    (line,) = log.lines
    assert line.isascii()
    assert line.isprintable()
    assert (log.last()["message"], log.last()["note"]) == (text, text)


def test_an_exception_is_text_in_the_same_line(log: Lines) -> None:
    try:
        raise ValueError("first\n{second}")
    except ValueError:
        users.exception("failed", stack_info=True)
    assert len(log.lines) == 1
    line = log.last()
    assert line["exception"].startswith("Traceback (most recent call last):\n")
    assert "ValueError: first\n{second}" in line["exception"]
    assert "test_an_exception_is_text" in line["stack"]


def test_a_text_that_was_made_of_the_exception_already_is_kept() -> None:
    try:
        raise ValueError("first")
    except ValueError:
        record = logging.makeLogRecord({"exc_info": sys.exc_info(), "exc_text": "plain"})
    assert json.loads(JsonFormatter().format(record))["exception"] == "plain"


def test_extra_values_of_json_come_along_and_other_objects_do_not(log: Lines) -> None:
    natives = {"elapsed": 0.25, "rows": [1, {"a": None}], "ok": True, "empty": ""}
    others = {"d": Decimal(1), "nan": float("nan"), "nested": [object()], "both": (1, 2)}
    users.info("x", extra={**natives, **others, "level": "forged", "pid": 1})
    line = log.last()
    assert {name: line[name] for name in natives} == natives
    assert not others.keys() & line.keys()
    assert (line["level"], line["pid"]) == ("INFO", os.getpid())


def test_in_a_job_every_line_says_which_and_never_its_arguments(log: Lines) -> None:
    token = running.set(JOB)
    try:
        users.info("within")
    finally:
        running.reset(token)
    line = log.last()
    facts = {name: line[name] for name in ("job", "jid", "queue", "attempt")}
    assert facts == {"job": "shop.NoteJob", "jid": "b" * 24, "queue": "default", "attempt": 3}
    assert "secret" not in log.lines[-1]
    users.info("after")
    assert "jid" not in log.last()


def test_the_filter_of_the_middleware_does_no_harm(log: Lines) -> None:
    log.addFilter(JobFilter())
    users.info("outside")
    assert not {"job", "jid", "queue", "attempt"} & log.last().keys()


def test_a_worker_is_named_in_its_own_process(log: Lines, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("django_jobqueue.log._identities", {})
    identify("host:1:abc")
    users.info("x")
    assert log.last()["identity"] == "host:1:abc"
    record = logging.makeLogRecord({"process": os.getpid() + 1})
    assert "identity" not in json.loads(JsonFormatter().format(record))
