"""Jobs that run where they are enqueued: the same serializer, chains and bookkeeping, no Redis."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.db import transaction

from django_jobqueue import Discard, Job, Payload, Skip, Snooze
from django_jobqueue.client.outlet import use_outlet
from django_jobqueue.exceptions import ArgumentNotSerializable, InvalidPayload, UnknownJob
from django_jobqueue.testing import InlineOutlet
from tests.client.recorders import RefuseOdd, Tenant
from tests.client.recorders import path_of as client_path
from tests.worker import recorders
from tests.worker.recorders import SEEN, path_of


class WorkJob(Job):
    """Does what its argument names."""

    def perform(self, what: Any, error: str = "ValueError") -> Any:
        """Work, or not."""
        SEEN.append((what, self.payload.context, self.is_inline))
        if what == "fail":
            raise {"ValueError": ValueError, "SystemExit": SystemExit}[error]("no luck")
        if what == "snooze":
            raise Snooze(30)
        if what == "skip":
            raise Skip
        if what == "discard":
            raise Discard("why")
        return what

    def on_exhausted(self, error: BaseException) -> None:
        """Note it."""
        SEEN.append(("exhausted", type(error)))


class ChainJob(Job):
    """Enqueues others."""

    def perform(self, count: int) -> None:
        """Enqueue the next one."""
        SEEN.append(count)
        if count:
            ChainJob.perform_in(3600, count - 1)


@pytest.fixture(autouse=True)
def outlet(settings: Any) -> Iterator[InlineOutlet]:
    """The outlet that all pushes go to."""
    settings.JOBQUEUE = {
        "OUTLET": "inline",
        "CLIENT_MIDDLEWARE": client_path(Tenant),
        "SERVER_MIDDLEWARE": path_of(recorders.First),
    }
    SEEN.clear()
    made = InlineOutlet()
    with use_outlet(made):
        yield made
    SEEN.clear()


def test_a_job_runs_at_once_whatever_its_time(outlet: InlineOutlet) -> None:
    jid = WorkJob.perform_async("now")
    WorkJob.perform_in(3600, "later")
    WorkJob.perform_at(4e9, "far")
    WorkJob.perform_bulk([("a",), ("b",)])
    ran = [entry[0] for entry in SEEN if entry[0] not in ("first in", "first out")]
    assert ran == ["now", "later", "far", "a", "b"]
    assert ("first in", jid) in SEEN


def test_both_chains_are_passed_and_the_job_knows_that_it_is_in_line(outlet: InlineOutlet) -> None:
    jid = WorkJob.perform_async("x")
    seen = list(SEEN)
    assert seen == [("first in", jid), ("x", {"tenant": 7}, True), ("first out", jid)]


def test_perform_inline_passes_both_chains_and_returns_the_result(settings: Any) -> None:
    given = {"a": [1, "ä", None]}
    assert WorkJob.perform_inline(given) == given
    assert SEEN[1] == (given, {"tenant": 7}, True)
    settings.JOBQUEUE = {"OUTLET": "fake", "CLIENT_MIDDLEWARE": client_path(RefuseOdd)}
    SEEN.clear()
    assert WorkJob.perform_inline(1) is None
    assert SEEN == []


def test_what_redis_could_not_hold_is_refused() -> None:
    with pytest.raises(ArgumentNotSerializable):
        WorkJob.perform_async({1})
    with pytest.raises(ArgumentNotSerializable):
        WorkJob.perform_inline((1,))


@pytest.mark.parametrize("name", ["ValueError", "SystemExit"])
def test_a_failure_reaches_the_caller_and_the_retry_is_kept(
    outlet: InlineOutlet, name: str
) -> None:
    with pytest.raises((ValueError, SystemExit), match="no luck") as caught:
        WorkJob.perform_async("fail", name)
    assert caught.type.__name__ == name
    (job,) = outlet.retries
    assert job.fields["error_class"] == name
    assert job.retry_count == 0
    assert outlet.dead == outlet.scheduled == []


def test_the_last_failure_is_kept_among_the_dead(outlet: InlineOutlet) -> None:
    with pytest.raises(ValueError, match="no luck"):
        WorkJob.set(retry=0).perform_async("fail")
    (job,) = outlet.dead
    assert job.fields["error_message"] == "no luck"
    assert ("exhausted", ValueError) in SEEN
    with pytest.raises(ValueError, match="no luck"):
        WorkJob.set(retry=False).perform_async("fail")
    assert len(outlet.dead) == 1
    assert outlet.retries == []


def test_control_flow_is_no_failure(outlet: InlineOutlet) -> None:
    assert WorkJob.perform_async("snooze") is not None
    assert WorkJob.perform_async("skip") is not None
    assert WorkJob.perform_async("discard") is not None
    assert WorkJob.perform_inline("discard") is None
    assert [job.args for job in outlet.scheduled] == [["snooze"]]
    assert ("exhausted", Discard) in SEEN
    assert outlet.retries == outlet.dead == []


def test_jobs_after_one_that_fails_do_not_run(outlet: InlineOutlet) -> None:
    with pytest.raises(ValueError, match="no luck"):
        WorkJob.perform_bulk([("a",), ("fail",), ("b",)])
    assert [entry[0] for entry in SEEN if len(entry) == 3] == ["a", "fail"]


def test_a_job_that_enqueues_runs_what_it_enqueues(outlet: InlineOutlet) -> None:
    ChainJob.perform_async(3)
    assert [entry for entry in SEEN if isinstance(entry, int)] == [3, 2, 1, 0]


def test_a_skipped_job_returns_none(settings: Any) -> None:
    settings.JOBQUEUE = {"OUTLET": "fake", "SERVER_MIDDLEWARE": path_of(recorders.Forget)}
    assert WorkJob.perform_inline("x") is None
    assert SEEN == []


def test_an_unknown_class_is_told_and_kept_for_a_deploy(outlet: InlineOutlet) -> None:
    payload = Payload({"class": "shop.jobs.NewJob", "args": [], "jid": "b" * 24})
    with pytest.raises(UnknownJob):
        outlet.run(payload)
    assert [job.jid for job in outlet.scheduled] == ["b" * 24]


def test_bytes_that_are_no_job_are_told(outlet: InlineOutlet) -> None:
    with pytest.raises(InvalidPayload):
        outlet.perform(b"junk")


@pytest.mark.django_db(transaction=True)
def test_inside_a_transaction_the_job_waits_for_the_commit(outlet: InlineOutlet) -> None:
    with transaction.atomic():
        WorkJob.perform_async("x")
        assert SEEN == []
    assert len(SEEN) == 3


@pytest.mark.django_db(transaction=True)
def test_a_failure_after_the_commit_reaches_the_caller_of_the_commit() -> None:
    with pytest.raises(ValueError, match="no luck"), transaction.atomic():
        WorkJob.perform_async("fail")
