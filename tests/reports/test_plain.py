"""What is reported, as JSON."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from datetime import UTC, date, datetime
from enum import Enum

import pytest
from django.utils.translation import gettext_lazy

from django_jobqueue.reports.plain import Plain, plain


class Colour(Enum):
    RED = "red"


@dataclass(frozen=True, slots=True)
class Inner:
    at: datetime


@dataclass(frozen=True, slots=True)
class Outer(Plain):
    inner: tuple[Inner, ...]
    names: frozenset[str]
    end: float


def test_a_report_is_plain_json() -> None:
    at = datetime(2027, 1, 31, 8, tzinfo=UTC)
    outer = Outer((Inner(at),), frozenset({"b", "a"}), math.inf)
    assert outer.as_dict() == {
        "inner": [{"at": "2027-01-31T08:00:00+00:00"}], "names": ["a", "b"], "end": None,
    }  # fmt: skip
    assert json.loads(json.dumps(outer.as_dict(), allow_nan=False)) == outer.as_dict()


def test_what_is_inside_is_made_plain_as_well() -> None:
    value = {"a": [1, 2.5, None, True, Colour.RED, date(2027, 1, 31)], "b": {"c": ("d",)}}
    assert plain(value) == {
        "a": [1, 2.5, None, True, "red", "2027-01-31"], "b": {"c": ["d"]},
    }  # fmt: skip
    assert plain(float("nan")) is None


def test_what_json_cannot_hold_is_refused() -> None:
    for value in (object(), b"bytes", gettext_lazy("late")):
        with pytest.raises(TypeError, match="cannot be written as JSON"):
            plain(value)
