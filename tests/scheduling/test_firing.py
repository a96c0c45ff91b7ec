"""The job of a timetable gets to its queue as any other: with its options, asked and counted."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from django_jobqueue import Job, exceptions
from django_jobqueue.conf import KILL_SWITCH_MIDDLEWARE
from django_jobqueue.connection import store
from django_jobqueue.scheduling import firing
from django_jobqueue.signals import job_enqueued
from django_jobqueue.store.tally import REFUSED
from django_jobqueue.switches.naming import flag_names
from django_jobqueue.switches.state import ON
from django_jobqueue.switches.switches import switches
from django_jobqueue.timetable import Timetable
from tests.conftest import JobqueueSettings
from tests.support.inside import Inside

SLOT = 1_800_000_000


class Tidy(Job):
    """Is due now and then."""

    queue = "chores"
    retry = 3
    self_healing = False

    def perform(self, *args: Any) -> None:
        """Do nothing."""


class UniqueTidy(Tidy):
    """Is never on its way twice."""

    unique_for = timedelta(minutes=10)


class Narrow(Job):
    """Takes nothing."""

    self_healing = False

    def perform(self) -> None:
        """Do nothing."""


class Abstract(Job):
    """Is for others to derive from."""

    abstract = True


@pytest.fixture(autouse=True)
def _configured(jobqueue_settings: JobqueueSettings) -> None:
    jobqueue_settings(CLIENT_MIDDLEWARE=[])


def timetable(job: type[Job] = Tidy, **options: Any) -> Timetable:
    return Timetable("tidy", f"{__name__}.{job.__qualname__}", every=60, **options)


def test_the_job_of_a_slot_has_the_options_of_its_class(inside: Inside) -> None:
    jid = firing.push_slot(timetable(args=(1, ["x"])), SLOT)
    (job,) = inside.jobs("chores")
    assert job["jid"] == jid == firing.slot_jid("tidy", SLOT)
    assert (job["args"], job["retry"], job["queue"]) == ([1, ["x"]], 3, "chores")
    assert "enqueued_at" in job
    assert "unique_digest" not in job


def test_a_second_push_of_a_slot_writes_nothing_and_is_no_refusal(inside: Inside) -> None:
    first = firing.push_slot(timetable(), SLOT)
    assert firing.push_slot(timetable(), SLOT) == first
    assert firing.push_slot(timetable(), SLOT + 60) != first
    assert len(inside.raw("chores")) == 2


def test_the_memory_of_a_slot_ends(inside: Inside) -> None:
    firing.push_slot(timetable(), SLOT)
    (lock,) = (name for name in inside.names() if name.startswith("jq:unique:"))
    assert 0 < inside.client.pttl(inside.key(lock)) <= firing.REMEMBERED * 1000


def test_a_unique_job_keeps_its_own_lock(inside: Inside) -> None:
    jid = UniqueTidy.perform_async(5)
    assert firing.push_slot(timetable(UniqueTidy, args=(5,)), SLOT) is None
    assert firing.push_slot(timetable(UniqueTidy, args=(6,)), SLOT) is not None
    assert [job["args"] for job in inside.jobs("chores")] == [[5], [6]]
    assert inside.jobs("chores")[0]["jid"] == jid
    assert UniqueTidy.perform_async(6) is None


def test_a_kill_switch_refuses_a_slot_and_counts_it(
    inside: Inside, jobqueue_settings: JobqueueSettings
) -> None:
    jobqueue_settings(CLIENT_MIDDLEWARE=[KILL_SWITCH_MIDDLEWARE])
    with switches().overridden({flag_names(Tidy)[0]: ON}):
        assert firing.push_slot(timetable(), SLOT) is None
    assert inside.raw("chores") == []
    assert not [name for name in inside.names() if name.startswith("jq:unique:")]
    assert store().tally.last(60)[f"{__name__}.Tidy"][REFUSED] == 1
    assert firing.push_slot(timetable(), SLOT) is not None


def test_who_listens_is_told_of_a_slot(inside: Inside) -> None:
    heard: list[str] = []

    def hear(*, payload: Any, at: float | None, **facts: Any) -> None:
        heard.append(payload.jid)

    job_enqueued.connect(hear)
    try:
        jid = firing.push_slot(timetable(), SLOT)
    finally:
        job_enqueued.disconnect(hear)
    assert heard == [jid]


def test_it_can_be_run_now_or_a_little_later(inside: Inside) -> None:
    first, second = firing.run_now(timetable()), firing.run_now(timetable(), 5.0)
    assert [job["jid"] for job in inside.jobs("chores")] == [first]
    assert inside.entry("schedule")[0]["jid"] == second
    assert len({first, second, firing.slot_jid("tidy", SLOT)}) == 3


@pytest.mark.parametrize("name", ["Abstract", "SLOT", "Inside"])
def test_what_is_no_job_class_is_not_run(name: str) -> None:
    with pytest.raises(TypeError, match=f"{name} is no job class that can run"):
        firing.job_of(Timetable("tidy", f"{__name__}.{name}", every=60))


def test_arguments_that_do_not_fit_are_refused(inside: Inside) -> None:
    with pytest.raises(exceptions.InvalidArguments):
        firing.push_slot(timetable(Narrow, args=(1,)), SLOT)
    with pytest.raises(exceptions.ArgumentNotSerializable):
        firing.push_slot(timetable(args=({1, 2},)), SLOT)
    assert inside.raw("chores") == []


def test_a_timetable_is_found_by_its_name(jobqueue_settings: JobqueueSettings) -> None:
    jobqueue_settings(
        PERIODIC={"tidy": {"job": "shop.jobs.Tidy", "every": 60}},
        RECONCILERS={"shop.jobs.Heal": {"every": 60}},
    )
    assert firing.find_timetable("tidy").job == "shop.jobs.Tidy"
    assert firing.find_timetable("shop.jobs.Heal").every == 60
    with pytest.raises(exceptions.UnknownTimetable, match=r"There are: shop.jobs.Heal, tidy\."):
        firing.find_timetable("zzz")
