"""What of a job may be shown: no secret, nothing endless, and nothing that cannot be sent."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest

from django_jobqueue import Job, Payload
from django_jobqueue.api import Filter, JobRecord, error_group
from django_jobqueue.job.declaration import wire_name
from django_jobqueue.payload import wrap_invalid
from django_jobqueue.redaction import (
    CHARACTERS,
    CUT,
    DEPTH,
    REDACTED,
    admin_url_of,
    holds_as_shown,
    redact_args,
    redact_fields,
    redact_raw,
    redact_text,
    shown_args,
)
from django_jobqueue.retry import pack_backtrace
from django_jobqueue.scrubbing import VALUES
from tests.api.samples import ODD, ruby

SECRET = "4111-hunter2"


class ChargeJob(Job):
    """Has a secret argument."""

    self_healing = False
    redact = ("card",)

    def perform(self, order_id: int, card: str, note: str = "") -> None:
        """Do nothing."""


class SignInJob(Job):
    """Has an argument whose name says that it is a secret, and any number of others."""

    self_healing = False

    def perform(self, apiToken: str, *rest: Any) -> None:
        """Do nothing."""


class RestJob(Job):
    """Hides all that follows the first."""

    self_healing = False
    redact = ["rest"]

    def perform(self, first: int, *rest: Any) -> None:
        """Do nothing."""


class SlipJob(Job):
    """Says what to redact in a way that cannot be."""

    self_healing = False
    redact = "card"

    def perform(self, card: str) -> None:
        """Do nothing."""


class LinkedJob(Job):
    """Has a page, wherever its first argument says."""

    self_healing = False

    def perform(self, address: Any) -> None:
        """Do nothing."""

    @classmethod
    def admin_url(cls, payload: Payload) -> str | None:
        """Return the argument; raise where there is none."""
        found: str | None = payload.args[0]
        return found


@pytest.fixture(autouse=True)
def _configured(settings: Any) -> None:
    settings.JOBQUEUE = {"OUTLET": "fake"}


def job(cls: type[Job] | str, *args: Any, **fields: Any) -> Payload:
    name = cls if isinstance(cls, str) else wire_name(cls)
    made = {"class": name, "args": list(args), "jid": "a" * 24, "queue": "default"}
    return Payload({**made, **fields})


# Arguments ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cls", "args", "shown"),
    [
        (ChargeJob, [7, SECRET], [7, REDACTED]),
        (ChargeJob, [7, {"deep": [SECRET]}, "note"], [7, REDACTED, "note"]),
        (ChargeJob, [7], [7]),
        # Of another version of the class: nobody knows which is which.
        (ChargeJob, [7, 8, "note", SECRET], [7, REDACTED, "note", REDACTED]),
        (SignInJob, [SECRET, 1, [2]], [REDACTED, 1, [2]]),
        (RestJob, [1, SECRET, SECRET], [1, REDACTED, REDACTED]),
        (SlipJob, [SECRET], [REDACTED]),
        ("Unknown::Job", [SECRET, {"a": 1}], [SECRET, {"a": 1}]),
    ],
)
def test_arguments_that_a_class_names_are_hidden(
    cls: type[Job] | str, args: list[Any], shown: list[Any]
) -> None:
    made = job(cls, *args)
    assert redact_args(made) == redact_args(JobRecord(made.encode())) == shown
    assert made.args == args


HIDDEN = (
    "password", "Password", "PASSWORD2", "user_password", "old-passwords", "apiKey", "APIKey",
    "X-Api-Key", "api.key", "apikey", "OAuthToken", "auth", "Authorization", "sessionid",
    "session_key", "creditCard", "private key", "client_secret",
)  # fmt: skip
SHOWN = ("tokenizer", "author", "passing", "keys", "secretary", "id", "", "ünauth", "obsession")


def test_what_stands_under_a_telling_name_is_hidden_at_any_depth() -> None:
    (shown,) = redact_args(job("Unknown", {"a": [dict.fromkeys((*HIDDEN, *SHOWN), SECRET)]}))
    (found,) = shown["a"]
    assert {name for name, value in found.items() if value == REDACTED} == set(HIDDEN)
    assert {name for name, value in found.items() if value == SECRET} == set(SHOWN)


def test_the_project_says_which_names_are_telling(settings: Any) -> None:
    given = job("Unknown", {"password": "x", "ibans": "y"})
    settings.JOBQUEUE = {"OUTLET": "fake", "REDACT": ["iban"]}
    assert redact_args(given) == [{"password": "x", "ibans": REDACTED}]
    settings.JOBQUEUE = {"OUTLET": "fake", "REDACT": []}
    assert redact_args(given) == given.args
    settings.JOBQUEUE = {"OUTLET": "fake"}
    assert redact_args(given) == [{"password": REDACTED, "ibans": "y"}]


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgres://shop:hunter2@db/shop", f"postgres://shop:{REDACTED}@db/shop"),
        ("redis://:hunter2@db", f"redis://:{REDACTED}@db"),
        ("https://a/?q=1&api_key=hunter2#x", f"https://a/?q=1&api_key={REDACTED}#x"),
        ("https://medium.com/@user/post", "https://medium.com/@user/post"),
        ("see redis://:pw@db and a://b:c@d", f"see redis://:{REDACTED}@db and a://b:{REDACTED}@d"),
        ("redis://:pa/ss?w@db:6379/0", f"redis://:{REDACTED}@db:6379/0"),
        ("http://shop:8000/users/@ann", "http://shop:8000/users/@ann"),
        ("got /?token=hunter2 of http://a/", f"got /?token={REDACTED} of http://a/"),
    ],
)
def test_a_password_in_a_url_is_hidden(url: str, shown: str) -> None:
    assert redact_args(job("Unknown", url)) == [shown]


def test_a_password_in_a_url_is_hidden_in_the_message_of_an_error() -> None:
    failed = job("Unknown").replace(error_message="no way to redis://:hunter2@db")
    assert redact_fields(failed)["error_message"] == f"no way to redis://:{REDACTED}@db"


@pytest.mark.parametrize(
    "text", ["a://" + "?" * 90_000, "://:" * 20_000, "a://" + "a:" * 40_000, "?a" * 40_000 + "://"]
)
def test_a_text_that_is_made_to_take_long_does_not(text: str) -> None:
    # With the square of its length each would take minutes.
    assert redact_args(job("Unknown", text)) == [text]


def test_of_a_secret_with_very_many_values_some_are_looked_for() -> None:
    failed = job("Unknown", {"secret": [[], 0] * 200_000}).replace(error_message="no")
    assert redact_fields(failed)["error_message"] == "no"


def test_what_is_too_deep_or_too_much_is_cut() -> None:
    deep: Any = [SECRET]
    for _ in range(500):
        deep = [deep]
    shown = json.dumps(redact_args(job("Unknown", deep)))
    assert shown.count("[") <= DEPTH + 3
    assert CUT in shown
    many = redact_args(job("Unknown", list(range(10 * VALUES)), {"a": 1}))
    assert len(many[0]) <= VALUES + 1
    assert many[0][-1] == CUT
    assert redact_args(job("Unknown", *range(10 * VALUES)))[-1] == CUT
    wide = redact_args(job("Unknown", {str(n): n for n in range(10 * VALUES)}))
    assert wide[0][CUT] == CUT
    (long, more) = redact_args(job("Unknown", "x" * 10 * CHARACTERS, "y"))
    assert (len(long), more) == (CHARACTERS + len(CUT), CUT)


def test_a_preview_is_one_line_of_bounded_length() -> None:
    assert shown_args(job(ChargeJob, 7, SECRET, "né")) == f'7, "{REDACTED}", "né"'
    assert shown_args(job("Unknown")) == ""
    assert shown_args(job("Unknown", "a\n\u202e\x7f\x1b[2J\ud800")).isprintable()
    for args in (["x" * 1000], [[[["y" * 50] * 50]]], list(range(1000)), ["\u202e" * 500]):
        assert len(shown_args(job("Unknown", *args), 40)) == 40


@pytest.mark.parametrize("raw", ODD, ids=range(len(ODD)))
def test_bytes_that_are_no_job_have_no_fields(raw: bytes) -> None:
    record = JobRecord(raw)
    assert redact_args(record) == []
    assert redact_fields(record) == {"args": []} or redact_fields(record) == {}
    assert shown_args(record) == ""
    assert redact_text(record, "as it is") == "as it is"
    assert admin_url_of(record) is None


# Everything else of a job --------------------------------------------------------------


def test_a_secret_is_hidden_in_all_that_is_told_of_a_failed_job() -> None:
    given = job(
        ChargeJob, 7, {"number": SECRET, "pin": 12}, cattr={"tenant": "acme", "auth_token": "abcd"},
        error_class="Declined", error_message=f"card {SECRET!r} and abcd, pin 12",
        error_backtrace=pack_backtrace(["a.py:1", f"Declined: {SECRET}"]), apikey="zzzz",
    )  # fmt: skip
    shown = redact_fields(given)
    assert list(shown) == list(given.fields)
    assert shown["cattr"] == {"tenant": "acme", "auth_token": REDACTED}
    # Two characters stand everywhere.
    assert shown["error_message"] == f"card '{REDACTED}' and {REDACTED}, pin 12"
    assert shown["error_backtrace"] == ["a.py:1", f"Declined: {REDACTED}"]
    assert SECRET not in json.dumps(shown)
    assert redact_text(given, f"{SECRET} zzzz abcd 7") == f"{REDACTED} {REDACTED} {REDACTED} 7"


def test_a_secret_is_found_as_it_is_quoted() -> None:
    given = job(ChargeJob, 7, 'it\'s\n"x"')
    for quoted in (repr(given.args[1]), json.dumps(given.args[1]), given.args[1]):
        assert "it" not in redact_text(given, f"<{quoted}>")


def test_the_fields_of_a_foreign_job_are_shown_whatever_they_are() -> None:
    odd: list[Any] = [None, True, -1, 1.5, 10**400, "", "\ud800", [], {}, {"a": [[]]}]
    for value in odd:
        for name in ("error_message", "error_backtrace", "cattr", "tags", "raw", "\ud800"):
            shown = redact_fields(
                JobRecord(json.dumps({**json.loads(ruby()), name: value}).encode())
            )
            json.dumps(shown, ensure_ascii=False).encode()
            assert shown["wrapped"] == "InvoiceMailer"


def test_bytes_that_were_no_job_are_shown_without_what_a_name_tells() -> None:
    raw = b'{"class":"A","args":[{"password" : "a\\"b", "n": 1, "token": 77}],\xff'
    text = r'{"class":"A","args":[{"password" : "[redacted]", "n": 1, "token": "[redacted]"}],\xff'
    assert redact_raw(raw) == text
    assert redact_fields(wrap_invalid(raw, "low"))["raw"] == text
    assert redact_raw(b'{"auth": {"a": 1}, "b": 2') == '{"auth": "[redacted]"'
    assert len(redact_raw(b"x" * 10 * CHARACTERS)) == CHARACTERS + len(CUT)
    # Nothing that somebody writes makes it slow.
    for hostile in (b'"' * CHARACTERS, b'\\"' * CHARACTERS, b'"a":"' * CHARACTERS):
        assert redact_raw(hostile)


def test_no_repr_has_the_arguments() -> None:
    made = job(ChargeJob, 7, SECRET)
    for shown in (repr(made), repr(JobRecord(made.encode())), repr([made]), repr(Payload({}))):
        assert SECRET not in shown
    assert repr(made) == f"<Payload jid={'a' * 24} job_class={wire_name(ChargeJob)} queue=default>"
    assert "\n" not in repr(job("A\nB", queue="x\ny"))


# Links ------------------------------------------------------------------------------------


@pytest.mark.parametrize("url", ["/", "/admin/7/?a=b#c", "https://shop.test/7", "HTTP://a", None])
def test_a_job_may_have_a_page(url: str | None) -> None:
    assert admin_url_of(job(LinkedJob, url)) == url


@pytest.mark.parametrize(
    "url",
    ["//evil.test", "/\\evil.test", "/\t/evil.test", "\n/a", "javascript:alert(1)", "admin/7", "",
     "data:text/html,x", "/a b", 7, ["/"], "/" + "a" * 3000, "https:evil", "ftp://a", "/\ud800"],
)  # fmt: skip
def test_what_is_no_link_is_logged_and_not_shown(
    url: Any, caplog: pytest.LogCaptureFixture
) -> None:
    assert admin_url_of(job(LinkedJob, url)) is None
    assert "is no link" in caplog.text
    assert "\n/a" not in caplog.messages[0]


def test_a_hook_that_raises_is_logged_with_its_job(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR)
    assert admin_url_of(job(LinkedJob)) is None
    assert f"failed for jid={'a' * 24}" in caplog.text
    assert "IndexError" in caplog.text
    assert admin_url_of(job("Unknown")) is None
    assert admin_url_of(job(ChargeJob, 1)) is None


# Filters ----------------------------------------------------------------------------------


def test_a_filter_finds_nothing_by_what_is_hidden() -> None:
    message = f"no charge to {SECRET}"
    charged = JobRecord(
        job(ChargeJob, 7, SECRET, "by hand", error_class="E", error_message=message).encode()
    )
    for found in (Filter(), Filter(text="by hand"), Filter(message="no charge to"),
                  Filter(error_class="E"), Filter(text='7,"[redacted]"')):  # fmt: skip
        assert holds_as_shown(charged, found)
    for guess in (Filter(text="4111"), Filter(message=message), Filter(message="no charge to #-h"),
                  Filter.of_error(error_group(charged))):  # fmt: skip
        assert guess.matches(charged)
        assert not holds_as_shown(charged, guess)
    # Where nothing is hidden the bytes decide, however they were written.
    assert holds_as_shown(JobRecord(b'{"class": "A",  "args": [1]}'), Filter(text='",  "'))
    broken = JobRecord(b'{"class": "A", "token": "abc", ')
    assert holds_as_shown(broken, Filter(text="class"))
    assert not holds_as_shown(broken, Filter(text='"abc'))
