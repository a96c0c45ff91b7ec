"""What this process knows of the kill switches: one dict, asked for every job, never with SQL."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed

from django_jobqueue import clock
from django_jobqueue.exceptions import JobQueueError
from django_jobqueue.payload import Payload
from django_jobqueue.store.tally import REFUSED
from django_jobqueue.switches import mirror, naming, pending
from django_jobqueue.switches.seldom import Seldom
from django_jobqueue.switches.state import OFF, ON, State

logger = logging.getLogger("django_jobqueue.switches")

#: Seconds for which what was read from the mirror is not read again. All obey within
#: one second: the tenth is for the way.
FRESH = 0.9

#: Seconds without a new try after Redis has failed: enqueues shall not wait for it in turn.
PAUSE = 5.0

#: What keeps us from Redis: it is away, or the settings are wrong, which others tell.
_TROUBLE = (JobQueueError, ImproperlyConfigured)


@dataclass(frozen=True, slots=True)
class View:
    """
    The switches at one moment: the states that are not off, by flag.

    ``is_known`` is false as long as nobody has told us any.
    """

    states: Mapping[str, State]
    is_known: bool

    @property
    def is_calm(self) -> bool:
        """Whether nothing is stopped, whatever its class."""
        return not self.states and (self.is_known or not naming.any_fails_closed())

    def state_of(self, wire_name: str) -> State:
        """Return the strongest state of the flags of a job class."""
        declared = naming.declaration(wire_name)
        if declared is None:
            return OFF
        if declared.fails_closed and not self.is_known:
            return ON
        return max(self.states.get(name, OFF) for name in declared.names)


class _Here(threading.local):
    #: What this thread is answered from, where that is settled.
    view: View | None = None
    #: Whether this thread is refused nothing.
    allowing = False


class _Pin:
    """Holds a thread to one view. Every push has one, and a generator would take twice as long."""

    __slots__ = ("_before", "_here", "_look")

    def __init__(self, here: _Here, look: Callable[[], View]) -> None:
        self._here = here
        self._look = look

    def __enter__(self) -> None:
        self._before = self._here.view
        self._here.view = self._look()

    def __exit__(self, *_: object) -> None:
        self._here.view = self._before


class Switches:
    """
    The kill switches as this process sees them.

    Whoever asks reads the mirror in Redis, about once a second. While that
    fails, or the mirror is gone, the last known state stays.
    """

    def __init__(self) -> None:
        self._here = _Here()
        self._reading = threading.Lock()
        self._counting = threading.Lock()
        self._overrides: list[Mapping[str, State]] = []
        self._apart: list[None] = []
        self._trouble = Seldom(logger)
        self._uncounted: Counter[str] = Counter()
        #: When, on the monotonic clock, to look and to count again.
        self._due = self._retry_count_at = 0.0
        self._is_alone = False
        self._told = View({}, is_known=False)
        self._show()

    # Asking --------------------------------------------------------------------

    def refuses(self, payload: Payload) -> bool:
        """
        Return whether a kill switch stops this job.

        Runs no SQL and raises nothing. While all switches are off it costs less
        than a microsecond.
        """
        view = self._here.view
        if view is None:
            if clock.monotonic() >= self._due:
                self.refresh()
            if self._view.is_calm and not pending.here.changed:
                return False
            view = self._look()
        if view.is_calm or self._here.allowing or payload.bypasses_kill_switch:
            return False
        return view.state_of(payload.job_class).covers(payload.jid)

    def state_of(self, wire_name: str) -> State:
        """Return the strongest state of the flags of a job class."""
        return self._settled().state_of(wire_name)

    def is_on(self, wire_name: str) -> bool:
        """Return whether every job of a class is stopped."""
        return self.state_of(wire_name).is_on

    def stopped(self) -> frozenset[str]:
        """Return the wire names of the job classes that a switch stops, wholly or in part."""
        view = self._settled()
        if view.is_calm:
            return frozenset()
        return frozenset(name for name in naming.declared() if not view.state_of(name).is_off)

    def pinned(self) -> AbstractContextManager[None]:
        """Answer all that this thread asks inside from one look: it belongs together."""
        return _Pin(self._here, self._settled)

    @contextlib.contextmanager
    def allowing(self) -> Iterator[None]:
        """Refuse this thread nothing: it has asked already, or means it."""
        before = self._here.allowing
        self._here.allowing = True
        try:
            yield
        finally:
            self._here.allowing = before

    # Being told ----------------------------------------------------------------

    def refresh(self, *, force: bool = False) -> None:
        """
        Read the mirror, if that was not done a moment ago or with ``force``.

        Raises nothing: a mirror that cannot be read is logged, once a minute.
        """
        # Everybody waits for the first look: until then a switch that is on stops nobody.
        if not self._reading.acquire(blocking=force or not self._told.is_known):
            return
        try:
            if force or clock.monotonic() >= self._due:
                self._due = clock.monotonic() + FRESH
                self._read()
        finally:
            self._reading.release()

    def take(self, states: Mapping[str, State]) -> None:
        """Learn the state of every flag, as the database has it."""
        with self._reading:
            self._learn(states)

    @contextlib.contextmanager
    def overridden(self, states: Mapping[str, State]) -> Iterator[None]:
        """Give flags another state for a while in this process, whatever anybody says."""
        self._overrides.append(states)
        self._show()
        try:
            yield
        finally:
            # The last one of the same: several threads may be in here.
            place = next(n for n, o in reversed([*enumerate(self._overrides)]) if o is states)
            del self._overrides[place]
            self._show()

    @contextlib.contextmanager
    def apart(self) -> Iterator[None]:
        """Let this process alone for a while: the mirror is neither read nor written."""
        self._apart.append(None)
        self._due = 0.0
        try:
            yield
        finally:
            self._apart.pop()
            self._due = 0.0

    @property
    def is_apart(self) -> bool:
        """Whether this process has no mirror: its jobs do not go to Redis."""
        return bool(self._apart) or not mirror.is_wanted()

    def forget(self) -> None:
        """Know nothing, and ask anew. Overrides stay."""
        with self._reading:
            self._trouble = Seldom(logger)
            self._uncounted = Counter()
            self._due = self._retry_count_at = 0.0
            self._is_alone = False
            self._told = View({}, is_known=False)
            self._show()

    # Telling -------------------------------------------------------------------

    def count_refused(self, counts: Mapping[str, int]) -> None:
        """
        Count refused jobs by the wire name of their class, in one round trip.

        While Redis is away they are kept, and counted with later ones.
        """
        with self._counting:
            self._uncounted.update(counts)
            if clock.monotonic() < self._retry_count_at:
                return
            counts, self._uncounted = self._uncounted, Counter()
        try:
            store = None if self.is_apart else mirror.find_store()
            if store is not None:
                store.tally.add(REFUSED, counts)
        except _TROUBLE as error:
            with self._counting:
                self._retry_count_at = clock.monotonic() + PAUSE
                self._uncounted.update(counts)
            self._trouble.warn("Refused jobs cannot be counted now: %s", error)

    # ----------------------------------------------------------------------------

    def _settled(self) -> View:
        view = self._here.view
        if view is None:
            if clock.monotonic() >= self._due:
                self.refresh()
            view = self._look()
        return view

    def _look(self) -> View:
        """Return what is known, with what this thread has changed and not committed."""
        changes = pending.states() if pending.here.changed else None
        return self._view_with(changes) if changes else self._view

    def _view_with(self, changes: Mapping[str, State]) -> View:
        states = {**self._told.states, **changes}
        for override in self._overrides:
            states.update(override)
        shown = {flag: state for flag, state in states.items() if not state.is_off}
        # Where jobs do not go to Redis nobody else has switches, so none is unknown.
        return View(shown, self._told.is_known or self._is_alone)

    def _show(self) -> None:
        """Answer from what was told. One assignment: others may be asking."""
        self._view = self._view_with({})

    def _learn(self, states: Mapping[str, State]) -> None:
        self._told = View(states, is_known=True)
        self._show()

    def _read(self) -> None:
        try:
            self._is_alone = self.is_apart
            store = None if self._is_alone else mirror.find_store()
            found = None if store is None else store.switches.read()
        except _TROUBLE as error:
            self._due = clock.monotonic() + PAUSE
            known = "the last known states stay" if self._told.is_known else "no state is known yet"
            self._trouble.warn("The kill switches cannot be read, %s: %s", known, error)
            return
        if found is None:
            self._show()
        else:
            self._learn({flag: self._decode(flag, text) for flag, text in found.items()})

    def _decode(self, flag: str, text: str) -> State:
        try:
            return State.decode(text)
        except ValueError:
            self._trouble.warn(
                "The mirror has %r as the state of %s; it is not changed", text, flag
            )
            return self._told.states.get(flag, OFF)

    def _after_fork(self) -> None:
        # Other threads of the parent may have held the locks.
        self._reading, self._counting = threading.Lock(), threading.Lock()
        self._uncounted = Counter()
        # What is known stays: it may be all there is, should Redis be away.
        self._due = 0.0


_switches = Switches()


def switches() -> Switches:
    """Return the kill switches of this process."""
    return _switches


def _on_setting_changed(*, setting: str, **_: Any) -> None:
    if setting in ("JOBQUEUE", "DEBUG", "BASE_DIR"):
        _switches.forget()


os.register_at_fork(after_in_child=_switches._after_fork)
setting_changed.connect(_on_setting_changed, dispatch_uid="django_jobqueue.switches")
