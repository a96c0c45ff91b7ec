"""Which jobs are meant, as a value: it can be shown, kept, and sent to whoever carries it out."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from django.utils.dateparse import parse_datetime

from django_jobqueue.api.arguments import epoch
from django_jobqueue.api.entries import SortedEntry
from django_jobqueue.api.records import JobRecord, moment
from django_jobqueue.exceptions import InvalidQuery
from django_jobqueue.payload import printable

#: Characters that a text of a filter may have.
LONGEST = 500

#: Characters kept of the message of a group of errors, and of its frame.
GROUP_LIMIT = 200

#: What differs from one error to the next of a kind: addresses, ids, numbers.
_NUMBERS = re.compile(
    r"0x[0-9a-f]+"
    r"|\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b"
    r"|\b(?=[a-f]*\d)[0-9a-f]{8,}\b"
    r"|\d+(?:[.,:]\d+)*",
    re.IGNORECASE,
)

#: A frame as Python writes it.
_FRAME = re.compile(r'\s*File "([^"\n]*)", line \d+(?:, in ([^\n]*))?')

#: What JSON writes in one way only, whoever writes it.
_PLAIN = re.compile(r"[A-Za-z0-9_.:-]+")

#: The class, the error's class, the top frame, and the message without what differs.
ErrorGroup = tuple[str, str, str, str]


@dataclass(frozen=True, slots=True)
class Filter:
    """
    What a job has to be like; of several conditions all hold, an empty one holds for every job.

    ``text`` stands in its bytes, case and all. ``job_class`` is the wire name or the one that
    is shown (of the job in a wrapper), ``error_class`` the name of its error. ``message``
    is how the error's first line begins, with ``#`` for every number, and ``frame`` the
    top frame, both as ``error_group`` has them; with ``exact`` the four of them are the whole
    group, so that an empty one holds only where there is nothing. ``queue``, ``tag`` and ``jid``
    are those of the job. ``since`` and ``until`` are epoch seconds, both included: of the score
    in a sorted set, else of the time when the job was enqueued or made.

    ``str()`` tells it for people.

    Raises: InvalidQuery for a value of another type, a text of more than 500 characters,
    and a time that there is not.
    """

    text: str = ""
    job_class: str = ""
    error_class: str = ""
    message: str = ""
    frame: str = ""
    queue: str = ""
    tag: str = ""
    jid: str = ""
    since: float | None = None
    until: float | None = None
    exact: bool = False

    def __post_init__(self) -> None:
        for name in _TEXTS:
            value = getattr(self, name)
            if not isinstance(value, str) or len(value) > LONGEST:
                raise InvalidQuery(name, value, f"give a text of at most {LONGEST} characters")
        for name in _TIMES:
            if (value := getattr(self, name)) is not None:
                object.__setattr__(self, name, epoch(value, name))
        if type(self.exact) is not bool:
            raise InvalidQuery("exact", self.exact, "give True or False")

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Filter:
        """
        Return the filter that a mapping tells: of JSON, or of a query string.

        Empty values say nothing. Times are epoch seconds, or ISO 8601 (without an offset
        in the current time zone), and may be written as text.

        Raises: InvalidQuery, also for a name that is no field of a filter.
        """
        found: dict[str, Any] = {}
        for name, value in given.items():
            if name not in _FIELDS:
                raise InvalidQuery("filter", name, f"there are {', '.join(_FIELDS)}")
            if value is None or value == "":
                continue
            if name in _TIMES:
                value = _time(name, value)
            elif name == "exact":
                value = _flag(value)
            found[name] = value
        return cls(**found)

    @classmethod
    def of_error(cls, group: ErrorGroup) -> Filter:
        """Return the filter that holds for the jobs of one group of errors and no other."""
        job_class, error_class, frame, message = group
        return cls(
            job_class=job_class, error_class=error_class, frame=frame, message=message, exact=True
        )

    def as_dict(self) -> dict[str, Any]:
        """Return what is set, for JSON; ``of`` reads it again."""
        found = {name: getattr(self, name) for name in _FIELDS}
        # Not by what is equal to False: 0 is a time.
        return {name: each for name, each in found.items() if each or type(each) is float}

    @property
    def is_empty(self) -> bool:
        """Whether it holds for every job."""
        return not self.as_dict()

    def __str__(self) -> str:
        told = [
            f"{_TOLD[name]} {_shown(name, value)}"
            for name, value in self.as_dict().items()
            if name != "exact"
        ]
        if self.exact:
            told.append("no others of this class or error")
        return ", ".join(told) or "all jobs"

    @property
    def hint(self) -> str | None:
        """
        A text that stands in the bytes of every job that it holds for, to look for it there.

        None where there is none, for JSON may write many a text in several ways.
        """
        # The one that most likely stands in few others comes first.
        for text in (self.jid, self.text, self.error_class, self.job_class):
            if _PLAIN.fullmatch(text):
                return text
        # A tag need not be a text in JSON: it may be ``true`` there, or 1e3.
        is_word = self.tag[:1].isalpha() and self.tag not in ("True", "False", "None")
        return self.tag if is_word and _PLAIN.fullmatch(self.tag) else None

    def matches(self, entry: JobRecord) -> bool:
        """Return whether it holds for a job. Never raises, whatever was written."""
        return (
            (not self.jid or entry.jid == self.jid)
            and (not self.queue or entry.queue == self.queue)
            and (not self.tag or self.tag in entry.tags)
            and self._is_in_time(entry)
            and self._is_of_error(entry)
            and (not self.text or any(form in entry.raw for form in _written(self.text)))
        )

    def _is_in_time(self, entry: JobRecord) -> bool:
        if self.since is None and self.until is None:
            return True
        at = _when(entry)
        return (
            at is not None
            and (self.since is None or self.since <= at)
            and (self.until is None or at <= self.until)
        )

    def _is_of_error(self, entry: JobRecord) -> bool:
        if self.exact:
            wanted = (self.job_class, self.error_class, self.frame, self.message)
            # The frame, which has to be unpacked, only of those that can be meant.
            return entry.error_class.startswith(self.error_class) and error_group(entry) == wanted
        return (
            (not self.job_class or self.job_class in (entry.job_class, entry.display_class))
            and (not self.error_class or entry.error_class == self.error_class)
            and (
                not self.message
                or _first_line(entry.error_message).startswith(_first_line(self.message))
            )
            and (not self.frame or top_frame(entry) == self.frame)
        )


#: The names of the conditions, and those that are times and texts.
_FIELDS = tuple(field.name for field in fields(Filter))
_TIMES = ("since", "until")
_TEXTS = tuple(name for name in _FIELDS if name not in (*_TIMES, "exact"))

#: What each is called before its value.
_TOLD = {
    "text": "text", "job_class": "class", "error_class": "error", "message": "message",
    "frame": "in", "queue": "queue", "tag": "tag", "jid": "jid", "since": "since", "until": "until",
}  # fmt: skip


def error_group(entry: JobRecord) -> ErrorGroup:
    """
    Return what an error is grouped by: job, error, top frame, and message without what differs.

    The class is the one that is shown. In the message, its first line, every number, address
    and id is ``#``. Texts are empty where there is nothing, as without an error. Never raises.
    """
    return (
        entry.display_class[:GROUP_LIMIT],
        entry.error_class[:GROUP_LIMIT],
        top_frame(entry),
        _first_line(entry.error_message),
    )


def top_frame(entry: JobRecord) -> str:
    """
    Return where the error was raised, ``shop/jobs.py in perform``; empty where nobody kept it.

    Without the number of the line, which the next deploy changes.
    """
    lines = entry.error_backtrace
    ours = [found for line in lines if (found := _FRAME.match(line))]
    if ours:
        path, function = ours[-1][1], ours[-1][2]
        place = "/".join(path.replace("\\", "/").split("/")[-2:])
        return _general(f"{place} in {function}" if function else place)
    # Ruby's begin with the innermost.
    return _general(lines[0]) if lines else ""


def _first_line(message: str) -> str:
    return _general(message.lstrip()[: 10 * GROUP_LIMIT].partition("\n")[0])


def _general(text: str) -> str:
    """Return a line without what differs; of such a line, the same."""
    return _NUMBERS.sub("#", " ".join(text.split()))[:GROUP_LIMIT].rstrip()


def _when(entry: JobRecord) -> float | None:
    if isinstance(entry, SortedEntry):
        return entry.score
    if entry.payload is None:
        return None
    at = entry.payload.time("enqueued_at")
    return entry.payload.time("created_at") if at is None else at


def _written(text: str) -> set[bytes]:
    """Return how a text may stand in JSON; and as it is, for who looks for JSON."""
    quoted = (json.dumps(text, ensure_ascii=escaped)[1:-1] for escaped in (False, True))
    return {form.encode(errors="surrogatepass") for form in (text, *quoted)}


def _time(name: str, value: object) -> object:
    """Return a time out of a text; what is none is left to be refused."""
    if not isinstance(value, str):
        return value
    try:
        return float(value)
    except ValueError:
        pass
    try:
        found = parse_datetime(value)
    except ValueError:  # well-formed, and in no calendar
        found = None
    if found is None:
        raise InvalidQuery(name, value, "give epoch seconds, or a time as 2027-01-31T08:00")
    return found


def _flag(value: object) -> object:
    return {"1": True, "true": True, "True": True, "0": False, "false": False}.get(
        value if isinstance(value, str) else "", value
    )


def _shown(name: str, value: Any) -> str:
    if name in _TIMES:
        at = moment(value)
        return str(value) if at is None else f"{at:%Y-%m-%d %H:%M:%S} UTC"
    return repr(value) if name in ("text", "message") else printable(value)
