"""What a caller is told about a push."""

from __future__ import annotations

import dataclasses

import pytest

from django_jobqueue import BulkResult, EnqueueResult, Status


def test_a_result_is_true_only_when_the_job_was_pushed() -> None:
    assert EnqueueResult(Status.PUSHED, "a" * 24)
    assert not EnqueueResult(Status.REFUSED, reason="switched off")
    assert EnqueueResult(Status.REFUSED).jid is None


def test_a_result_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        EnqueueResult(Status.PUSHED).jid = "b"  # type: ignore[misc]


def test_a_bulk_result_is_a_list_and_counts() -> None:
    result = BulkResult(["a", None, "b", None, None])
    assert result == ["a", None, "b", None, None]
    assert (result.pushed, result.refused) == (2, 3)
    result.append("c")
    assert result.pushed == 3
    assert (BulkResult().pushed, BulkResult().refused) == (0, 0)
