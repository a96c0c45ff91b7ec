"""Strict arguments: what JSON holds and gives back equal, told with the path to the offender."""

from __future__ import annotations

import datetime
import decimal
import enum
import uuid
from collections import OrderedDict, namedtuple
from pathlib import PurePosixPath
from typing import Any

import pytest
from django.utils.functional import SimpleLazyObject
from django.utils.translation import gettext_lazy
from hypothesis import given
from hypothesis import strategies as st

from django_jobqueue.client.arguments import DEPTH_LIMIT, check_arguments
from django_jobqueue.exceptions import ArgumentNotSerializable
from testproject.backups.models import Database

Point = namedtuple("Point", "x y")


class Text(str):
    """A string with a class of its own."""


class Number(int):
    """A number with a class of its own."""


class Level(enum.IntEnum):
    """An enumeration of numbers."""

    HIGH = 1


class Colour(enum.StrEnum):
    """An enumeration of strings."""

    RED = "red"


def nested(depth: int, kind: type = list) -> Any:
    """Return containers inside each other."""
    value: Any = "end"
    for _ in range(depth):
        value = [value] if kind is list else {"k": value}
    return value


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=20,
)


@given(st.lists(json_values, max_size=4))
def test_plain_json_is_taken(args: list[Any]) -> None:
    check_arguments(args)


@pytest.mark.parametrize(
    ("value", "problem", "way_out"),
    [
        (datetime.datetime(2030, 1, 1, tzinfo=datetime.UTC), "is a datetime", "when.isoformat()"),
        (datetime.date(2030, 1, 1), "is a date", "when.isoformat()"),
        (datetime.time(12, 30), "is a time", "when.isoformat()"),
        (datetime.timedelta(hours=1), "is a timedelta", "pass str(), or only int, float,"),
        (decimal.Decimal("1.5"), "is a Decimal", "pass str()"),
        (uuid.UUID(int=7), "is a UUID", "pass str()"),
        (PurePosixPath("a/b"), "is a PurePosixPath", "pass str()"),
        ({1, 2}, "is a set", "pass a list"),
        (frozenset(), "is a frozenset", "pass a list"),
        ((1, 2), "is a tuple", "pass a list"),
        (Point(1, 2), "is a Point", "pass a list"),
        (b"raw", "is a bytes", "pass base64 text"),
        (bytearray(b"raw"), "is a bytearray", "pass base64 text"),
        (memoryview(b"raw"), "is a memoryview", "pass base64 text"),
        (Text("a"), "is a Text", "pass a plain str"),
        (Colour.RED, "is a Colour", "pass a plain str"),
        (Number(1), "is a Number", "pass a plain int"),
        (Level.HIGH, "is a Level", "pass a plain int"),
        (OrderedDict(), "is a OrderedDict", "pass a plain dict"),
        (gettext_lazy("Yes"), "is a __proxy__", "pass str()"),
        (1j, "is a complex", "pass str()"),
        (object(), "is a object", "pass str()"),
        (len, "is a builtin_function_or_method", "pass str()"),
        (float("nan"), "is nan", "JSON has no such number"),
        (float("inf"), "is inf", "JSON has no such number"),
        (float("-inf"), "is -inf", "JSON has no such number"),
        ("\ud800", "has a lone surrogate", "UTF-8 cannot hold it"),
        ({1: "a"}, "has the key 1", "keys of a JSON object are strings"),
        ({None: "a"}, "has the key None", "keys of a JSON object are strings"),
        ({Text("a"): 1}, "has the key 'a'", "keys of a JSON object are strings"),
        ({"\udfff": 1}, "has a lone surrogate", "UTF-8 cannot hold it"),
    ],
    ids=lambda value: value if isinstance(value, str) and value.isascii() else "",
)
def test_anything_else_is_refused_with_its_path_and_a_way_out(
    value: Any, problem: str, way_out: str
) -> None:
    for args, path in (
        ([value], "args[0]"),
        ([1, "a", [True, {"when": [None, value]}]], "args[2][1]['when'][1]"),
    ):
        with pytest.raises(ArgumentNotSerializable) as caught:
            check_arguments(args)
        assert (caught.value.path, caught.value.problem) == (path, problem)
        assert way_out in caught.value.way_out
        assert str(caught.value).startswith(f"{path} {problem}: ")


def test_the_sentence_reads_as_documented() -> None:
    with pytest.raises(TypeError) as caught:
        check_arguments([{"when": datetime.datetime(2030, 1, 1, tzinfo=datetime.UTC)}])
    assert str(caught.value) == "args[0]['when'] is a datetime: pass when.isoformat()."


def test_a_model_instance_is_refused_with_the_advice_to_pass_its_key() -> None:
    with pytest.raises(ArgumentNotSerializable, match="is a Database: pass its pk and load it"):
        check_arguments([Database(pk=7)])


def test_a_lazy_model_instance_is_refused_with_the_same_advice() -> None:
    with pytest.raises(ArgumentNotSerializable, match="pass its pk and load it"):
        check_arguments([SimpleLazyObject(lambda: Database(pk=7))])


def test_a_queryset_is_refused_and_not_evaluated() -> None:
    # Without a database for this test, a query would be an error of its own.
    with pytest.raises(ArgumentNotSerializable, match="QuerySet: pass the primary keys as a"):
        check_arguments([Database.objects.all()])
    with pytest.raises(ArgumentNotSerializable, match=r"args\[0\]\['of'\] is a "):
        check_arguments([{"of": Database.objects.values_list("pk")}])


@pytest.mark.parametrize("kind", [list, dict])
def test_depth_has_a_limit(kind: type) -> None:
    check_arguments([nested(DEPTH_LIMIT, kind)])
    with pytest.raises(ArgumentNotSerializable, match="is nested deeper than 100") as caught:
        check_arguments([1, nested(DEPTH_LIMIT + 1, kind)])
    assert caught.value.path.startswith("args[1][")
    assert len(caught.value.path) < 80


def test_what_holds_itself_is_too_deep() -> None:
    circle: list[Any] = []
    circle.append(circle)
    with pytest.raises(ArgumentNotSerializable, match="is nested deeper than 100"):
        check_arguments([circle])


def test_the_first_offender_is_the_one_that_is_told() -> None:
    with pytest.raises(ArgumentNotSerializable) as caught:
        check_arguments([1, (2,), {3}])
    assert caught.value.path == "args[1]"
