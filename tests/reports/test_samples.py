"""Samples: all where few are, and of huge jobs no more than a page has time for."""

from __future__ import annotations

import pytest

from django_jobqueue.api import DeadSet
from django_jobqueue.reports import samples
from tests.api.samples import payload, put
from tests.conftest import JobqueueSettings
from tests.support.inside import Inside, inside

__all__ = ["inside"]


@pytest.fixture(autouse=True)
def _redis(jobqueue_settings: JobqueueSettings) -> None:
    jobqueue_settings()


def test_of_small_jobs_a_sample_has_as_many_as_are_asked_for(inside: Inside) -> None:
    put(inside, "dead", *(payload(n) for n in range(300)))
    assert len(samples.sample(DeadSet(), 500)) == 300
    assert len(samples.sample(DeadSet(), 5)) == 5
    assert 90 <= len(samples.sample(DeadSet(), 100)) <= 100


def test_of_huge_jobs_it_has_fewer(inside: Inside, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(samples, "BYTES", 200_000)
    put(inside, "dead", *(payload(n, args=["x" * 10_000]) for n in range(100)))
    assert 15 <= len(samples.sample(DeadSet(), 100)) <= 20
    put(inside, "dead", *(payload(n, args=["x" * 100_000]) for n in range(100)))
    assert len(samples.sample(DeadSet(), 100)) <= samples.FIRST
