"""Enqueueing while a switch is on: nothing reaches Redis, whichever call it was."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.db import transaction
from django.test import RequestFactory
from waffle.models import Flag

from django_jobqueue import Job, Payload
from django_jobqueue.client.middleware import Push
from django_jobqueue.conf import KILL_SWITCH_MIDDLEWARE
from django_jobqueue.store.store import Store
from django_jobqueue.switches.state import ON
from django_jobqueue.switches.switches import Switches, View, switches
from tests.conftest import JobqueueSettings
from tests.support.flags import set_flag
from tests.support.inside import Inside
from tests.support.server import RedisServer

FLAG = "disable_halted_job"


class HaltedJob(Job):
    """Its switch is thrown."""

    unique_for = timedelta(minutes=10)

    def perform(self, number: int = 0) -> None:
        """Do nothing."""


@pytest.fixture
def store(jobqueue_settings: JobqueueSettings, redis_server: RedisServer) -> Iterator[Store]:
    """A look at what this test's process wrote."""
    made = Store(redis_server.url, prefix=jobqueue_settings(), timeout=10.0)
    yield made
    made.close()


@pytest.fixture
def on(store: Store) -> None:
    """The switch is on, and other processes say so."""
    store.switches.replace("", {FLAG: "on"})


class ThrowOnArrival:
    """Client middleware: throws the switch when the job 700 comes by, after ``KillSwitch``."""

    def __init__(self, push: Push) -> None:
        self._push = push

    def __call__(self, payload: Payload) -> Payload | None:
        if payload.args == [700]:
            switches().take({FLAG: ON})
        return self._push(payload)


@pytest.mark.usefixtures("on")
def test_while_the_switch_is_on_nothing_is_enqueued_in_any_way(
    store: Store, inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[View] = []
    settle = Switches._settled

    def spy(self: Switches) -> View:
        looks.append(settle(self))
        return looks[-1]

    assert HaltedJob.perform_async(1) is None
    assert HaltedJob.perform_in(60, 2) is None
    monkeypatch.setattr(Switches, "_settled", spy)
    result = HaltedJob.perform_bulk([(number,) for number in range(2_500)])
    assert result == [None] * 2_500
    assert len(looks) == 3  # one a slice
    names = {name for name in inside.names() if not name.startswith("jq:tally:")}
    assert names == {"jq:switches", "jq:counters"}
    assert store.stats.counters()["refused"] == 2_502
    assert store.tally.last() == {f"{__name__}.HaltedJob": {"refused": 2_502}}


@pytest.mark.usefixtures("on")
def test_a_slice_of_refused_jobs_is_counted_in_one_round_trip(
    count_round_trips: Callable[[], int],
) -> None:
    HaltedJob.perform_async(1)
    count_round_trips()
    with switches().pinned():  # the mirror is not read meanwhile
        HaltedJob.perform_bulk([(number,) for number in range(1_000)])
    assert count_round_trips() == 1


def test_a_slice_is_judged_by_one_look(jobqueue_settings: JobqueueSettings) -> None:
    jobqueue_settings(
        CLIENT_MIDDLEWARE=[KILL_SWITCH_MIDDLEWARE, f"{__name__}.ThrowOnArrival"], OUTLET="fake"
    )
    result = HaltedJob.perform_bulk(((number,) for number in range(2_000)), batch_size=1_000)
    assert (result.pushed, len(result)) == (1_000, 2_000)
    assert result[999] is not None
    assert set(result[1_000:]) == {None}


@pytest.mark.usefixtures("on")
def test_a_job_may_be_enqueued_past_its_switch(inside: Inside) -> None:
    jid = HaltedJob.set(bypass_kill_switch=True).perform_async(1)
    assert [job["jid"] for job in inside.jobs()] == [jid]


@pytest.mark.django_db(transaction=True)
def test_thirty_percent_refuse_27_to_33_percent(store: Store) -> None:
    set_flag(FLAG, None, 30)
    rows = [(number,) for number in range(10_000)]
    result = HaltedJob.set(unique_for=None).perform_bulk(rows)
    assert 6_700 <= len([jid for jid in result if jid]) <= 7_300
    # The same answer at every stage.
    for raw in store.queues.page("default", 0, 10_000):
        assert not switches().refuses(Payload.decode(raw))


# What waffle's own settings and fields do not do --------------------------------------


@pytest.mark.django_db(transaction=True)
def test_a_job_without_a_row_is_pushed_whatever_the_default_is(
    settings: Any, inside: Inside, jobqueue_settings: JobqueueSettings
) -> None:
    jobqueue_settings()
    settings.WAFFLE_FLAG_DEFAULT = True
    Flag.objects.filter(name=FLAG).delete()
    assert HaltedJob.perform_async(1) is not None
    assert len(inside.jobs()) == 1


@pytest.mark.django_db(transaction=True)
def test_enqueueing_makes_no_row_and_runs_no_sql(
    settings: Any,
    jobqueue_settings: JobqueueSettings,
    inside: Inside,
    django_assert_num_queries: Callable[[int], Any],
) -> None:
    jobqueue_settings()
    settings.WAFFLE_CREATE_MISSING_FLAGS = True
    Flag.objects.filter(name=FLAG).delete()
    with transaction.atomic(), django_assert_num_queries(0):
        assert HaltedJob.perform_async(1) is not None
    assert len(inside.jobs()) == 1
    assert not Flag.objects.filter(name=FLAG).exists()


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("override", [True, False])
def test_no_request_is_needed_where_waffle_would_ask_it(
    settings: Any, jobqueue_settings: JobqueueSettings, inside: Inside, override: bool
) -> None:
    jobqueue_settings()
    settings.WAFFLE_OVERRIDE = override
    row = set_flag(FLAG, None)
    row.testing, row.authenticated, row.languages = True, True, "en"
    row.save()
    assert HaltedJob.perform_async(1) is not None


@pytest.mark.django_db(transaction=True)
def test_a_superusers_request_enqueues_although_a_fresh_row_is_active_for_him(
    jobqueue_settings: JobqueueSettings, inside: Inside
) -> None:
    jobqueue_settings()
    Flag.objects.filter(name=FLAG).delete()
    row = Flag.objects.create(name=FLAG)
    request = RequestFactory().get("/")
    request.user = get_user_model().objects.create_superuser("ada", "ada@example.com", "x")
    assert row.is_active(request)
    assert HaltedJob.perform_async(1) is not None
    assert len(inside.jobs()) == 1


# Broken transactions ------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_a_job_can_be_enqueued_in_a_broken_transaction(
    jobqueue_settings: JobqueueSettings, inside: Inside
) -> None:
    jobqueue_settings()
    with transaction.atomic():
        transaction.set_rollback(True)
        assert HaltedJob.set(on_commit=False).perform_async(1) is not None
    assert len(inside.jobs()) == 1
