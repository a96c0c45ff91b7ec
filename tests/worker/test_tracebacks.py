"""Tracebacks in the log: one entry stays one entry."""

from __future__ import annotations

import logging

import pytest

from django_jobqueue.worker.executor import logger


def test_an_error_cannot_write_a_log_entry_of_its_own(caplog: pytest.LogCaptureFixture) -> None:
    error = ValueError("x\n2030-01-01 INFO all is well\r\x1b[31m \ud800")
    try:
        raise error
    except ValueError:
        logger.exception("failed")
    first, *trace = caplog.text.splitlines()
    assert first.endswith("failed")
    assert any("2030-01-01 INFO all is well" in line for line in trace)
    assert all(line.startswith("  ") and line.isprintable() for line in trace)
    assert caplog.records[0].exc_info is not None
    assert caplog.records[0].exc_info[1] is error


def test_a_record_without_an_error_is_left_as_it_is(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger.name):
        logger.info("all is well", exc_info=False)
    assert caplog.messages == ["all is well"]
    assert caplog.records[0].exc_text is None
