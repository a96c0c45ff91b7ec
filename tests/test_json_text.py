"""JSON as it stands in Redis: the library's own text and values, and its refusals."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_jobqueue import json_text

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=10,
)  # fmt: skip


@given(values, st.booleans(), st.booleans())
def test_a_value_is_written_as_the_library_writes_it(
    value: Any, ascii_only: bool, sort_keys: bool
) -> None:
    write = json_text.writer(ascii_only=ascii_only, sort_keys=sort_keys)
    assert write(value) == json.dumps(
        value, ensure_ascii=ascii_only, sort_keys=sort_keys, separators=(",", ":")
    )


@given(values)
def test_a_python_without_the_part_in_c_writes_the_same(value: Any) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_text, "_make_encoder", None)
        write = json_text.writer()
    assert write(value) == json_text.writer()(value)


@pytest.mark.parametrize("has_part_in_c", [True, False])
def test_what_json_has_not_is_refused(has_part_in_c: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not has_part_in_c:
        monkeypatch.setattr(json_text, "_make_encoder", None)
    write = json_text.writer()
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(TypeError):
        write({1, 2})
    with pytest.raises(ValueError, match="not JSON compliant"):
        write([float("nan")])
    with pytest.raises(ValueError, match="not JSON compliant"):
        write(float("-inf"))
    with pytest.raises(RecursionError):
        write(endless)


@given(values, st.sampled_from(["", " ", "\n\t"]), st.sampled_from(["", " ", "\r\n"]))
def test_a_value_is_read_with_white_space_around_it_or_none(
    value: Any, before: str, after: str
) -> None:
    assert json_text.read(before + json.dumps(value) + after) == value


@pytest.mark.parametrize(
    "text", ["", " ", "[1", "[1]]", "{} {}", "\ufeff[]", "nul", "NaN", "[1e999]"]
)
def test_what_is_no_json_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"Expecting|Extra data|not JSON|beyond every"):
        json_text.read(text)
