"""Options of a job class: what each may be, and what is said of one that may not."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from django_jobqueue import Job
from django_jobqueue.exceptions import InvalidArguments, InvalidOption
from django_jobqueue.job.options import (
    CHECKS,
    OF_THE_CLASS,
    Arity,
    check_option,
    option_problems,
    to_seconds,
)

HOUR = timedelta(hours=1)

GOOD: list[tuple[str, list[Any]]] = [
    ("queue", ["default", "A-b_c.9", "x" * 64]),
    ("retry", [True, False, 0, 1, 25]),
    ("retry_for", [None, HOUR, 60, 0.5]),
    ("retry_queue", [None, "low"]),
    ("dead", [True, False]),
    ("backtrace", [True, False, 0, 10]),
    ("tags", [(), [], ["a", "b"], ("a",)]),
    ("expires_in", [None, HOUR, 60]),
    ("on_commit", [True, False, "other"]),
    ("unique_for", [None, HOUR, 60, 0.5]),
]

BAD: list[tuple[str, list[Any]]] = [
    ("queue", ["", "a b", "a:b", "ä", "x" * 65, "a\n", None, 7, b"a"]),
    ("retry", [-1, 1.5, "yes", None]),
    ("retry_for", [0, -1, True, "60", float("nan"), float("inf"), timedelta(0), 10**400]),
    ("retry_queue", ["", "a b", 7]),
    ("dead", [0, 1, None, "no"]),
    ("backtrace", [-1, None, "all"]),
    ("tags", ["a", [1], None, {"a"}]),
    ("expires_in", [0, timedelta(days=-1), True]),
    ("on_commit", [None, 1]),
    ("unique_for", [0, -1, True, "60", float("nan")]),
]

#: What belongs to a class, and cannot differ for one call: good values, and bad ones.
OF_ITS_CLASS: dict[str, tuple[list[Any], list[Any]]] = {
    "timeout": ([None, HOUR, 60], [0, "5", float("inf")]),
    "unique_until": (["success", "start"], ["end", None, True]),
    "unique_key": ([None, ("a",), ["a", "b"], len], [(), "a", (1,), 7]),
    "on_conflict": (["drop", "rerun"], ["replace", None]),
    "kill_switch": ([None, "billing_invoice_job"], ["", "a b", "a-b", "x" * 93, 7]),
    "kill_switch_aliases": ([(), ["old_job"]], ["old_job", (None,), ("a b",), None]),
    "kill_switch_fail": (["open", "closed"], ["shut", None]),
    "when_disabled": ([None, "hold", "run", "drop"], ["keep", False]),
    "self_healing": ([True, False], [None, 1]),
    "redact": ([(), ["token"], ("a", "b")], ["token", ("",), (1,), None]),
    "encrypt": ([True, False], [None, 1, "args"]),
}


def flat(table: list[tuple[str, list[Any]]]) -> list[tuple[str, Any]]:
    return [(name, value) for name, values in table for value in values]


@pytest.mark.parametrize(("name", "value"), flat(GOOD), ids=repr)
def test_a_value_that_an_option_can_have_is_taken(name: str, value: Any) -> None:
    check_option(name, value)


@pytest.mark.parametrize(("name", "value"), flat(BAD), ids=repr)
def test_a_value_that_an_option_cannot_have_is_refused(name: str, value: Any) -> None:
    with pytest.raises(InvalidOption) as caught:
        check_option(name, value)
    assert str(caught.value).startswith(f"{name}={value!r} is not possible: ")
    assert isinstance(caught.value, ValueError)


def test_every_option_is_tried_here() -> None:
    of_one_call = [name for name in CHECKS if name not in OF_THE_CLASS]
    assert [name for name, _ in GOOD] == [name for name, _ in BAD] == of_one_call
    assert OF_ITS_CLASS.keys() == OF_THE_CLASS


@pytest.mark.parametrize("name", OF_ITS_CLASS)
def test_what_belongs_to_a_class_is_checked_there_and_refused_for_one_call(name: str) -> None:
    good, bad = OF_ITS_CLASS[name]
    assert [CHECKS[name](value) for value in good] == [None] * len(good)
    assert all(CHECKS[name](value) for value in bad)
    with pytest.raises(InvalidOption, match="the options are"):
        check_option(name, good[0])


@pytest.mark.parametrize("value", [True, False])
def test_one_call_may_pass_a_kill_switch(value: bool) -> None:
    check_option("bypass_kill_switch", value)
    with pytest.raises(InvalidOption):
        check_option("bypass_kill_switch", "yes")


def test_a_name_that_is_no_option_is_refused_with_those_that_are() -> None:
    with pytest.raises(InvalidOption, match="the options are backtrace, bypass_kill_switch, dead"):
        check_option("prioritiy", 1)


def test_all_problems_of_a_class_are_told_each_with_the_way_out() -> None:
    wrong = {"queue": "a b", "retry": -1, "dead": "no", "when_disabled": "x", "wire_name": "a|b"}
    cls = type("Wrong", (Job,), {"abstract": True, **wrong})
    name = cls.__qualname__
    assert [fact for fact, _ in option_problems(cls)] == [
        f"{name}.queue is 'a b'.",
        f"{name}.retry is -1.",
        f"{name}.dead is 'no'.",
        f"{name}.when_disabled is 'x'.",
        f"{name}.wire_name is 'a|b'.",
    ]
    assert all(hint[0].isupper() and hint.endswith(".") for _, hint in option_problems(cls))


def test_an_argument_to_redact_that_there_is_not_is_told_with_those_that_there_are() -> None:
    def perform(self: Any, user_id: int, token: str) -> None: ...

    right = type("Right", (Job,), {"abstract": True, "redact": ["token"], "perform": perform})
    assert option_problems(right) == []
    wrong = type("Wrong", (Job,), {"abstract": True, "redact": ["tokn"], "perform": perform})
    ((fact, hint),) = option_problems(wrong)
    assert "redact names 'tokn', which is no argument of perform(user_id" in fact
    assert hint == "There are user_id, token."


@pytest.mark.parametrize(("value", "length"), [(HOUR, 3600.0), (60, 60.0), (0.5, 0.5)])
def test_a_duration_is_kept_in_seconds(value: Any, length: float) -> None:
    assert to_seconds(value) == length
    assert type(to_seconds(value)) is float


# Arity ------------------------------------------------------------------------


class Shapes:
    """Signatures that a ``perform`` may have."""

    def none(self) -> None: ...
    def two(self, a: int, b: int) -> None: ...
    def default(self, a: int, b: int = 2) -> None: ...
    def rest(self, a: int, *rest: int) -> None: ...
    def keyword(self, a: int, *, b: int = 2) -> None: ...
    def needs_keyword(self, a: int, *, b: int) -> None: ...
    def options(self, a: int, **options: int) -> None: ...
    def positional(self, a: int, b: int = 2, /) -> None: ...
    async def later(self, a: int) -> None: ...
    def anything(self, *args: Any, **kwargs: Any) -> None: ...


@pytest.mark.parametrize(
    ("perform", "taken"),
    [
        (Shapes.none, {0}),
        (Shapes.two, {2}),
        (Shapes.default, {1, 2}),
        (Shapes.rest, {1, 2, 3, 4}),
        (Shapes.keyword, {1}),
        (Shapes.needs_keyword, set()),
        (Shapes.options, {1}),
        (Shapes.positional, {1, 2}),
        (Shapes.later, {1}),
        (Shapes.anything, {0, 1, 2, 3, 4}),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_arguments_must_fit_the_signature(perform: Callable[..., Any], taken: set[int]) -> None:
    arity = Arity.of(perform)
    for count in range(5):
        if count in taken:
            arity.check("AJob", [0] * count)
        else:
            with pytest.raises(InvalidArguments) as caught:
                arity.check("AJob", (0,) * count)
            assert isinstance(caught.value, TypeError)


def test_what_does_not_fit_is_told_in_pythons_words_with_the_signature() -> None:
    with pytest.raises(InvalidArguments, match="missing a required argument: 'b' for perform"):
        Arity.of(Shapes.two).check("AJob", [1])
    with pytest.raises(InvalidArguments, match="too many positional arguments for perform"):
        Arity.of(Shapes.two).check("AJob", [1, 2, 3])
    with pytest.raises(InvalidArguments, match=r"missing a required.*argument: 'b'"):
        Arity.of(Shapes.needs_keyword).check("AJob", [1])
