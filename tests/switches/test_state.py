"""The states of a switch: which jobs each stops, and how they are written."""

from __future__ import annotations

import pytest

from django_jobqueue.payload import new_jid
from django_jobqueue.switches.state import OFF, ON, State

JIDS = [new_jid() for _ in range(10_000)]

#: What other programs may call their jobs.
STRANGE = ["", "x", "job-17", "ä" * 64, "\ud800", "-1", "zz" * 12]


@pytest.mark.parametrize("jids", [JIDS, STRANGE])
def test_off_stops_nothing_and_on_everything(jids: list[str]) -> None:
    assert not any(OFF.covers(jid) for jid in jids)
    assert all(ON.covers(jid) for jid in jids)


@pytest.mark.parametrize("percent", [0.1, 1.1, 30, 50, 99.9])
def test_a_share_is_exact_in_tenths_of_a_percent(percent: float) -> None:
    # As many of a thousand neighbours as the percentage says.
    jids = [f"{number:08x}{'0' * 16}" for number in range(1000)]
    assert sum(State.partial(percent).covers(jid) for jid in jids) == round(percent * 10)


def test_thirty_percent_of_ten_thousand_jobs_are_27_to_33_percent() -> None:
    stopped = sum(State.partial(30).covers(jid) for jid in JIDS)
    assert 2_700 <= stopped <= 3_300


def test_a_larger_share_stops_all_that_a_smaller_one_does() -> None:
    small, large = State.partial(30), State.partial(50)
    for jid in [*JIDS, *STRANGE]:
        assert small.covers(jid) <= large.covers(jid)
        assert small.covers(jid) is small.covers(jid)


def test_ids_of_other_programs_are_shared_out_too() -> None:
    half = State.partial(50)
    stopped = sum(half.covers(f"job-{number}") for number in range(10_000))
    assert 4_500 <= stopped <= 5_500


@pytest.mark.parametrize(
    ("percent", "state"),
    [(0, OFF), (-5, OFF), (float("nan"), OFF), (100, ON), (250, ON), (float("inf"), ON)],
)
def test_a_share_without_a_middle_is_on_or_off(percent: float, state: State) -> None:
    assert State.partial(percent) == state


def test_the_smallest_share_is_not_nothing() -> None:
    assert not State.partial(0.01).is_off


def test_the_strongest_is_the_largest() -> None:
    assert max(State.partial(90), OFF, ON, State.partial(50)) == ON
    assert max(OFF, State.partial(0.1)) == State.partial(0.1)


@pytest.mark.parametrize(
    ("state", "written", "shown"),
    [(OFF, "off", "off"), (ON, "on", "on"), (State.partial(30), "30.0", "30 %"),
     (State.partial(99.9), "99.9", "99.9 %")],
)  # fmt: skip
def test_a_state_is_read_as_it_was_written(state: State, written: str, shown: str) -> None:
    assert state.encode() == written
    assert State.decode(written) == state
    assert str(state) == shown


@pytest.mark.parametrize("text", ["", "On", "maybe", "nan", "inf", "30%"])
def test_what_is_no_state_is_not_taken_for_one(text: str) -> None:
    with pytest.raises(ValueError, match=r"state|float"):
        State.decode(text)
