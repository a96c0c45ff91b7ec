"""How often each class ran and how long it took, in Sidekiq's layout, and when was deployed."""

from __future__ import annotations

import contextlib
import operator
import struct
from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from django_jobqueue import clock
from django_jobqueue.exceptions import StoreRefused
from django_jobqueue.store.keys import Keys
from django_jobqueue.store.link import Command, Link

#: Where each bucket of a histogram ends, in ms, itself not included; the last has no end.
LIMITS = (
    20, 30, 45, 65, 100, 150, 225, 335, 500, 750, 1_100, 1_700, 2_500, 3_800, 5_750, 8_500,
    13_000, 20_000, 30_000, 45_000, 65_000, 100_000, 150_000, 225_000, 335_000,
)  # fmt: skip

#: Buckets of a histogram.
BUCKETS = len(LIMITS) + 1

#: Seconds that are counted together, and those that are when the first are forgotten.
MINUTE, TEN_MINUTES = 60, 600

#: Seconds that each is kept. Histograms are of minutes, and kept as long.
KEPT = {MINUTE: 8 * 3_600, TEN_MINUTES: 3 * 86_400}

#: Seconds that the marks of a day are kept, and that one label is not marked again.
MARKS_KEPT = 90 * 86_400
MARK_ONCE = 60

#: Classes written in one transaction.
PIECE = 50

#: The counters of a histogram: unsigned, 16 bits each, the greater byte first.
_COUNTERS = struct.Struct(f">{BUCKETS}H")


@dataclass(frozen=True, slots=True)
class Counts:
    """
    What was counted of one class: attempts that failed, and the others by their time.

    ``ms`` is the sum of the times of those that did not fail. ``histogram`` has a
    number for each of the 26 buckets; see ``LIMITS``.
    """

    failed: int
    ms: int
    histogram: tuple[int, ...]

    @property
    def processed(self) -> int:
        """Every attempt, failures included."""
        return self.failed + sum(self.histogram)

    def __add__(self, other: Counts) -> Counts:
        """Return both as one."""
        return Counts(
            self.failed + other.failed,
            self.ms + other.ms,
            tuple(map(operator.add, self.histogram, other.histogram)),
        )

    def __sub__(self, before: Counts) -> Counts:
        """Return what was added since."""
        return Counts(
            self.failed - before.failed,
            self.ms - before.ms,
            tuple(map(operator.sub, self.histogram, before.histogram)),
        )


#: Counts by the wire name of the class.
Snapshot = Mapping[str, Counts]


@dataclass(frozen=True, slots=True)
class Sums:
    """What Redis holds of one class for some time: all attempts, failures, ms of the others."""

    processed: int = 0
    failed: int = 0
    ms: int = 0


#: A number of attempts for each bucket of durations.
Histogram = tuple[int, ...]

#: The labels of the deploys, by their epoch seconds.
Marks = dict[float, str]


class Metrics:
    """Add to the counts, read them again; mark a deploy. All times are UTC."""

    def __init__(self, link: Link, keys: Keys) -> None:
        self._link = link
        self._keys = keys

    def add(self, snapshot: MutableMapping[str, Counts]) -> None:
        """
        Count under the present minute, some classes in each round trip.

        What is written is taken out of the snapshot: after an error the rest is
        still there, for the next time. So is a piece whose reply was lost, though
        it may have been written. One that Redis cannot write because a key has a
        wrong type is given up.
        """
        now = clock.now()
        while piece := dict(islice(snapshot.items(), PIECE)):
            try:
                self._link.pipeline(self._additions(piece, now), atomic=True)
            except StoreRefused:
                _remove(snapshot, piece)
                raise
            _remove(snapshot, piece)

    def read(self, starts: Sequence[float], length: int) -> tuple[list[dict[str, Sums]], Marks]:
        """
        Return the sums of all classes from each start on, for ``length`` seconds, and the marks.

        ``length`` is ``MINUTE`` or ``TEN_MINUTES``, and the starts are multiples of it.
        """
        found, marks = self._read(
            [("HGETALL", sums_key(self._keys, at, length)) for at in starts], starts
        )
        return [_by_class(fields) for fields in found], marks

    def read_class(
        self, name: str, starts: Sequence[float], length: int
    ) -> tuple[list[tuple[Sums, Histogram | None]], Marks]:
        """Return the same of one class, with histograms where these are still kept."""
        fields = [f"{name}|{what}" for what in _SUMS]
        commands: list[Command] = [
            ("HMGET", sums_key(self._keys, at, length), *fields) for at in starts
        ]
        kept = [at for at in starts if at > clock.now() - KEPT[MINUTE]]
        minutes = [at + after for at in kept for after in range(0, length, MINUTE)]
        if minutes:
            commands.append(("MGET", *(self._histogram_key(name, at) for at in minutes)))
        found, marks = self._read(commands, starts)
        raws: list[bytes | None] = found.pop() if minutes else []
        histograms = dict(zip(minutes, map(_histogram, raws), strict=True))
        return [
            (Sums(*map(_number, values)), _added(histograms, at, length))
            for at, values in zip(starts, found, strict=True)
        ], marks

    def histograms(self, names: Sequence[str], starts: Sequence[float]) -> dict[str, Histogram]:
        """
        Return the histogram of each of some classes, of the minutes from these starts on together.

        One round trip. Of minutes that are not kept there is nothing.
        """
        if not names or not starts:
            return {}
        commands: list[Command] = [
            ("MGET", *(self._histogram_key(name, at) for at in starts)) for name in names
        ]
        return {
            name: _sum([_histogram(raw) for raw in raws if raw])
            for name, raws in zip(names, self._link.pipeline(commands), strict=True)
        }

    def mark(self, label: str, at: float) -> bool:
        """
        Mark a deploy; return whether it is new.

        One a minute has room, and a label is not marked twice within a minute: all
        processes of a deploy may mark it.
        """
        minute = _utc(at - at % MINUTE)
        stamp = minute.strftime("%Y-%m-%dT%H:%M:%SZ")
        lock = self._keys.mark_lock(label)
        if not self._link.call("SET", lock, stamp, "NX", "EX", MARK_ONCE):
            return False
        key = self._keys.marks(f"{minute:%Y%m%d}")
        new, _ = self._link.pipeline(
            [("HSETNX", key, stamp, label), ("EXPIRE", key, MARKS_KEPT)], atomic=True
        )
        return bool(new)

    def marks(self, day: str) -> Marks:
        """Return the deploys of one UTC day, ``YYYYMMDD``."""
        return _marks(self._link.call("HGETALL", self._keys.marks(day)))

    def _additions(self, piece: Snapshot, now: float) -> list[Command]:
        commands: list[Command] = []
        for length in KEPT:
            key = sums_key(self._keys, now, length)
            for name, counts in piece.items():
                sums = zip(_SUMS, (counts.processed, counts.failed, counts.ms), strict=True)
                commands += [("HINCRBY", key, f"{name}|{what}", n) for what, n in sums if n]
            commands.append(("EXPIRE", key, KEPT[length]))
        for name, counts in piece.items():
            if words := [
                word
                for index, number in enumerate(counts.histogram)
                if number
                for word in ("INCRBY", "u16", f"#{index}", number)
            ]:
                key = self._histogram_key(name, now)
                # More than 65,535 in a minute stay that many.
                commands.append(("BITFIELD", key, "OVERFLOW", "SAT", *words))
                commands.append(("EXPIRE", key, KEPT[MINUTE]))
        return commands

    def _read(
        self, commands: Sequence[Command], starts: Sequence[float]
    ) -> tuple[list[Any], Marks]:
        """Return replies and, of the same round trip, the marks of all days that are touched."""
        days = sorted({f"{_utc(at):%Y%m%d}" for at in starts})
        wanted: list[Command] = [("HGETALL", self._keys.marks(day)) for day in days]
        replies = self._link.pipeline([*commands, *wanted])
        marks: Marks = {}
        for fields in replies[len(commands) :]:
            marks.update(_marks(fields))
        return replies[: len(commands)], marks

    def _histogram_key(self, name: str, at: float) -> str:
        minute = _utc(at)
        return self._keys.histogram(name, f"{minute.day}-{minute.hour}:{minute.minute}")


