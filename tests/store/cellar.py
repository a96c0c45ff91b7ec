"""The ground of the state machine: one store, what must be true of it, and a look at all of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import ClassVar, TypeVar

import redis
from hypothesis.stateful import RuleBasedStateMachine, invariant

from django_jobqueue.exceptions import StoreRefused
from django_jobqueue.store.claims import Claim
from django_jobqueue.store.locks import lock_in
from django_jobqueue.store.store import Store
from tests.store import actors
from tests.store.actors import Account, Worker, job_of, payload_of
from tests.store.chance import HIGH, LOW
from tests.store.contents import Contents
from tests.store.faults import wrong_type
from tests.store.model import CLASS, DEAD, ENDLESS, HELD_SET, LAPSED, LIVE, Call, Model
from tests.support.prefixes import new_prefix

T = TypeVar("T")

#: Seconds of a lease that does not run out by itself while an example runs.
LEASE = 10_000.0

#: Seconds to a time that does not come, and back to one that has.
FAR, PAST = 10_000.0, -10_000.0

#: Seconds for which nobody heals the row of a job that died, the first time.
COOLDOWN = 20_000.0

#: Seconds that an example may take; every length of time above differs by more.
SLOW = 1_000.0


class Cellar(RuleBasedStateMachine):
    """What is common to all actors."""

    client: ClassVar[redis.Redis]
    url: ClassVar[str]

    def __init__(self) -> None:
        super().__init__()
        self.prefix = new_prefix("m")
        self.store = self.make_store()
        self.model = Model()
        self.accounts: dict[int, Account] = {}
        self.jobs = 0
        self.workers: list[Worker] = []
        self.processes = 0
        #: What recoverers and pollers have read and not yet acted on.
        self.readings: list[tuple[str, list[Claim]]] = []
        self.polls: list[tuple[str, list[bytes]]] = []
        #: What operators see of a place and have not yet acted on.
        self.views: list[tuple[str, list[bytes]]] = []
        #: Steps that were sent and given up, and may yet arrive.
        self.late: list[Call] = []
        #: Whose a lock was when an operator looked.
        self.seen_locks: list[tuple[str, str]] = []
        #: By digest: the rows of a database that need work, and whether it is done.
        self.rows: dict[str, bool] = {}
        self.epochs = 0
        #: Identities whose lease was lost, until somebody notices.
        self.bereft: set[str] = set()
        #: The identity whose claims the last rule may have moved.
        self.acting = ""
        self.before = Contents()

    def make_store(self) -> Store:
        """Return the store under test. A mutant overrides this."""
        return Store(self.url, prefix=self.prefix, timeout=10.0)

    def teardown(self) -> None:
        """Remove what stands under the own prefix, and nothing else."""
        try:
            if names := list(self.client.scan_iter(match=f"{self.prefix}*", count=1000)):
                self.client.unlink(*names)
        finally:
            self.store.close()

    @invariant()
    def look(self) -> None:
        """Read everything and compare it with the promises, then with the model."""
        contents = Contents.read(self.client, self.prefix)
        places: dict[int, list[str]] = {}
        for place, payload in contents.jobs():
            places.setdefault(job_of(payload), []).append(place)
        for job, account in self.accounts.items():
            where = places.get(job, [])
            assert not (account.finished and where), f"I3: job {job} is finished and in {where}"
            assert account.finished or where, f"I1: job {job} is lost"
            assert len(where) <= 1, f"I2: job {job} is in {where}"
            assert account.starts <= account.allowed, f"I8: job {job} was started too often"
        for job in places.keys() - self.accounts.keys():
            raise AssertionError(f"job {job} was refused, and is in {places[job]}")
        for digest, jid in contents.locks.items():
            owner = self.accounts.get(int(jid))
            assert owner is not None, f"I6: {digest} is locked by a job that was refused"
            assert not owner.finished, f"I6: {digest} is locked by job {jid}, which is finished"
            assert places[int(jid)] != ["dead"], f"I6: {digest} is locked by job {jid}, a dead one"
        for identity in contents.claims:
            held = identity in contents.leases or identity in self.bereft
            assert held, f"I4: {identity} has claims and no lease"
        for identity, claims in self.before.claims.items():
            left = contents.claims.get(identity, {})
            assert identity == self.acting or claims.items() <= left.items(), (
                f"I7: a claim of {identity} was moved by somebody else"
            )
        self.before = contents
        self._compare(contents)
        self._compare_locks(contents)

    def _compare(self, contents: Contents) -> None:
        model = self.model
        assert contents.queues == _filled(model.queues), "the queues are not as they should be"
        sets = {name: set(members) for name, members in contents.sets.items()}
        assert sets == {name: set(members) for name, members in _filled(model.sets).items()}
        assert contents.claims == _filled(model.claims), "the claims are not as they should be"
        assert contents.suspects == model.suspects, "the suspects are not as they should be"
        now = time.time() * 1000
        states = {
            name: DEAD if end <= 0 else LIVE if end > now else LAPSED
            for name, end in contents.leases.items()
        }
        assert states == model.leases, "the leases are not as they should be"
        assert contents.paused == model.paused
        assert contents.counters == dict(model.counters), "something was counted wrongly"
        listed = CLASS in contents.held_classes
        assert listed or not model.sets[HELD_SET], "nobody would find what is held"

    def _compare_locks(self, contents: Contents) -> None:
        model, now = self.model, time.time()
        owners = {digest: owner.jid for digest, owner in model.locks.items()}
        assert contents.locks == owners, "the locks are not whose they should be"
        for digest, (_, ttl) in model.locks.items():
            left = contents.ttls[digest]
            exact = left == ENDLESS if ttl == ENDLESS else ttl - SLOW < left <= ttl
            assert exact, f"the lock {digest} lasts {left} s, not {ttl}"
        waiting = {digest: note.payload for digest, note in model.reruns.items()}
        reruns = {digest: raw.split(b"\n", 2)[2] for digest, raw in contents.reruns.items()}
        assert reruns == waiting, "what is run afterwards is not what should be"
        deaths = {digest: deaths for digest, (deaths, _) in contents.tombstones.items()}
        assert deaths == {digest: grave.deaths for digest, grave in model.tombstones.items()}
        for digest, (_, until) in contents.tombstones.items():
            left, wanted = until / 1000 - now, model.tombstones[digest].until - now
            assert abs(left - wanted) < SLOW, f"{digest} cools down for {left} s, not {wanted}"

    # What the actors need ----------------------------------------------------

    def claimants(self) -> list[str]:
        """Return the identities that have claims, living and dead."""
        return sorted(name for name, claims in self.model.claims.items() if claims)

    def new_job(self, digest: str = "") -> bytes:
        """Return the payload of a job that nobody has accepted yet; with a digest it is unique."""
        self.jobs += 1
        return payload_of(self.jobs, digest=digest)

    def accept(self, payload: bytes) -> None:
        """Expect this job to be somewhere, from now on."""
        self.accounts[job_of(payload)] = Account()

    def note_done(self, payload: bytes) -> None:
        """Note that the work of a row is done, whatever Redis makes of the result."""
        lock = lock_in(payload)
        if lock is not None and lock.digest in self.rows:
            self.rows[lock.digest] = True

    def rewrite(self, payload: bytes, rewritten: bool = True) -> bytes:
        """Return what is written of a job that moves: its next version, or the same bytes."""
        if not rewritten:
            return payload
        account = self.accounts[job_of(payload)]
        account.version += 1
        return actors.rewritten(payload, account.version)

    def assert_refused(self, send: Callable[[], object]) -> None:
        """Send what must be refused as a whole."""
        refused = False
        try:
            send()
        except StoreRefused:
            refused = True
        assert refused, f"{self.model.broken} has a wrong type, and nobody noticed"

    @contextmanager
    def broken(self, name: str, identity: str) -> Iterator[None]:
        """Put a key of a wrong type in the place of one, and take it away again."""
        keys = self.store.keys
        named = {
            "leases": keys.leases, "claims": keys.claims(identity), "paused": keys.paused,
            "counters": keys.counters, "processed": keys.processed, "failed": keys.failed,
            "retry": keys.retry, "schedule": keys.schedule, "dead": keys.dead,
            HELD_SET: keys.held(CLASS), HIGH: keys.queue(HIGH), LOW: keys.queue(LOW),
        }  # fmt: skip
        if not name or (name == "claims" and not identity):
            yield
            return
        key = named[name]
        with wrong_type(self.client, key):
            self.model.broken = name
            try:
                yield
            finally:
                self.model.broken = ""


def one_of(choices: Sequence[T], which: int) -> T:
    """Return one of some, by a number that may be too large."""
    return choices[which % len(choices)]


def _filled(places: dict[str, T]) -> dict[str, T]:
    return {name: content for name, content in places.items() if content}
