"""The kill switches: what each stops, who threw it and when, and what it has stopped since."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from django_jobqueue import clock
from django_jobqueue.conf import KILL_SWITCH_MIDDLEWARE, get_settings
from django_jobqueue.exceptions import JobQueueError
from django_jobqueue.job.base import Job
from django_jobqueue.job.declaration import wire_name
from django_jobqueue.job.registry import registry
from django_jobqueue.models import KillSwitchEvent
from django_jobqueue.reconciliation.pairs import reconcilers_of
from django_jobqueue.reconciliation.reconciler import Reconciler
from django_jobqueue.reports.moments import aware, moment, now
from django_jobqueue.reports.plain import Plain
from django_jobqueue.store.tally import DROPPED, HELD, KEPT, REFUSED
from django_jobqueue.switches import events, flags, mirror
from django_jobqueue.switches.naming import MAX_LENGTH, flag_names
from django_jobqueue.switches.state import OFF, State

#: Minutes over which stopped jobs are counted, of every switch.
MINUTES = 60

#: Changes of a history where nothing is said, and at most.
EVENTS = 50
MOST_EVENTS = 500


class Note(StrEnum):
    """What an operator has to know of a switch before he trusts it."""

    #: Everyone is Unknown and there is no percentage: it looks like something and stops nothing.
    SAYS_NOTHING = "says_nothing"
    #: No class that this process knows has it.
    NO_CLASS = "no_class"
    #: More classes than one have it, and it stops them all.
    SHARED = "shared"
    #: It is a name that the switch of its class had before.
    FORMER = "former"
    #: It has no row yet. To throw it makes one.
    NO_ROW = "no_row"
    #: The name is longer than waffle takes: it cannot be thrown.
    TOO_LONG = "too_long"


@dataclass(frozen=True, slots=True)
class SwitchFacts(Plain):
    """
    One kill switch: ``flag`` is its name, ``state`` "on", "off" or a percentage as "30.0".

    ``jobs`` are the dotted paths of the classes that it stops and that are known here, ``names``
    their names in Redis. ``since``, ``actor`` and ``source`` say who brought it to this state.
    ``refused`` and ``dropped`` count the last 60 minutes, ``held`` is how many are held now; None
    where Redis could not be asked. Of a switch that is not off ``refused_since`` and
    ``dropped_since`` count from ``counted_from`` on: since it was thrown, or for eight hours if
    that is less. Counts are of the classes, whatever stopped their jobs.
    """

    flag: str
    state: str
    percent: float
    jobs: tuple[str, ...]
    names: tuple[str, ...]
    is_reconciler: bool
    since: datetime | None
    actor: str
    source: str
    refused: int | None
    held: int | None
    dropped: int | None
    refused_since: int | None
    dropped_since: int | None
    counted_from: datetime | None
    notes: tuple[Note, ...]

    @property
    def is_off(self) -> bool:
        """Whether it stops nothing."""
        return self.state == "off"

    @property
    def is_on(self) -> bool:
        """Whether it stops every job of its classes."""
        return self.state == "on"


@dataclass(frozen=True, slots=True)
class Switches(Plain):
    """
    All kill switches, by name: of the classes that are known here, and whatever has a row.

    ``installed`` is False where waffle is not among the apps: then there are none.
    ``told`` is whether the mirror in Redis has what the database says, so that all
    processes know; None where Redis could not be asked. ``refuses`` is whether jobs are stopped
    at the call, and not only when a worker comes to them (see the check W031).
    """

    at: datetime
    installed: bool
    told: bool | None
    refuses: bool
    switches: tuple[SwitchFacts, ...]


@dataclass(frozen=True, slots=True)
class EventFacts(Plain):
    """Somebody threw a switch; states as in ``SwitchFacts``."""

    at: datetime
    flag: str
    old: str
    new: str
    actor: str
    source: str


@dataclass(frozen=True, slots=True)
class ClassFacts(Plain):
    """
    A class that a switch stops: ``job`` is its dotted path and ``name`` its name in Redis.

    ``when_disabled`` is what becomes of accepted jobs: "hold", "run" or "drop". ``flags`` has
    the state of each of its switches, ``held`` is None where Redis could not be asked.
    """

    job: str
    name: str
    queue: str
    when_disabled: str
    reconcilers: tuple[str, ...]
    flags: dict[str, str]
    held: int | None


@dataclass(frozen=True, slots=True)
class MinuteFacts(Plain):
    """What was stopped in the minute from ``at`` on."""

    at: datetime
    refused: int
    held: int
    dropped: int


@dataclass(frozen=True, slots=True)
class Switch(Plain):
    """One switch with its classes, its history (the latest first), and the last hour by minutes."""

    at: datetime
    facts: SwitchFacts
    classes: tuple[ClassFacts, ...]
    history: tuple[EventFacts, ...]
    minutes: tuple[MinuteFacts, ...]


def switches() -> Switches:
    """Return all kill switches. A Redis that does not answer leaves out the counts."""
    refuses = KILL_SWITCH_MIDDLEWARE in get_settings().client_middleware
    if not flags.is_installed():
        return Switches(now(), False, None, refuses, ())
    table = _Table()
    stopped = _stopped(table.longest())
    told = None if stopped is None else stopped.mirror == table.thrown()
    facts = tuple(table.facts(flag, stopped) for flag in table.names())
    return Switches(now(), True, told, refuses, facts)


def switch(flag: str) -> Switch | None:
    """Return one kill switch; None where there is none of this name."""
    if not flags.is_installed():
        return None
    table = _Table()
    if flag not in table.owners:
        return None
    stopped = _stopped(table.longest())
    facts = table.facts(flag, stopped)
    return Switch(
        at=now(),
        facts=facts,
        classes=tuple(table.class_facts(cls, stopped) for cls in table.owners[flag]),
        history=history(flag),
        minutes=() if stopped is None else stopped.minutes(facts.names),
    )


def classes_of(flag: str) -> tuple[type[Job], ...] | None:
    """Return the classes that a switch stops and that are known here; None for no switch."""
    if not flags.is_installed():
        return None
    found = _Table().owners.get(flag)
    return None if found is None else tuple(found)


def history(flag: str | None = None, count: int = EVENTS) -> tuple[EventFacts, ...]:
    """Return who threw a switch, or any, the latest first; ``count`` is at most 500."""
    found = KillSwitchEvent.objects.order_by("-pk")
    if flag is not None:
        found = found.filter(flag=flag)
    return tuple(
        EventFacts(aware(e.at), e.flag, e.old_state, e.new_state, e.actor, e.source)
        for e in found[: min(count, MOST_EVENTS)]
    )


class _Table:
    """What the database and the classes say of the switches."""

    def __init__(self) -> None:
        rows = list(flags.rows())
        self.states = {row.name: flags.state_of(row) for row in rows}
        self.empty = {row.name for row in rows if flags.says_nothing(row)}
        self.newest = events.newest()
        self.owners: dict[str, list[type[Job]]] = {flag: [] for flag in self.states}
        for cls in registry().classes():
            own, *aliases = flag_names(cls)
            self.owners.setdefault(own, []).append(cls)
            for alias in set(aliases) & set(self.states):
                self.owners[alias].append(cls)

    def names(self) -> list[str]:
        return sorted(self.owners)

    def thrown(self) -> dict[str, str]:
        """Return what the mirror should have."""
        return {flag: state.encode() for flag, state in self.states.items() if not state.is_off}

    def longest(self) -> int:
        """Return the minutes to look back, so that all that is on is counted from its beginning."""
        begun = [
            aware(self.newest[flag].at).timestamp() for flag in self.thrown() if flag in self.newest
        ]
        age = clock.now() - min(begun, default=clock.now())
        return min(max(MINUTES, math.ceil(age / 60) + 1), KEPT // 60)

    def facts(self, flag: str, stopped: _Stopped | None) -> SwitchFacts:
        classes = self.owners[flag]
        state = self.states.get(flag, OFF)
        event = self.newest.get(flag)
        since = None if event is None else aware(event.at)
        names = tuple(map(wire_name, classes))
        counts = lately = since_then = None
        counted_from = None
        if stopped is not None:
            lately, counts = stopped.hour(names), stopped.held(names)
            if not state.is_off:
                counted_from = max(since or stopped.begins_at, stopped.begins_at)
                since_then = stopped.since(counted_from, names)
        return SwitchFacts(
            flag=flag,
            state=state.encode(),
            percent=state.percent,
            jobs=tuple(map(path_of, classes)),
            names=names,
            is_reconciler=bool(classes) and all(issubclass(cls, Reconciler) for cls in classes),
            since=since,
            actor="" if event is None else event.actor,
            source="" if event is None else event.source,
            refused=None if lately is None else lately[REFUSED],
            held=counts,
            dropped=None if lately is None else lately[DROPPED],
            refused_since=None if since_then is None else since_then[REFUSED],
            dropped_since=None if since_then is None else since_then[DROPPED],
            counted_from=counted_from,
            notes=tuple(self._notes(flag, state)),
        )

    def _notes(self, flag: str, state: State) -> Iterable[Note]:
        classes = self.owners[flag]
        if flag in self.empty and state.is_off:
            yield Note.SAYS_NOTHING
        if not classes:
            yield Note.NO_CLASS
        elif len(classes) > 1:
            yield Note.SHARED
        if classes and all(flag_names(cls)[0] != flag for cls in classes):
            yield Note.FORMER
        if flag not in self.states:
            yield Note.TOO_LONG if len(flag) > MAX_LENGTH else Note.NO_ROW

    def class_facts(self, cls: type[Job], stopped: _Stopped | None) -> ClassFacts:
        name = wire_name(cls)
        return ClassFacts(
            job=path_of(cls),
            name=name,
            queue=cls.queue,
            when_disabled=cls.when_disabled or get_settings().kill_switch.queued_jobs,
            reconcilers=tuple(map(wire_name, reconcilers_of(name))),
            flags={
                flag: self.states.get(flag, OFF).encode()
                for flag in flag_names(cls)
                if flag in self.owners
            },
            held=None if stopped is None else stopped.held([name]),
        )


@dataclass(frozen=True, slots=True)
class _Stopped:
    """What Redis says of stopped jobs: by minute, this one first, and what is held now."""

    counted: list[tuple[float, dict[str, Counter[str]]]]
    held_now: dict[str, int]
    mirror: dict[str, str]
    last_hour: defaultdict[str, Counter[str]]

    @property
    def begins_at(self) -> datetime:
        return moment(self.counted[-1][0])

    def held(self, names: Iterable[str]) -> int:
        return sum(self.held_now.get(name, 0) for name in names)

    def hour(self, names: Iterable[str]) -> Counter[str]:
        return sum((self.last_hour[name] for name in names), Counter[str]())

    def since(self, at: datetime, names: Iterable[str]) -> Counter[str]:
        found: Counter[str] = Counter()
        for begun, by_class in self.counted:
            if begun + 60 <= at.timestamp():
                break
            for name in names:
                found.update(by_class.get(name, {}))
        return found

    def minutes(self, names: Iterable[str]) -> tuple[MinuteFacts, ...]:
        """Return the last hour by minutes, the oldest first."""
        found = []
        for begun, by_class in reversed(self.counted[:MINUTES]):
            sums: Counter[str] = Counter()
            for name in names:
                sums.update(by_class.get(name, {}))
            found.append(MinuteFacts(moment(begun), sums[REFUSED], sums[HELD], sums[DROPPED]))
        return tuple(found)


def _stopped(minutes: int) -> _Stopped | None:
    """Ask Redis, with the little patience that switches have; None where it does not tell."""
    try:
        found = mirror.find_store()
        if found is None:
            return None
        counted = found.tally.by_minute(minutes)
        hour: defaultdict[str, Counter[str]] = defaultdict(Counter)
        for _, by_class in counted[:MINUTES]:
            for name, counts in by_class.items():
                hour[name].update(counts)
        return _Stopped(counted, found.held.classes(), found.switches.read() or {}, hour)
    except JobQueueError:
        return None


def path_of(cls: type[Job]) -> str:
    """Return the dotted path of a class."""
    return f"{cls.__module__}.{cls.__qualname__}"
