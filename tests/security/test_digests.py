"""Locks of unique jobs: two pieces of work never have one name, and no name is a pattern."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from django_jobqueue.payload import is_digest
from django_jobqueue.store.keys import Keys
from django_jobqueue.unique import canonical, digest

#: Values that Python, or a careless text, holds for equal.
LOOKALIKES = [
    ["a", "b"], ["ab"], ["a,b"], ['a","b'], [["a", "b"]], ["a", ["b"]], [1], [True], [1.0], ["1"],
    [0], [False], [0.0], [-0.0], [None], ["null"], [""], [], [[]], [{}], [{"a": 1}], [["a", 1]],
    [{"a": None}], [10**20], [1e20], ["1e20"], ["é"], ["e\u0301"], ["\u00e9\u200b"], ["\ud800"],
    ["\\ud800"], ["*"], ["?"], ["[a]"], ["{x}"],
]  # fmt: skip

texts = st.text(st.characters(exclude_categories=()), max_size=6)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | texts
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


def same(one: Any, other: Any) -> bool:
    """Return whether JSON holds the same: types count, the order of keys does not."""
    if type(one) is not type(other):
        return False
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    # 0.0 and -0.0 are equal, and not written the same.
    return one == other and repr(one) == repr(other)


def test_what_only_looks_alike_has_names_of_its_own() -> None:
    found = [digest("app.Job", args) for args in LOOKALIKES]
    assert len(set(found)) == len(LOOKALIKES)


@given(one=values, other=values)
def test_two_values_have_one_text_only_if_they_are_the_same(one: Any, other: Any) -> None:
    assert (canonical(one) == canonical(other)) == same(one, other)


@given(value=values, name=texts)
def test_a_value_keeps_its_name_through_any_encoder(value: Any, name: str) -> None:
    for again in (json.dumps(value), json.dumps(value, ensure_ascii=False, indent=2)):
        assert digest(name, json.loads(again)) == digest(name, value)


@given(one=texts, other=texts, value=values)
def test_no_class_borrows_the_name_of_another(one: str, other: str, value: Any) -> None:
    assume(one != other)
    assert digest(one, value) != digest(other, value)
    assert digest(one, [other, value]) != digest(other, [one, value])


@given(name=texts, value=values)
def test_a_name_is_32_hex_digits_whatever_it_is_made_of(name: str, value: Any) -> None:
    made = digest(name, value)
    assert is_digest(made)
    # So no argument makes a key of another kind, or a pattern.
    assert Keys("p:").unique(made) == f"p:jq:unique:{made}"


@pytest.mark.parametrize("text", ["*", "a" * 31, "A" * 32, "g" * 32, "a" * 32 + "\n", "../" * 10])
def test_what_is_no_name_of_a_lock_is_read_as_none(text: str) -> None:
    assert not is_digest(text)


def test_another_process_gives_the_same_names() -> None:
    # Python's own hash() would not.
    program = (
        "from django_jobqueue.unique import digest; "
        "print(digest('app.Job', [{'b': 1, 'a': [1.0, 'é']}, True]))"
    )
    made = {
        subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, check=True,
            env={**os.environ, "PYTHONHASHSEED": seed},
        ).stdout.strip()
        for seed in ("1", "2")
    }  # fmt: skip
    assert made == {digest("app.Job", [{"a": [1.0, "é"], "b": 1}, True])}
