"""From the database to the mirror: how a switch that was thrown reaches every process."""

from __future__ import annotations

import logging

from django.core.exceptions import ImproperlyConfigured
from django.db import Error as DatabaseFault

from django_jobqueue.exceptions import JobQueueError
from django_jobqueue.store.store import Store
from django_jobqueue.store.switches import Replaced
from django_jobqueue.switches import flags, mirror
from django_jobqueue.switches.events import record_unrecorded
from django_jobqueue.switches.state import State
from django_jobqueue.switches.switches import switches

logger = logging.getLogger("django_jobqueue.switches")

#: How often the database is read again because somebody else wrote the mirror meanwhile.
TRIES = 5


def sync() -> None:
    """
    Bring the mirror, and what this process knows, to what the database says now.

    The version of the mirror is read before the rows, and the mirror is written
    only if it still has it: so two commits end with the truth in whatever order
    they come here. Who writes the mirror also records the changes that came past
    every door of ours.

    Raises: StoreUnavailable and the other errors of the store, ``django.db.Error``.
    """
    if not flags.is_installed():
        return
    store = None if switches().is_apart else mirror.find_store()
    if store is None:
        switches().take(flags.read_states())
        return
    try:
        states, has_changed = _replace(store)
    except JobQueueError:
        # This process at least.
        switches().take(flags.read_states())
        raise
    switches().take(states)
    if has_changed:
        record_unrecorded(states)


def publish() -> None:
    """Do the same for somebody who has saved a flag: what fails here is not his to bear."""
    try:
        sync()
    except (JobQueueError, ImproperlyConfigured, DatabaseFault) as error:
        logger.error(
            "A kill switch was changed, and other processes are not told yet: %s. The next "
            "worker that looks tells them.",
            error,
        )


def _replace(store: Store) -> tuple[dict[str, State], bool]:
    """Write the mirror; return the states of all rows, and whether the mirror had others."""
    for _ in range(TRIES):
        version = store.switches.version()
        states = flags.read_states()
        wanted = {flag: state.encode() for flag, state in states.items() if not state.is_off}
        outcome = store.switches.replace(version, wanted)
        if outcome is not Replaced.LOST:
            return states, outcome is Replaced.DONE
    # Whoever wrote last has read after us.
    return states, False
