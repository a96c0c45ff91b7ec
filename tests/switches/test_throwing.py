"""Throwing switches for an operator."""

from __future__ import annotations

import pytest

from django_jobqueue.models import KillSwitchEvent
from django_jobqueue.switches import flags, throwing
from django_jobqueue.switches.events import Source
from django_jobqueue.switches.state import OFF, ON, State
from tests.conftest import JobqueueSettings
from tests.support.flags import set_flag

FLAG, FORMER = "disable_thrown_job", "disable_once_thrown_job"

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _redis(jobqueue_settings: JobqueueSettings) -> None:
    jobqueue_settings()


def test_what_was_changed_is_returned_and_recorded_with_its_actor() -> None:
    (change,) = throwing.throw([FLAG], ON, actor="ada", source=Source.ADMIN)
    assert (change.flag, change.old, change.new) == (FLAG, OFF, ON)
    (change,) = throwing.throw([FLAG], State.partial(5), actor="bob", source=Source.COMMAND)
    assert change.old == ON
    assert flags.read_states()[FLAG] == State.partial(5)
    events = KillSwitchEvent.objects.filter(flag=FLAG).order_by("pk")
    assert [(event.actor, event.source) for event in events] == [
        ("ada", "admin"),
        ("bob", "command"),
    ]


def test_former_flags_stand_in_the_way_only_where_they_are_thrown() -> None:
    assert throwing.standing_in_the_way([FLAG, FORMER]) == [FLAG]
    set_flag(FORMER, None, percent=1)
    assert throwing.standing_in_the_way([FLAG, FORMER]) == [FLAG, FORMER]
