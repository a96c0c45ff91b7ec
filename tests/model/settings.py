"""What the model is searched with: each setting is small enough to be seen whole."""

from __future__ import annotations

from tests.model.protocol import (
    COPY,
    CRASH,
    FLUSH,
    LATE,
    LOCK_ENDS,
    LOSE,
    REFUSE,
    SECOND,
    ZOMBIE,
    Setting,
)

#: What befalls processes and their connections.
_FAULTS = frozenset({CRASH, LOSE, LATE, COPY, ZOMBIE})

#: The same, and a second recoverer or poller that has read what the first one has.
_ALL = _FAULTS | {SECOND}

#: One unique job and one that is not, any two faults, and an operator who deletes one of the jobs.
TWO_JOBS = Setting("two jobs, and an operator deletes one", (0, None), _FAULTS, orders=1)

#: One job, and recoverers and pollers that race.
RIVALS = Setting("two recoverers, two pollers", (0,), _ALL)

#: Who looks first and acts later.
HESITANT = Setting(
    "an operator looks, and deletes later",
    (0,),
    _ALL,
    orders=1,
    hesitant=True,
    scheduled=frozenset({0}),
)

#: Two jobs that share a lock, which may run out.
TWINS = Setting("two jobs of one lock, which may run out", (0, 0), _ALL | {LOCK_ENDS})

#: Writes that Redis refuses in the middle of a script.
REFUSALS = Setting("writes that are refused", (0,), _ALL | {REFUSE})

#: Batches of two, whose jobs start when they like.
BATCHES = Setting("batches of two", (None, None), _ALL, faults=1, capacity=2, eager=False)

#: Redis loses everything once, with another fault, and a reconciler writes it again.
FLUSHED = Setting("FLUSHALL and one more fault", (0,), _ALL | {FLUSH})

#: Redis loses everything, twice.
FLUSHED_TWICE = Setting("FLUSHALL twice", (0, 1), frozenset({FLUSH}))

SETTINGS = (TWO_JOBS, RIVALS, HESITANT, TWINS, REFUSALS, BATCHES, FLUSHED, FLUSHED_TWICE)

#: Larger ones, for a machine that has some minutes.
LONG = (
    Setting("two jobs, all kinds of faults", (0, None), _ALL, orders=1),
    Setting("two jobs, FLUSHALL, a crash or a stop", (0, 1), frozenset({CRASH, ZOMBIE, FLUSH})),
)
