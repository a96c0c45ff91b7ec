"""Fixtures for pytest, which finds them by our entry point. Where nobody asks they do nothing."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from django_jobqueue.testing.contexts import fake_jobs as put_into_box
from django_jobqueue.testing.contexts import inline_jobs as run_inline
from django_jobqueue.testing.fake import FakeOutlet
from django_jobqueue.testing.in_process import use_fakeredis
from django_jobqueue.testing.outbox import begin_test
from django_jobqueue.worker.inline import InlineOutlet


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """Let the box of the settings be empty for each test."""
    begin_test()


@pytest.fixture
def fake_jobs() -> Iterator[FakeOutlet]:
    """The box that the jobs of this test are put into."""
    with put_into_box() as box:
        yield box


@pytest.fixture
def inline_jobs() -> Iterator[InlineOutlet]:
    """Jobs run where they are enqueued; tells what Redis would hold now."""
    with run_inline() as outlet:
        yield outlet


@pytest.fixture
def jobqueue_redis() -> Iterator[None]:
    """Jobs go to a Redis in this process, new and empty; ``work_off()`` runs them."""
    with use_fakeredis():
        yield
