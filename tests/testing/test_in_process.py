"""A real store in the test's own process, and what works it off."""

from __future__ import annotations

import sys
from datetime import timedelta
from importlib import import_module
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.core.exceptions import ImproperlyConfigured

from django_jobqueue import Job, Status
from django_jobqueue.connection import store
from django_jobqueue.testing import disable_job, outbox, use_fakeredis, work_off
from tests.support.polling import wait_until

#: What jobs did.
DONE: list[Any] = []


class StoredJob(Job):
    """Notes its argument."""

    unique_for = timedelta(minutes=1)

    def perform(self, what: Any) -> None:
        """Note it, or fail; a list is enqueued."""
        DONE.append(what)
        if what == "fail":
            raise ValueError("no luck")
        for each in what if isinstance(what, list) else []:
            StoredJob.perform_async(each)


class AgainJob(Job):
    """Is run once more for a duplicate."""

    unique_for = timedelta(minutes=1)
    on_conflict = "rerun"

    def perform(self) -> None:
        """Enqueue its like, the first time."""
        DONE.append("again")
        if len(DONE) == 1:
            DONE.append(AgainJob.enqueue().status)


@pytest.fixture(autouse=True)
def fake(settings: Any) -> None:
    """Let the settings name a box, so that there is another place to go."""
    settings.JOBQUEUE = {"OUTLET": "fake", "KEY_PREFIX": "shop:"}
    DONE.clear()


def test_jobs_are_in_the_store_and_run_until_nothing_is_due() -> None:
    with use_fakeredis():
        StoredJob.perform_async(["a"])
        StoredJob.set(queue="low").perform_async("b")
        StoredJob.perform_in(3600, "later")
        assert store().queues.sizes(["default", "low"]) == {"default": 1, "low": 1}
        assert work_off("low") == 1
        assert DONE == ["b"]
        assert work_off() == 2
        assert DONE == ["b", ["a"], "a"]
        assert work_off() == 0
    outbox().assert_nothing_enqueued()


def test_what_was_for_later_runs_when_its_time_has_come() -> None:
    with use_fakeredis():
        StoredJob.perform_in(0.05, "soon")
        wait_until(lambda: work_off() == 1)
    assert DONE == ["soon"]


@pytest.mark.django_db
def test_what_is_due_runs_inside_the_transaction_of_the_test() -> None:
    group = Group.objects.create(name="of the test")
    with use_fakeredis():
        StoredJob.set(on_commit=False).perform_in(0.05, "soon")
        wait_until(lambda: work_off() == 1)
    assert DONE == ["soon"]
    assert Group.objects.filter(pk=group.pk).exists()


def test_each_begins_empty_and_survives_a_change_of_settings(settings: Any) -> None:
    with use_fakeredis():
        StoredJob.perform_async("a")
        settings.JOBQUEUE = {"OUTLET": "inline", "KEY_PREFIX": "shop:"}
        StoredJob.perform_async("b")
        assert DONE == []
        with use_fakeredis():
            assert work_off() == 0
        assert work_off() == 2


def test_failures_are_kept_as_by_a_worker() -> None:
    with use_fakeredis():
        StoredJob.perform_async("fail")
        assert work_off() == 1
        assert StoredJob.enqueue("fail").status is Status.DUPLICATE  # until its retry ends
        StoredJob.set(retry=0, unique_for=None).perform_async("fail")
        work_off()
        keys = store().keys
        assert store()._link.pipeline([("ZCARD", keys.retry), ("ZCARD", keys.dead)]) == [1, 1]
        assert store()._link.call("ZCARD", keys.leases) == 0


def test_locks_switches_and_reruns_are_those_of_the_store() -> None:
    with use_fakeredis():
        first = StoredJob.enqueue("a")
        assert StoredJob.enqueue("a").existing_jid == first.jid
        with disable_job(StoredJob):
            assert StoredJob.perform_async("b") is None
            work_off()
        assert DONE == []
        assert StoredJob.enqueue("a").status is Status.DUPLICATE  # it is held
        AgainJob.perform_async()
        assert work_off() == 2
        assert DONE == ["again", Status.DUPLICATE, "again"]


@pytest.mark.parametrize("missing", ["fakeredis", "lupa"])
def test_what_is_not_installed_is_told_with_the_extra(
    missing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import_module("fakeredis")  # which would not look for Lua again
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(ImproperlyConfigured, match=r"pip install 'django-jobqueue\[fakeredis\]'"):
        use_fakeredis().enable()
    outbox()
