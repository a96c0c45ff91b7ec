"""
What of a job may be shown: the one place that decides it, so that no page or command forgets.

Two rules hide a value. ``Job.redact`` names arguments of one class, ``JOBQUEUE["REDACT"]``
the keys and arguments of all. What is shown is bounded as well: anybody may have written it.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from django_jobqueue.api.filters import Filter
from django_jobqueue.api.records import JobRecord
from django_jobqueue.conf import get_settings
from django_jobqueue.exceptions import UnknownJob
from django_jobqueue.job.base import Job
from django_jobqueue.job.registry import registry
from django_jobqueue.payload import Payload, log_facts, printable
from django_jobqueue.scrubbing import REDACTED, VALUES, forms, without

__all__ = [
    "ENCRYPTED",
    "REDACTED",
    "admin_url_of",
    "holds_as_shown",
    "redact_args",
    "redact_fields",
    "redact_raw",
    "redact_text",
    "shown_args",
]

logger = logging.getLogger("django_jobqueue.redaction")

#: What stands in the place of arguments that are encrypted.
ENCRYPTED = "(encrypted)"

#: What stands in the place of what is too much to show.
CUT = "[cut]"

#: Levels of nesting and characters that are shown of a job; and of values ``VALUES``.
DEPTH = 32
CHARACTERS = 100_000

#: Characters of a preview in a list, and of the longest name that is looked at.
PREVIEW = 200
NAME_LIMIT = 256

#: What stands between the words of a name: in ``apiKey`` and ``APIKey`` nothing.
_BETWEEN = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])|[\W_]+")

#: The secrets of a URL, wherever in a text it stands. Each begins with what it cannot contain,
#: so that the time for a text grows with its length and not with the square of it.
#: A password may hold a slash that should have been written as %2F; a port is none.
_URL_PASSWORD = re.compile(r"(://[^/?#\s:@]*+:)(?!\d++[/?#])[^\s@]{1,512}+(?=@)")
_URL_PARAMETER = re.compile(r"([?&]([^?=&#\s]{1,256}+)=)[^?&#\s]*+")

#: A key in bytes that are only nearly JSON, and what may follow; a nested value reaches to the end.
_KEY = re.compile(r'"((?:[^"\\]|\\.){1,256}+)"\s*+:\s*+', re.DOTALL)
_VALUE = re.compile(r'"(?:[^"\\]|\\.)*+"?|[\[{].*|[^,}\]\s]+', re.DOTALL)

#: Where a browser may be sent to: below this site, or to another by name.
_ADDRESS = re.compile(r"(/(?!/)|https?://)[^\s\\\x00-\x1f\x7f\ud800-\udfff]*", re.IGNORECASE)
_ADDRESS_LIMIT = 2_000


def redact_args(job: Payload | JobRecord) -> list[Any]:
    """
    Return the arguments of a job as they may be shown, in their order.

    Encrypted ones are one text, ``(encrypted)``. Those that ``redact`` of its class names are
    hidden, all where it says ``encrypt``, and so is what ``REDACT`` names: keys of dicts,
    parameters of ``perform``, and passwords in URLs. Of a class that is not known here only the
    latter. What is too deep or too much is ``[cut]``. Never raises.
    """
    return _Walk().args(job)


def shown_args(job: Payload | JobRecord, limit: int = PREVIEW) -> str:
    """Return the arguments in one line of at most ``limit`` characters, as ``7, "a", [1, 2]``."""
    walk = _Walk(values=limit, characters=2 * limit)
    line = ", ".join(json.dumps(each, ensure_ascii=False) for each in walk.args(job))
    line = "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in line[: limit + 1])
    return line if len(line) <= limit else f"{line[: max(0, limit - 3)]}..."


def redact_fields(job: Payload | JobRecord) -> dict[str, Any]:
    """
    Return all fields of a job as they may be shown; empty where the bytes are no job.

    As ``redact_args``, in every field. The traceback is a list of lines, and bytes that were
    no job are text. Where the message or the traceback of an error repeats a value that is
    hidden, it is hidden there too. Never raises.
    """
    record = _record(job)
    walk = _Walk()
    # Those first: they are what a reader looks for, should the rest be too much.
    found: dict[str, Any] = {"args": walk.args(record)}
    apart = ("args", "error_message", "error_backtrace")
    rest = {name: value for name, value in record.fields.items() if name not in apart}
    if (raw := record.original) is not None:
        rest["raw"] = redact_raw(raw)
    found |= walk.shown(rest)
    if "error_message" in record.fields:
        found["error_message"] = walk.scrub(_text(record.fields["error_message"]))
    if "error_backtrace" in record.fields:
        found["error_backtrace"] = walk.scrub("\n".join(record.error_backtrace)).split("\n")
    return {name: found[name] for name in (*record.fields, *found) if name in found}


def redact_text(job: Payload | JobRecord, text: str) -> str:
    """
    Return a text about a job, as its error's message, without the values that are hidden.

    Only values of four characters and more are found, as they are or quoted. Never raises.
    """
    record = _record(job)
    walk = _Walk()
    walk.args(record)
    walk.shown({name: value for name, value in record.fields.items() if name != "args"})
    return walk.scrub(text)


def holds_as_shown(record: JobRecord, meant: Filter) -> bool:
    """
    Return whether a filter that holds for a job holds for what of it may be shown as well.

    For pages to leave out the others: whoever may ask for one text after the other could
    guess what is hidden, letter by letter. Of what is too much to be shown nothing is
    found. Never raises.
    """
    if not (meant.text or meant.message):
        return True
    shown = _shown_forms(record)
    if not any(hint in shown[0] for hint in (REDACTED, ENCRYPTED, CUT)):
        return True
    records = [JobRecord(form.encode()) for form in shown]
    return Filter(message=meant.message).matches(records[0]) and any(
        Filter(text=meant.text).matches(each) for each in records
    )


def redact_raw(raw: bytes) -> str:
    """
    Return bytes that are no job as text, without what stands under a name of ``REDACT``.

    As well as it can be done: nobody knows what they were to be. Never raises.
    """
    shown = raw[:CHARACTERS].decode(errors="backslashreplace")
    parts, at = [], 0
    while key := _KEY.search(shown, at):
        parts.append(shown[at : key.end()])
        at = key.end()
        if _is_secret(key[1]) and (value := _VALUE.match(shown, at)):
            parts.append(f'"{REDACTED}"')
            at = value.end()
    cut = CUT if len(raw) > CHARACTERS else ""
    return "".join([*parts, shown[at:], cut])


def admin_url_of(job: Payload | JobRecord) -> str | None:
    """
    Return where ``Job.admin_url`` says that a page about the work is, or None.

    Only a path of this site, or an address with http or https: no other may become a link.
    What the hook raises is logged.
    """
    payload = job.payload if isinstance(job, JobRecord) else job
    cls = _class_of(payload)
    if payload is None or cls is None:
        return None
    facts = log_facts(payload)
    found: Any  # whatever a project's own code returns
    try:
        found = cls.admin_url(payload)
    except Exception:  # the project's own code, on anybody's payload
        logger.exception("admin_url() of %(job)s failed for jid=%(jid)s", facts, extra=facts)
        return None
    if found is None:
        return None
    text = found if isinstance(found, str) else repr(found)
    if isinstance(found, str) and len(text) <= _ADDRESS_LIMIT and _ADDRESS.fullmatch(text):
        return text
    logger.warning(
        "admin_url() of %s returned %r, which is no link: return a path as '/orders/7/', or an "
        "address with http or https",
        facts["job"],
        printable(text),
        extra=facts,
    )
    return None


class _Walk:
    """Copies values as they may be shown, within bounds, and remembers what it has hidden."""

    def __init__(self, *, values: int = VALUES, characters: int = CHARACTERS) -> None:
        self._values = values
        self._characters = characters
        self._hidden: list[Any] = []

    def args(self, job: Payload | JobRecord) -> list[Any]:
        """Return the arguments of a job."""
        payload = job.payload if isinstance(job, JobRecord) else job
        if payload is not None and payload.encrypted_with is not None:
            return [ENCRYPTED]
        secret = _SecretArgs(_class_of(payload))
        shown: list[Any] = []
        for at, value in enumerate(job.args):
            if self._values <= 0:
                return [*shown, CUT]
            shown.append(self._hide(value) if at in secret else self.shown(value, 1))
        return shown

    def shown(self, value: Any, depth: int = 0) -> Any:
        """Return one value."""
        self._values -= 1
        if type(value) is str:
            return self._text(value)
        if type(value) not in (dict, list):
            return value
        if depth >= DEPTH:
            return CUT if value else value
        if type(value) is list:
            return self._list(value, depth + 1)
        return self._dict(value, depth + 1)

    def _list(self, value: list[Any], depth: int) -> list[Any]:
        shown: list[Any] = []
        for each in value:
            if self._values <= 0:
                return [*shown, CUT]
            shown.append(self.shown(each, depth))
        return shown

    def _dict(self, value: dict[str, Any], depth: int) -> dict[str, Any]:
        shown: dict[str, Any] = {}
        for name, each in value.items():
            if self._values <= 0:
                return {**shown, CUT: CUT}
            is_secret = _is_secret(name)
            shown[self._text(name)] = self._hide(each) if is_secret else self.shown(each, depth)
        return shown

    def _text(self, text: str) -> str:
        left = max(0, self._characters)
        self._characters -= len(text)
        cut = f"{text[:left]}{CUT}" if len(text) > left else text
        return _writable(_without_secrets(cut))

    def _hide(self, value: Any) -> str:
        self._values -= 1
        self._hidden.append(value)
        return REDACTED

    def scrub(self, text: str) -> str:
        """Return a text without the values that were hidden until now."""
        # Twice as much as is shown, so that no value is cut before it is found.
        shown = text[: 2 * CHARACTERS]
        shown = without(shown, forms(self._hidden))
        if len(shown) > CHARACTERS:
            shown = f"{shown[:CHARACTERS]}{CUT}"
        return _writable(_without_secrets(shown))


class _SecretArgs:
    """The places of the arguments that a class hides."""

    def __init__(self, cls: type[Job] | None) -> None:
        self._places: frozenset[int] = frozenset()
        #: From here on all are hidden.
        self._from: float = float("inf")
        if cls is not None:
            self._read(cls)

    def _read(self, cls: type[Job]) -> None:
        names: Any = cls.redact
        if cls.encrypt is not False or not isinstance(names, (list, tuple)):
            # Pushed before its class said so, or by others. Of a wrong value a check tells, and
            # until it is mended nothing is shown.
            self._from = 0
            return
        parameters = [
            p
            for p in cls._arity.signature.parameters.values()
            if p.kind not in (p.KEYWORD_ONLY, p.VAR_KEYWORD)
        ]
        hidden = {p.name for p in parameters if p.name in names or _is_secret(p.name)}
        self._places = frozenset(at for at, p in enumerate(parameters) if p.name in hidden)
        if parameters and parameters[-1].kind is parameters[-1].VAR_POSITIONAL:
            if parameters[-1].name in hidden:
                self._from = len(parameters) - 1
        elif hidden:
            # Those that fit no parameter: of another version of the class, in another order.
            self._from = len(parameters)

    def __contains__(self, at: int) -> bool:
        return at in self._places or at >= self._from


def _class_of(payload: Payload | None) -> type[Job] | None:
    if payload is None:
        return None
    try:
        return registry().get(payload.job_class)
    except UnknownJob:
        return None


def _shown_forms(record: JobRecord) -> list[str]:
    """Return the bytes of a job as they may be shown, for a text may be sought in either form."""
    if not record.is_valid:
        return [redact_raw(record.raw)]
    fields = redact_fields(record)
    return [json.dumps(fields, ensure_ascii=False, separators=s) for s in ((",", ":"), None)]


def _record(job: Payload | JobRecord) -> JobRecord:
    if isinstance(job, JobRecord):
        return job
    try:
        return JobRecord(job.encode())
    except (TypeError, ValueError, RecursionError):  # of a middleware, and no JSON
        return JobRecord(b"")


def _writable(text: str) -> str:
    """Return a text that can be sent: a lone surrogate, which JSON can hold, cannot."""
    return text.encode(errors="backslashreplace").decode()


def _text(value: Any) -> str:
    return value if isinstance(value, str) else repr(value)


def _is_secret(name: str) -> bool:
    """Return whether what is called so is shown to nobody."""
    return _matches(name[:NAME_LIMIT], get_settings().redact)


@lru_cache(maxsize=4_096)
def _matches(name: str, patterns: Sequence[str]) -> bool:
    words = _BETWEEN.sub("_", name)
    return any(each.search(words) or each.search(name) for each in _compiled(patterns))


@lru_cache(maxsize=8)
def _compiled(patterns: Sequence[str]) -> list[re.Pattern[str]]:
    letter = r"[^\W\d_]"
    return [
        re.compile(rf"(?<!{letter})(?:{pattern})s?(?!{letter})", re.IGNORECASE)
        for pattern in patterns
    ]


def _without_secrets(text: str) -> str:
    """Return a text without the secrets of the URLs in it."""
    if "://" not in text:
        return text
    text = _URL_PASSWORD.sub(rf"\1{REDACTED}", text)
    return _URL_PARAMETER.sub(lambda m: m[1] + REDACTED if _is_secret(m[2]) else m[0], text)
