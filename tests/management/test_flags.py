"""The flags that subcommands share."""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core.management import CommandError

from django_jobqueue import Job, clock
from django_jobqueue.api import Filter
from django_jobqueue.job.declaration import wire_name
from django_jobqueue.management import flags

NOW = datetime(2027, 1, 31, 8, tzinfo=UTC)


class FlaggedJob(Job):
    """Is named on a command line."""

    wire_name = "Flagged::Job"

    def perform(self) -> None:
        """Do nothing."""


class One:
    class PairedJob(Job):
        """Has a namesake."""

        def perform(self) -> None:
            """Do nothing."""


class Two:
    class PairedJob(Job):
        """Has a namesake."""

        def perform(self) -> None:
            """Do nothing."""


def parsed(*words: str) -> dict[str, Any]:
    parser = ArgumentParser()
    flags.add_filters(parser)
    return vars(parser.parse_args(words))


def test_conditions_become_a_filter() -> None:
    words = (
        "--class FlaggedJob --error TimeoutError --queue low --tag mail --text acme "
        "--since 2027-01-30T08:00Z --until 2027-01-31T08:00Z"
    )
    texts = ("--message", "after # s", "--frame", "shop/jobs.py in perform")
    found = flags.filter_of(parsed(*words.split(), *texts))
    assert found == Filter(
        text="acme", job_class="Flagged::Job", error_class="TimeoutError", message="after # s",
        frame="shop/jobs.py in perform", queue="low", tag="mail",
        since=(NOW - timedelta(days=1)).timestamp(), until=NOW.timestamp(),
    )  # fmt: skip
    assert flags.filter_of(parsed()).is_empty


def test_a_condition_that_cannot_be_is_told() -> None:
    with pytest.raises(CommandError, match="at most 500 characters"):
        flags.filter_of(parsed("--text", "x" * 501))


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("FlaggedJob", "Flagged::Job"),
        ("Flagged::Job", "Flagged::Job"),
        (f"{__name__}.FlaggedJob", "Flagged::Job"),
        ("One.PairedJob", wire_name(One.PairedJob)),
        ("HardWorker", "HardWorker"),
    ],
)
def test_a_class_is_known_by_any_of_its_names(name: str, meant: str) -> None:
    assert flags.class_named(name) == meant


def test_a_name_of_two_classes_stands_for_none() -> None:
    with pytest.raises(CommandError, match=r"One\.PairedJob, .*Two\.PairedJob"):
        flags.class_named("PairedJob")


def test_times_are_a_while_ago_a_while_ahead_or_a_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "now", NOW.timestamp)
    for text, meant in (
        ("90s", NOW - timedelta(seconds=90)), ("2h", NOW - timedelta(hours=2)),
        ("-1.5d", NOW - timedelta(hours=36)), ("+2w", NOW + timedelta(weeks=2)),
        ("2027-01-31T08:00Z", NOW),
    ):  # fmt: skip
        assert flags.moment(text) == meant
    assert flags.moment("2027-01-31 08:00").tzinfo is not None


@pytest.mark.parametrize("text", ["", "2", "2y", "soon", "2027-02-31T08:00", "9" * 30 + "w"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ArgumentTypeError, match="is no time: give"):
        flags.moment(text)


@pytest.mark.parametrize("text", ["0", "-1", "x", "1.5", ""])
def test_counts_begin_at_one_and_places_at_zero(text: str) -> None:
    with pytest.raises(ArgumentTypeError):
        flags.count(text)
    if text != "0":
        with pytest.raises(ArgumentTypeError):
            flags.position(text)
    assert (flags.count("7"), flags.position("0")) == (7, 0)
