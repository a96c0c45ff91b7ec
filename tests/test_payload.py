"""The wire format: Sidekiq's layout, Ruby's bytes, and nothing that another program wrote lost."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_jobqueue.exceptions import InvalidPayload, InvalidQueueName
from django_jobqueue.payload import (
    Payload,
    check_queue_name,
    dump_json,
    new_jid,
    printable,
    stamp,
    unwrap_invalid,
    wrap_invalid,
)
from tests.support.clocks import freeze

#: A job as Sidekiq 8 writes it, with fields that mean nothing to us, and what Ruby's
#: JSON.generate made of it, byte by byte.
RUBY = (
    '{"retry":true,"queue":"default","class":"HardJob","args":[12345678901234567890,"naïve ☃ 😀",'
    '{"b":[],"a":{}},null,1.5,-0.0,"\\"\\\\/\\b\\f\\n\\r\\t\\u0000\\u001f\u007f\u2028<&>"],'
    '"jid":"b4a577edbccf1d805744efa9","created_at":1731000000123,"bid":"x","enqueued_at":1731000000456,'
    '"x_vendor":{"deep":[[[1]]]}}'
).encode()


def payload(**fields: Any) -> Payload:
    return Payload({"class": "HardJob", "args": [], "jid": "b" * 24, **fields})


# Bytes ------------------------------------------------------------------------


def test_what_ruby_wrote_is_written_again_byte_for_byte() -> None:
    assert Payload.decode(RUBY).encode() == RUBY


def test_text_is_read_like_bytes() -> None:
    assert Payload.decode(RUBY.decode()) == Payload.decode(RUBY)


def test_there_are_no_spaces_and_non_ascii_is_not_escaped() -> None:
    assert dump_json({"a": ["ä", 1, True, None]}) == '{"a":["ä",1,true,null]}'


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_numbers_that_json_has_not_are_never_written(number: float) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        payload(args=[number]).encode()


def test_a_change_keeps_the_order_and_the_unknown_keys() -> None:
    changed = Payload.decode(RUBY).replace(enqueued_at=1731000009999, queue="low", crashes=1)
    assert changed.encode() == (
        RUBY.replace(b"1731000000456", b"1731000009999").replace(b'"default"', b'"low"')[:-1]
        + b',"crashes":1}'
    )


def test_a_change_to_none_takes_the_field_away() -> None:
    changed = payload(enqueued_at=1).replace(enqueued_at=None, crashed_at=None)
    assert changed == payload()


def test_a_change_leaves_the_original_alone() -> None:
    original = payload(queue="a")
    original.replace(queue="b", jid=None)
    assert original == payload(queue="a")


@given(
    st.dictionaries(
        st.text(max_size=5),
        st.recursive(
            st.none()
            | st.booleans()
            | st.integers()
            | st.floats(allow_nan=False, allow_infinity=False)
            | st.text(max_size=5),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
            max_leaves=10,
        ),
        max_size=5,
    )
)
def test_whatever_json_holds_comes_back_equal_and_with_the_same_bytes(
    extra: dict[str, Any],
) -> None:
    made = Payload({**extra, "class": "A", "args": [extra], "jid": "1"})
    raw = made.encode()
    assert Payload.decode(raw) == made
    assert Payload.decode(raw).encode() == raw
    assert json.loads(raw) == made.fields


def test_lone_surrogates_of_others_stay_what_they_are() -> None:
    raw = b'{"class":"A","args":["\\ud800"],"jid":"1"}'
    assert Payload.decode(raw).encode() == raw


# What is no job ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "problem"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b'\xff{"class":"A"}', "not UTF-8 (invalid start byte at byte 0)"),
        (b"null", "a JSON NoneType, not an object"),
        (b"[]", "a JSON list, not an object"),
        (b'"x"', "a JSON str, not an object"),
        (b"7", "a JSON int, not an object"),
        (b"{}", "'class' is missing, not a name"),
        (b'{"class":7,"args":[],"jid":"1"}', "'class' is of type int, not a name"),
        (b'{"class":"","args":[],"jid":"1"}', "'class' is of type str, not a name"),
        (b'{"class":"A","jid":"1"}', "'args' is missing, not an array"),
        (b'{"class":"A","args":{},"jid":"1"}', "'args' is of type dict, not an array"),
        (b'{"class":"A","args":[]}', "'jid' is missing, not an id"),
        (b'{"class":"A","args":[],"jid":1}', "'jid' is of type int, not an id"),
        (b'{"class":"A","args":[],"jid":""}', "'jid' is of type str, not an id"),
        (b'{"class":"A","args":[],"jid":"' + b"1" * 65 + b'"}', "'jid' is of type str, not an id"),
        (b'{"class":"A","args":[NaN],"jid":"1"}', "not JSON (NaN is not JSON)"),
        (b'{"class":"A","args":[-Infinity],"jid":"1"}', "not JSON (-Infinity is not JSON)"),
        (b'{"class":"A","args":[1e999],"jid":"1"}', "not JSON (1e999 is beyond every float)"),
        (b'{"class":"A","args":[-1E+999],"jid":"1"}', "not JSON (-1E+999 is beyond every float)"),
        (b'{"class":"A","args":[' + b"9" * 5_000 + b'],"jid":"1"}', "not JSON"),
        (b'{"class":"A","args":' + b"[" * 100_000, "not JSON"),
    ],
    ids=lambda value: value[:40] if isinstance(value, bytes) else None,
)
def test_bytes_that_are_no_job_are_refused_with_the_reason(raw: bytes, problem: str) -> None:
    with pytest.raises(InvalidPayload) as caught:
        Payload.decode(raw)
    assert caught.value.problem.startswith(problem)


@given(st.binary(max_size=200))
def test_junk_raises_nothing_else(junk: bytes) -> None:
    for raw in (junk, b'{"class":"A","args":[],"jid":"1","x":' + junk + b"}"):
        try:
            read = Payload.decode(raw)
        except InvalidPayload:
            continue
        assert read.encode()


@pytest.mark.parametrize("raw", [b"", b"\xff\x00", b'{"class":7}', "ünfug".encode()])
def test_the_bytes_of_an_invalid_job_are_kept_to_the_byte(raw: bytes) -> None:
    wrapped = wrap_invalid(raw, "low")
    again = Payload.decode(wrapped.encode())
    assert unwrap_invalid(again) == raw
    assert (again.job_class, again.queue, again.retry) == ("InvalidPayload", "low", False)


def test_an_ordinary_job_wraps_nothing() -> None:
    assert unwrap_invalid(payload()) is None
    assert unwrap_invalid(payload(raw="YQ==")) is None
    assert unwrap_invalid(payload(**{"class": "InvalidPayload", "raw": 7})) is None


# Fields -----------------------------------------------------------------------

NOTHING: dict[str, Any] = {}


@pytest.mark.parametrize(
    ("fields", "name", "value"),
    [
        (NOTHING, "queue", "default"),
        ({"queue": "low"}, "queue", "low"),
        ({"queue": "a b"}, "queue", "default"),
        ({"queue": "x" * 65}, "queue", "default"),
        ({"queue": "low\n"}, "queue", "default"),
        ({"queue": 7}, "queue", "default"),
        (NOTHING, "retry_queue", None),
        ({"retry_queue": "low"}, "retry_queue", "low"),
        ({"retry_queue": ""}, "retry_queue", None),
        (NOTHING, "retry", True),
        ({"retry": False}, "retry", False),
        ({"retry": 0}, "retry", 0),
        ({"retry": 7}, "retry", 7),
        ({"retry": -1}, "retry", 0),
        ({"retry": "yes"}, "retry", True),
        ({"retry": None}, "retry", True),
        ({"retry": 2.5}, "retry", True),
        (NOTHING, "retry_for", None),
        ({"retry_for": 60}, "retry_for", 60.0),
        ({"retry_for": 0}, "retry_for", None),
        ({"retry_for": True}, "retry_for", None),
        ({"retry_for": "60"}, "retry_for", None),
        ({"retry_for": 10**400}, "retry_for", None),
        (NOTHING, "retry_count", None),
        ({"retry_count": 0}, "retry_count", 0),
        ({"retry_count": -5}, "retry_count", None),
        ({"retry_count": True}, "retry_count", None),
        (NOTHING, "attempt", 1),
        ({"retry_count": 0}, "attempt", 2),
        ({"retry_count": 3}, "attempt", 5),
        (NOTHING, "dead", True),
        ({"dead": False}, "dead", False),
        ({"dead": 0}, "dead", True),
        (NOTHING, "backtrace", False),
        ({"backtrace": True}, "backtrace", True),
        ({"backtrace": 5}, "backtrace", 5),
        ({"backtrace": "all"}, "backtrace", False),
        (NOTHING, "tags", []),
        ({"tags": ["a", 1]}, "tags", ["a", "1"]),
        ({"tags": "a"}, "tags", []),
        (NOTHING, "expires_in", None),
        ({"expires_in": 0.5}, "expires_in", 0.5),
        ({"expires_in": -1}, "expires_in", None),
        (NOTHING, "crashes", 0),
        ({"crashes": 2}, "crashes", 2),
        ({"crashes": -2}, "crashes", 0),
        ({"crashes": 2.0}, "crashes", 0),
        (NOTHING, "context", {}),
        ({"cattr": {"tenant": 1}}, "context", {"tenant": 1}),
        ({"cattr": [1]}, "context", {}),
    ],
)
def test_a_field_is_read_by_its_type_and_else_has_its_default(
    fields: dict[str, Any], name: str, value: Any
) -> None:
    found = getattr(payload(**fields), name)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        (1731000000123, 1731000000.123),
        (1731000000.123, 1731000000.123),
        (0, 0.0),
        (True, None),
        ("1731000000123", None),
        (None, None),
        (10**400, None),
        (1e308, None),
        (-1e308, None),
        (253_402_300_799_000, 253_402_300_799.0),
    ],
)
def test_an_integer_time_is_milliseconds_and_a_float_is_seconds(
    written: Any, seconds: float | None
) -> None:
    assert payload(failed_at=written).time("failed_at") == seconds


def test_a_missing_time_is_none() -> None:
    assert payload().time("failed_at") is None


def test_a_time_is_stamped_in_the_unit_that_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    frozen = freeze(monkeypatch)
    assert stamp() == int(frozen.now * 1000)
    assert type(stamp()) is int
    assert stamp(unit="seconds") == frozen.now
    assert stamp(1.5) == 1500
    for unit in ("milliseconds", "seconds"):
        whole = stamp(7, unit=unit)
        assert payload(created_at=whole).time("created_at") == 7.0


# Names ------------------------------------------------------------------------


def test_a_jid_is_24_lower_case_hex_digits_and_always_another() -> None:
    jids = {new_jid() for _ in range(1000)}
    assert len(jids) == 1000
    assert all(re.fullmatch("[0-9a-f]{24}", jid) for jid in jids)


@pytest.mark.parametrize("name", ["default", "a", "A-b_c.9", "x" * 64])
def test_a_queue_may_be_called_so(name: str) -> None:
    assert check_queue_name(name) == name


@pytest.mark.parametrize(
    "name", ["", "a b", "a:b", "{a}", "a\n", "ä", "😀", "x" * 65, "x" * 1024, 7, None]
)
def test_a_queue_may_not_be_called_so(name: object) -> None:
    with pytest.raises(InvalidQueueName) as caught:
        check_queue_name(name)
    assert repr(name) in str(caught.value)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("plain text", "plain text"),
        ("ünï ☃", "ünï ☃"),
        ("a\nb", r"a\nb"),
        ("\x1b[31mred", r"\x1b[31mred"),
        ("a\u2028b", r"a\u2028b"),
        ("\x00", r"\x00"),
        ("\ud800", r"\ud800"),
    ],
)
def test_a_log_line_stays_one_line(text: str, line: str) -> None:
    assert printable(text) == line
