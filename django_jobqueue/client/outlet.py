"""Where a push ends: in Redis, or in a test's box. Swapped as Django swaps mail backends."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from django.core.signals import setting_changed
from django.utils.module_loading import import_string

from django_jobqueue.conf import get_settings
from django_jobqueue.connection import store
from django_jobqueue.exceptions import EnqueueError, StoreFull, StoreRefused
from django_jobqueue.payload import Payload
from django_jobqueue.store.locks import Lock
from django_jobqueue.store.queues import Push
from django_jobqueue.switches.switches import switches

#: The short names that ``JOBQUEUE["OUTLET"]`` may have.
OUTLETS = {
    "redis": "django_jobqueue.client.outlet.RedisOutlet",
    "fake": "django_jobqueue.testing.outbox.Outbox",
    "inline": "django_jobqueue.worker.inline.InlineOutlet",
}


@dataclass(slots=True)  # not frozen: that would take three times as long to make
class Entry:
    """
    One accepted job: its payload, its bytes, and when it is to run (epoch s; None: now).

    ``lock`` is the lock that a unique job takes.
    """

    payload: Payload
    raw: bytes
    at: float | None = None
    lock: Lock | None = None


class Outlet(Protocol):
    """
    Takes accepted jobs. All of them or, with an exception, none.

    One with a true attribute ``for_tests`` does not wait for the transactions
    that a test case puts around a test: they never commit.
    """

    def push(self, entries: Sequence[Entry], *, healing: bool = False) -> Mapping[int, str]:
        """
        Hand the jobs over, the first of a queue to run first.

        Returns, by their index, the unique jobs that were not taken, with the jid
        that holds their lock, or an empty text for a row that cools down after a
        death (looked at only when ``healing``).
        """


class RedisOutlet:
    """Writes jobs to Redis, in one round trip."""

    def push(self, entries: Sequence[Entry], *, healing: bool = False) -> Mapping[int, str]:
        """
        Write the jobs; see ``Outlet.push``.

        Raises: StoreUnavailable when Redis cannot be reached (it may have
        taken the jobs), EnqueueError when it refused them.
        """
        try:
            if any(entry.lock for entry in entries):
                return store().queues.push_unique(
                    [Push(e.payload.queue, e.raw, e.at, e.lock) for e in entries], healing=healing
                )
            self._push_plain(entries)
        except StoreFull as error:
            raise EnqueueError(
                f"Redis is out of memory, the job was not enqueued: raise maxmemory or let the "
                f"workers drain. {error}"
            ) from error
        except StoreRefused as error:
            raise EnqueueError(f"Redis refused the job: {error}") from error
        return {}

    def _push_plain(self, entries: Sequence[Entry]) -> None:
        queues: dict[str, list[bytes]] = {}
        scheduled: list[tuple[float, bytes]] = []
        for entry in entries:
            if entry.at is None:
                queues.setdefault(entry.payload.queue, []).append(entry.raw)
            else:
                scheduled.append((entry.at, entry.raw))
        store().queues.push(queues, scheduled)


#: An outlet, of whatever class.
AnyOutlet = TypeVar("AnyOutlet", bound=Outlet)

_chosen: Outlet | None = None
_overridden: list[Outlet] = []


def outlet() -> Outlet:
    """Return where pushes go now: the innermost ``use_outlet``, else what the settings name."""
    global _chosen
    if _overridden:
        return _overridden[-1]
    if _chosen is None:
        _chosen = make_outlet(get_settings().outlet)
    return _chosen


def make_outlet(name: str) -> Outlet:
    """Return a new outlet by its short name or dotted path."""
    made: Outlet = import_string(OUTLETS.get(name, name))()
    return made


@contextlib.contextmanager
def use_outlet(other: AnyOutlet) -> Iterator[AnyOutlet]:
    """
    Send all pushes of this process to another outlet for a while.

    The kill switches are then those of this process alone, unless it is Redis.
    """
    apart = contextlib.nullcontext() if isinstance(other, RedisOutlet) else switches().apart()
    _overridden.append(other)
    try:
        with apart:
            yield other
    finally:
        # The last one of the same: it may be there twice, and several threads may be in here.
        del _overridden[len(_overridden) - 1 - _overridden[::-1].index(other)]


def _on_setting_changed(*, setting: str, **_: Any) -> None:
    global _chosen
    if setting == "JOBQUEUE":
        _chosen = None


setting_changed.connect(_on_setting_changed, dispatch_uid="django_jobqueue.outlet")
