"""What a caller is told about a push."""

from __future__ import annotations

import dataclasses

import pytest

from django_jobqueue import BulkResult, EnqueueResult, Payload, Status
from django_jobqueue.client.results import Answer


def test_a_result_is_true_only_when_the_job_was_pushed() -> None:
    assert EnqueueResult(Status.PUSHED, "a" * 24)
    assert not EnqueueResult(Status.REFUSED, reason="switched off")
    assert EnqueueResult(Status.REFUSED).jid is None


def test_a_result_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        EnqueueResult(Status.PUSHED).jid = "b"  # type: ignore[misc]


def test_a_bulk_result_is_a_list_and_counts() -> None:
    result = BulkResult()
    assert (result.pushed, result.refused) == (0, 0)
    statuses = (
        Status.PUSHED, Status.REFUSED, Status.PUSHED, Status.DISABLED, Status.DUPLICATE,
        Status.DISABLED, Status.COOLING,
    )  # fmt: skip
    payloads = [Payload({"class": "HardJob", "args": [], "jid": letter}) for letter in "abcdefg"]
    result.add(map(Answer, statuses[:3], payloads))
    result.add(map(Answer, statuses[3:], payloads[3:]))
    assert result == ["a", None, "c", None, None, None, None]
    assert (result.pushed, result.refused, result.disabled) == (2, 1, 2)
    assert (result.duplicates, result.cooling) == (1, 1)
