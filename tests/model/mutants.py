"""The model with one rule broken: what a search must find, and in which setting."""

from __future__ import annotations

from dataclasses import dataclass

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
    Rules,
    Setting,
)


@dataclass(frozen=True, slots=True)
class Mutant:
    """Rules of which one is broken, and a setting in which it must be noticed."""

    name: str
    rules: Rules
    setting: Setting


def _setting(
    *kinds: str,
    faults: int = 1,
    digests: tuple[int | None, ...] = (None,),
    orders: int = 0,
    capacity: int = 1,
) -> Setting:
    return Setting(
        "mutant",
        digests,
        frozenset(kinds),
        faults=faults,
        orders=orders,
        capacity=capacity,
        hesitant=True,
        eager=False,
    )


MUTANTS = (
    Mutant("no fence", Rules(fence=False), _setting(ZOMBIE)),
    Mutant("a recovery does not look at the lease", Rules(lease_check=False), _setting(ZOMBIE)),
    Mutant(
        "a recovery does not compare what it has read",
        Rules(read_check=False),
        # The second life of the name: a step by it brings another job while a recoverer sleeps.
        _setting(LOSE, ZOMBIE, SECOND, faults=4, digests=(None, None)),
    ),
    Mutant(
        "a claim is removed before its job is written, and the write is refused",
        Rules(copy_first=False),
        _setting(REFUSE),
    ),
    Mutant("a promotion does not look again", Rules(recheck=False), _setting(SECOND)),
    Mutant(
        "a promotion does not look again after an operator deleted",
        Rules(recheck=False),
        _setting(orders=1, faults=0),
    ),
    Mutant(
        "a lock is freed or taken whoever owns it",
        Rules(owner_check=False),
        _setting(LOCK_ENDS, digests=(0, 0)),
    ),
    Mutant("a push does not ask for the lock", Rules(asks_lock=False), _setting(digests=(0, 0))),
    Mutant("a death keeps the lock", Rules(frees_lock=False), _setting(digests=(0,), faults=0)),
    Mutant(
        "a batch that is sent again is claimed again",
        Rules(idempotent_claim=False),
        _setting(LOSE, digests=(None, None), capacity=1),
    ),
    Mutant("a claimed job stays in its queue", Rules(trims=False), _setting(faults=0)),
    Mutant("a step does not renew the lease", Rules(renews_lease=False), _setting(ZOMBIE)),
    Mutant(
        "a recovery ends the lease while claims are left",
        Rules(keeps_lease=False),
        _setting(CRASH, SECOND, LATE, faults=2, digests=(None, None)),
    ),
    Mutant("claims that nobody knows of stay", Rules(adopts_ghosts=False), _setting(LATE)),
    Mutant(
        "two steps are named by one batch",
        Rules(new_batches=False),
        _setting(LATE, LOSE, faults=2, digests=(None, None)),
    ),
    Mutant(
        "an operator deletes what is gone",
        Rules(looks_before_delete=False),
        _setting(orders=1, faults=0),
    ),
    Mutant("nothing is written again after a flush", Rules(heals=False), _setting(FLUSH)),
    Mutant("no fence, after a flush", Rules(fence=False), _setting(FLUSH, digests=(0,))),
    Mutant("no fence for a second copy", Rules(fence=False), _setting(COPY)),
)