#: The fields of a class: all attempts, failures, ms of the others.
_SUMS = ("p", "f", "ms")


def sums_key(keys: Keys, at: float, length: int) -> str:
    """Return the key of what all classes did in the minute, or the ten, of a moment (epoch s)."""
    minute = _utc(at)
    name = f"{minute:%y%m%d}|{minute.hour}:{minute:%M}"
    # Ten minutes are the minute without its last digit.
    return keys.executions(name if length == MINUTE else name[:-1])


def total(fields: Mapping[bytes, bytes]) -> Sums:
    """Return what all classes did together, out of the hash of a minute."""
    sums = {what.encode(): 0 for what in _SUMS}
    for field, value in fields.items():
        name, _, what = field.rpartition(b"|")
        if name and what in sums:
            sums[what] += _number(value)
    return Sums(*sums.values())


def together(*snapshots: Snapshot) -> dict[str, Counts]:
    """Return several snapshots as one."""
    sums: dict[str, Counts] = {}
    for snapshot in snapshots:
        for name, counts in snapshot.items():
            sums[name] = sums[name] + counts if name in sums else counts
    return sums


def _remove(snapshot: MutableMapping[str, Counts], piece: Snapshot) -> None:
    for name in piece:
        del snapshot[name]


def _utc(at: float) -> datetime:
    return datetime.fromtimestamp(at, UTC)


def _number(value: bytes | None) -> int:
    """Return a count; what is none, which only others can have written, counts nothing."""
    return int(value) if value is not None and value.isdigit() else 0


def _by_class(fields: Mapping[bytes, bytes]) -> dict[str, Sums]:
    found: dict[str, dict[str, int]] = {}
    for field, value in fields.items():
        name, _, what = field.decode(errors="replace").rpartition("|")
        if name and what in _SUMS:
            found.setdefault(name, {})[what] = _number(value)
    return {
        name: Sums(sums.get("p", 0), sums.get("f", 0), sums.get("ms", 0))
        for name, sums in found.items()
    }


def _added(histograms: Mapping[float, Histogram], start: float, length: int) -> Histogram | None:
    """Return the sum of the minutes from a start on; None where they are not kept."""
    found = [histograms.get(start + after) for after in range(0, length, MINUTE)]
    known = [histogram for histogram in found if histogram is not None]
    return _sum(known) if known else None


def _sum(histograms: Sequence[Histogram]) -> Histogram:
    return tuple(map(sum, zip(*histograms, strict=True))) if histograms else (0,) * BUCKETS


def _histogram(raw: bytes | None) -> Histogram:
    """Return the numbers of a bit field, which is as long as its last number needs."""
    return _COUNTERS.unpack((raw or b"").ljust(_COUNTERS.size, b"\0")[: _COUNTERS.size])


def _marks(fields: Mapping[bytes, bytes]) -> Marks:
    marks: Marks = {}
    for stamp, label in fields.items():
        with contextlib.suppress(ValueError):  # no time: it was not marked by us or Sidekiq
            at = datetime.fromisoformat(stamp.decode(errors="replace"))
            marks[at.timestamp()] = label.decode(errors="replace")
    return marks
