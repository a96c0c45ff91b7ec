"""How orders stand that somebody gave: written by who carries them out, read by who waits."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from django_jobqueue.api.progress import Progress
from django_jobqueue.bulk.order import Order
from django_jobqueue.bulk.walk import Mark
from django_jobqueue.client.results import Status
from django_jobqueue.connection import store
from django_jobqueue.exceptions import InvalidQuery
from django_jobqueue.payload import printable
from django_jobqueue.store.bulk import LISTED, OK, Fields
from django_jobqueue.store.link import Word

#: The states of an order.
WAITING, RUNNING, DONE, STOPPED, FAILED = "waiting", "running", "done", "stopped", "failed"

#: What a Progress counts, by the names that a record and a Standing have for it.
COUNTS = (
    "total", "looked_at", "matched", "done", "gone", "disabled", "refused", "duplicates", "failed",
)  # fmt: skip

#: The fields that are shown: where it goes on is not, for it has a job with its arguments.
_SHOWN = ("order", "state", *COUNTS, "updated_at", "error", "stop")
_MARK = ("mark", "mark_at")

_ID = re.compile(r"[0-9a-f]{24}")


@dataclass(frozen=True, slots=True)
class Standing:
    """
    How far an order has come.

    ``state`` is ``"waiting"`` for a worker, ``"running"``, or at the end ``"done"``, ``"stopped"``
    or ``"failed"``. The numbers are those of ``api.Progress``: ``total`` stood there, ``looked_at``
    were read, ``matched`` were meant, ``done`` went their way; of the others ``gone`` somebody
    else had moved, the rest stayed where they were. After a crash of a worker some
    may be done that are not counted. ``updated_at`` is epoch seconds. ``error`` says what
    went wrong last, empty where nothing has. ``is_stopping``: it was to be stopped, and ends
    with the next look of who works at it.
    """

    id: str
    order: Order
    state: str
    total: int = 0
    looked_at: int = 0
    matched: int = 0
    done: int = 0
    gone: int = 0
    disabled: int = 0
    refused: int = 0
    duplicates: int = 0
    failed: int = 0
    updated_at: float = 0.0
    error: str = ""
    is_stopping: bool = False

    @property
    def is_over(self) -> bool:
        """Whether nothing more will come of it."""
        return self.state not in (WAITING, RUNNING)

    @property
    def stayed(self) -> int:
        """How many of those that were meant are still where they were."""
        return self.disabled + self.refused + self.duplicates + self.failed

    @property
    def share(self) -> float:
        """How much of the place has been looked at, from 0 to 1."""
        if self.state == DONE:
            return 1.0
        return min(1.0, self.looked_at / self.total) if self.total else 0.0

    def as_dict(self) -> dict[str, Any]:
        """Return it for JSON."""
        return {**asdict(self), "order": self.order.as_dict(), "is_over": self.is_over}


def standing(id: str) -> Standing | None:
    """
    Return how an order stands; None where it is gone, some days after its end.

    Raises: InvalidQuery, StoreUnavailable, StoreRefused.
    """
    return _standing(check_id(id), store().bulk.get(id, _SHOWN))


def recent(count: int = 20) -> list[Standing]:
    """
    Return how the latest orders stand, the newest first, in two round trips; 100 at most.

    Raises: InvalidQuery, StoreUnavailable, StoreRefused.
    """
    if type(count) is not int or not 1 <= count <= LISTED:
        raise InvalidQuery("count", count, f"give a number from 1 to {LISTED}")
    found = (_standing(id, fields) for id, fields in store().bulk.recent(count, _SHOWN))
    return [each for each in found if each is not None]


def stop(id: str) -> bool:
    """
    Let an order end before all is done; return whether it had not ended.

    One that waits is stopped at once, one that is carried out within about a second, between
    two pages of jobs. What is done stays done.

    Raises: InvalidQuery, StoreUnavailable, StoreRefused.
    """
    return store().bulk.stop(check_id(id)) == OK


def check_id(id: object) -> str:
    """Return the id of an order. Raises: InvalidQuery."""
    if isinstance(id, str) and _ID.fullmatch(id):
        return id
    raise InvalidQuery("id", id, "give the id of an order: 24 hex digits")


def told(progress: Progress, mark: Mark | None) -> dict[str, Word]:
    """Return the fields of a record that say how far it has come, and from where to go on."""
    fields: dict[str, Word] = {name: getattr(progress, name) for name in COUNTS}
    return {**fields, **_told_mark(mark)}


def ended(state: str, error: str = "") -> dict[str, Word]:
    """Return the fields of a record that nobody works at any more."""
    fields: dict[str, Word] = {"state": state, "worker": "", "error": printable(error)}
    # What was a job until a moment ago does not outlive it here.
    return fields if state == WAITING else {**fields, **_told_mark(None)}


def read_progress(id: str) -> tuple[Order, Progress, Mark | None]:
    """Return an order, how far it has come and where it goes on. Raises: InvalidQuery."""
    fields = store().bulk.get(id, (*_SHOWN, *_MARK))
    count = {name: _whole(fields.get(name)) for name in COUNTS}
    stayed = {
        Status.GONE: count["gone"],
        Status.DISABLED: count["disabled"],
        Status.REFUSED: count["refused"],
        Status.DUPLICATE: count["duplicates"],
    }
    plain = {name: count[name] for name in ("total", "looked_at", "matched", "done", "failed")}
    return _order(fields), Progress(**plain, stayed=Counter(stayed)), _mark(fields)


def _standing(id: str, fields: Fields) -> Standing | None:
    if "state" not in fields:
        return None
    try:
        order = _order(fields)
    except InvalidQuery:  # another version's, or somebody else's key
        return None
    counts = {name: _whole(fields.get(name)) for name in COUNTS}
    state = _text(fields, "state")
    return Standing(
        id,
        order,
        state,
        **counts,
        updated_at=_number(fields.get("updated_at")),
        error=_text(fields, "error"),
        is_stopping=state == RUNNING and _text(fields, "stop") == "1",
    )


def _order(fields: Mapping[str, bytes]) -> Order:
    try:
        given = json.loads(fields.get("order", b""))
    except (ValueError, RecursionError):
        given = None
    return Order.of(given)


def _told_mark(mark: Mark | None) -> dict[str, Word]:
    if mark is None:
        return {"mark": b"", "mark_at": ""}
    return {"mark": mark.raw, "mark_at": repr(mark.at)}


def _mark(fields: Mapping[str, bytes]) -> Mark | None:
    at = fields.get("mark_at")
    return Mark(fields.get("mark", b""), _number(at)) if at else None


def _text(fields: Mapping[str, bytes], name: str) -> str:
    return fields.get(name, b"").decode(errors="replace")


def _number(raw: bytes | None) -> float:
    try:
        return float(raw or 0)
    except ValueError:
        return 0.0


def _whole(raw: bytes | None) -> int:
    # More digits than any count has are somebody else's, and Python refuses the most of them.
    return int(raw) if raw and len(raw) < 20 and raw.isdigit() else 0
