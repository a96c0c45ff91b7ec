"""What the verbs promise, said once more in Python without Redis: the state machine compares."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from django_jobqueue.store.claims import (
    BACK,
    BURY,
    DISCARDED,
    DONE,
    DROPPED,
    FORGET,
    HELD,
    RETRY,
    SNOOZE,
    Move,
)
from django_jobqueue.store.locks import Lock, lock_in
from django_jobqueue.store.queues import Push
from django_jobqueue.store.sets import HOLD, LATER, PUSH, Promotion, Revival, Revived

#: The one class of which jobs are held, and what it has in place of a set's name.
CLASS = "C"
HELD_SET = f"held {CLASS}"

#: The states of a lease: it runs, its time is over, its process was declared dead.
LIVE, LAPSED, DEAD = "live", "lapsed", "dead"

#: What a plain success is called among the verbs.
ACK = "ack"


#: A lock that has no end, for its job is held.
ENDLESS = -1.0

#: A cool-down in seconds never becomes longer than this.
DAY = 86_400.0


class Refused(Exception):
    """The whole script is refused, before it has written anything."""


class Owner(NamedTuple):
    """Whose a lock is, and for how many seconds from its writing (or ``ENDLESS``)."""

    jid: str
    ttl: float


class Note(NamedTuple):
    """What is run after the owner of a lock, and the lock that it then takes."""

    payload: bytes
    owner: Owner


class Grave(NamedTuple):
    """How often the job of a row died, and until when nobody heals it (epoch s)."""

    deaths: int
    until: float


@dataclass(frozen=True, slots=True)
class Call:
    """
    The arguments of a step, so that it can be sent again.

    ``raws`` are the payloads that the results are of, as the worker knows them,
    and ``started`` the fields of the jobs that it had started.
    """

    identity: str
    batch: str
    wanted: int
    queues: Sequence[str]
    done: Sequence[str] = ()
    moves: Sequence[Move] = ()
    suspect: str = ""
    raws: Mapping[str, bytes] = field(default_factory=dict)
    started: frozenset[str] = frozenset()

    @property
    def verbs(self) -> dict[str, str]:
        """What becomes of each field."""
        return {**dict.fromkeys(self.done, ACK), **{move.field: move.verb for move in self.moves}}


class Moved(NamedTuple):
    """A claim that a script has moved."""

    verb: str
    field: str
    payload: bytes


@dataclass(slots=True)
class Outcome:
    """What a script answers, and which claims it has moved."""

    lapsed: bool = False
    alive: bool = False
    fenced: int = 0
    moved: list[Moved] = field(default_factory=list)
    refused: set[str] = field(default_factory=set)
    claimed: list[tuple[str, str, bytes]] = field(default_factory=list)
    paused: list[str] = field(default_factory=list)
    broken: set[str] = field(default_factory=set)
    reruns: list[bytes] = field(default_factory=list)


@dataclass(slots=True)
class Model:
    """
    One Redis.

    Sets map payloads to whether they are due. ``broken`` is the name of the one
    key that has a wrong type at the moment, '' for none: ``leases``, ``claims``,
    ``paused``, ``counters``, ``processed``, ``failed``, a set or a queue.
    """

    queues: dict[str, list[bytes]] = field(default_factory=lambda: defaultdict(list))
    sets: dict[str, dict[bytes, bool]] = field(
        default_factory=lambda: {"schedule": {}, "retry": {}, "dead": {}, HELD_SET: {}}
    )
    claims: dict[str, dict[str, bytes]] = field(default_factory=lambda: defaultdict(dict))
    suspects: dict[str, str] = field(default_factory=dict)
    leases: dict[str, str] = field(default_factory=dict)
    paused: set[str] = field(default_factory=set)
    leader: str = ""
    epoch: str = ""
    locks: dict[str, Owner] = field(default_factory=dict)
    reruns: dict[str, Note] = field(default_factory=dict)
    tombstones: dict[str, Grave] = field(default_factory=dict)
    counters: Counter[str] = field(default_factory=Counter)
    broken: str = ""

    def push(self, jobs: Sequence[Push], *, healing: bool) -> dict[int, str]:
        """Write a page; returns, by index, who holds the lock of each job that is not written."""
        written: list[Push] = []
        locks, reruns = dict(self.locks), dict(self.reruns)
        exceptions: dict[int, str] = {}
        for index, job in enumerate(jobs):
            lock = job.lock
            if lock is None:
                written.append(job)
                continue
            wait = 0.0 if job.at is None else max(0.0, job.at - time.time())
            mine, owner = Owner(lock.jid, lock.ttl + wait), locks.get(lock.digest)
            if owner is None:
                if healing and self.is_cooling(lock.digest):
                    exceptions[index] = ""
                else:
                    written.append(job)
                    locks[lock.digest] = mine
            elif owner.jid != lock.jid:
                exceptions[index] = owner.jid
                if lock.rerun and not healing:
                    reruns[lock.digest] = Note(job.raw, mine)
        self._prove(*(job.queue for job in jobs if job.at is None))
        if any(job.at is not None for job in written):
            self._prove("schedule")
        self.locks, self.reruns = locks, reruns
        for job in written:
            if job.at is None:
                self.queues[job.queue].insert(0, job.raw)
            else:
                self.sets["schedule"][job.raw] = job.at <= time.time()
        return exceptions

    def is_cooling(self, digest: str) -> bool:
        """Return whether who heals leaves this row alone."""
        grave = self.tombstones.get(digest)
        return grave is not None and grave.until > time.time()

    def start(self, lock: Lock, *, release: bool) -> bool:
        """Note that a job starts; returns whether its lock was its own."""
        if not self.owns(lock):
            return False
        self.reruns.pop(lock.digest, None)
        if release:
            del self.locks[lock.digest]
        return True

    def renew(self, locks: Sequence[Lock]) -> int:
        """Renew locks; returns how many are the jobs' own."""
        ours = [lock for lock in locks if self.owns(lock)]
        for lock in ours:
            owner = self.locks[lock.digest]
            if owner.ttl != ENDLESS:
                self.locks[lock.digest] = Owner(lock.jid, max(owner.ttl, lock.ttl))
        return len(ours)

    def owns(self, lock: Lock) -> bool:
        """Return whether a lock is its job's own."""
        owner = self.locks.get(lock.digest)
        return owner is not None and owner.jid == lock.jid

    def step(self, call: Call) -> Outcome:
        """Finish and claim."""
        self._prove("leases", "claims")
        identity, mine, out = call.identity, self.claims[call.identity], Outcome()
        out.lapsed = self.leases.get(identity) != LIVE
        self.leases[identity] = LIVE
        if not call.suspect:
            self.suspects.pop(identity, None)
        for name in call.done:
            if name in mine:
                out.moved.append(Moved(ACK, name, mine.pop(name)))
            else:
                out.fenced += 1
        for move in call.moves:
            if move.field not in mine:
                out.fenced += 1
            else:
                payload = mine[move.field] if move.verb == BACK else move.payload
                self._move(move, payload, mine, out)
        self._count_results(out)
        if call.suspect in mine:
            self.suspects[identity] = call.suspect
        self._claim(call, mine, out)
        return out

    def recover(self, identity: str, moves: Sequence[Move]) -> Outcome:
        """Take back claims of a process whose lease is over."""
        self._prove("claims", "leases")
        mine, out = self.claims[identity], Outcome()
        out.alive = self.leases.get(identity) == LIVE
        if out.alive:
            return out
        for move in moves:
            if mine.get(move.field) == move.read:
                self._move(move, move.payload, mine, out)
        self._count("recovered", len(out.moved))
        if not mine:
            self.suspects.pop(identity, None)
            self.leases.pop(identity, None)
        return out

    def promote(self, name: str, promotions: Sequence[Promotion]) -> tuple[list[int], set[int]]:
        """Move due or held entries; returns the indexes moved and those refused."""
        self._prove(name)
        entries = self.sets[name]
        moved, refused = [], set()
        for index, promotion in enumerate(promotions):
            if promotion.old not in entries:
                continue
            target = {PUSH: promotion.queue, HOLD: HELD_SET}.get(promotion.verb)
            if target and self.broken == target:
                refused.add(index)
                continue
            del entries[promotion.old]
            if promotion.verb == PUSH:
                self.queues[promotion.queue].insert(0, promotion.new)
            elif promotion.verb == HOLD:
                self.sets[HELD_SET][promotion.new] = False
            elif promotion.verb == LATER:
                entries[promotion.new] = promotion.delay <= 0
            self._follow_promotion(promotion)
            moved.append(index)
        return moved, refused

    def revive(self, revivals: Sequence[Revival]) -> Revived:
        """Let dead jobs run once more, those whose lock no other job holds."""
        self._prove("dead")
        owners, refused, gone = {}, {}, set()
        for index, revival in enumerate(revivals):
            lock = revival.lock
            owner = None if lock is None else self.locks.get(lock.digest)
            if revival.old not in self.sets["dead"]:
                gone.add(index)
            elif lock is not None and owner is not None and owner.jid != lock.jid:
                owners[index] = owner.jid
            elif revival.queue == self.broken:
                refused[index] = self.broken
            else:
                del self.sets["dead"][revival.old]
                self.queues[revival.queue].insert(0, revival.new)
                if lock is not None:
                    self.locks[lock.digest] = Owner(lock.jid, lock.ttl)
                    self.tombstones.pop(lock.digest, None)
        return Revived(owners, refused, frozenset(gone))

    def remove(
        self, place: str, entries: Sequence[bytes], *, killed: Mapping[bytes, bytes], cool: float
    ) -> list[bytes]:
        """
        Take entries out of a queue or a set; returns those that were there.

        ``killed`` has what is written of those that go to the dead set.
        """
        self._prove(place, *(["dead"] if killed else []))
        standing = self.sets[place] if place in self.sets else self.queues[place]
        gone = []
        for entry in entries:
            if entry not in standing:
                continue
            if isinstance(standing, dict):
                del standing[entry]
            else:
                standing.remove(entry)
            if entry in killed:
                self.sets["dead"][killed[entry]] = True
            lock = lock_in(entry)
            if lock is not None:
                self._free(lock, cool=cool if entry in killed else 0.0)
            gone.append(entry)
        return gone

    def beat(self, identity: str, mode: str) -> int:
        """Renew a lease, or declare its process dead; returns what the script does."""
        state = self.leases.get(identity)
        if mode == "join" and state == LIVE:
            return -1
        if mode == "extend" and state in (None, DEAD):
            return -1
        if mode == "dead":
            if state is None:
                return -1
            self.leases[identity] = DEAD
            return 0
        self.leases[identity] = LIVE
        return 0 if state == LIVE else 1

    def leave(self, identity: str) -> int:
        """Take a process out of the books; returns the claims left behind."""
        self.suspects.pop(identity, None)
        left = len(self.claims[identity])
        if left:
            self.leases[identity] = DEAD
        else:
            self.leases.pop(identity, None)
        return left

    def due(self, name: str) -> set[bytes]:
        """Return the entries whose time has come."""
        return {entry for entry, is_due in self.sets[name].items() if is_due}

    # -------------------------------------------------------------------------

    def _prove(self, *names: str) -> None:
        if self.broken in names:
            raise Refused

    def _move(self, move: Move, payload: bytes, mine: dict[str, bytes], out: Outcome) -> None:
        target = {
            RETRY: "retry", SNOOZE: "schedule", BURY: "dead", HELD: HELD_SET, BACK: move.queue,
        }.get(move.verb)  # fmt: skip
        if target and target == self.broken:
            out.refused.add(move.field)
            return
        if move.verb == BACK:
            self.queues[move.queue].append(payload)
        elif target:
            self.sets[target][payload] = move.delay <= 0
        out.moved.append(Moved(move.verb, move.field, mine.pop(move.field)))
        if move.lock is not None:
            self._follow(move, move.lock, out)

    def _follow(self, move: Move, lock: Lock, out: Outcome) -> None:
        """Let a lock follow its claim."""
        if move.verb in (RETRY, SNOOZE, BACK):
            self._keep(lock, lock.ttl + max(0.0, move.delay))
        elif move.verb == HELD:
            self._keep(lock, ENDLESS)
        else:
            died = move.verb in (BURY, FORGET, DISCARDED)
            self._free(
                lock,
                succeeded=move.verb == DONE,
                cool=move.cooldown if died else 0.0,
                queue=move.queue if lock.rerun else "",
                out=out,
            )

    def _follow_promotion(self, promotion: Promotion) -> None:
        lock = promotion.lock
        if lock is None:
            return
        if promotion.verb == PUSH:
            self._keep(lock, lock.ttl)
        elif promotion.verb == LATER:
            self._keep(lock, lock.ttl + max(0.0, promotion.delay))
        elif promotion.verb == HOLD:
            self._keep(lock, ENDLESS)
        else:
            self._free(lock)

    def _keep(self, lock: Lock, ttl: float) -> None:
        owner = self.locks.get(lock.digest)
        if owner is None or owner.jid == lock.jid:
            self.locks[lock.digest] = Owner(lock.jid, ttl)

    def _free(
        self,
        lock: Lock,
        *,
        succeeded: bool = False,
        cool: float = 0.0,
        queue: str = "",
        out: Outcome | None = None,
    ) -> None:
        digest = lock.digest
        owner = self.locks.get(digest)
        if owner is not None and owner.jid != lock.jid:
            return
        self.locks.pop(digest, None)
        if succeeded:
            self.tombstones.pop(digest, None)
        elif cool > 0:
            deaths = self.tombstones[digest].deaths + 1 if digest in self.tombstones else 1
            wait = min(DAY, cool * 2 ** (deaths - 1))
            self.tombstones[digest] = Grave(deaths, time.time() + wait)
        if not queue or out is None:
            self.reruns.pop(digest, None)
        elif digest in self.reruns and queue != self.broken:
            note = self.reruns.pop(digest)
            self.queues[queue].insert(0, note.payload)
            self.locks[digest] = note.owner
            out.reruns.append(note.payload)

    def _count_results(self, out: Outcome) -> None:
        for moved in out.moved:
            failed = moved.verb in (RETRY, BURY, FORGET)
            self._count("failed", int(failed))
            self._count("processed", int(moved.verb not in (SNOOZE, BACK, HELD, DROPPED)))
            if moved.verb not in (ACK, DONE, RETRY, BURY, HELD, DROPPED):
                self._count(moved.verb)
        self._count("fenced", out.fenced)

    def _count(self, what: str, amount: int = 1) -> None:
        key = what if what in ("processed", "failed") else "counters"
        if amount and key != self.broken:
            self.counters[what] += amount

    def _claim(self, call: Call, mine: dict[str, bytes], out: Outcome) -> None:
        wanted = call.wanted
        for queue in call.queues:
            if queue in self.paused and self.broken != "paused":
                out.paused.append(queue)
            elif wanted > 0 and self.broken == queue:
                out.broken.add(queue)
            elif wanted > 0:
                waiting = self.queues[queue]
                count = min(wanted, len(waiting))
                names = [f"{call.batch}:{index}:{queue}" for index in range(1, count + 1)]
                if not any(name in mine for name in names):
                    for name in names:
                        mine[name] = waiting.pop()
                        out.claimed.append((name, queue, mine[name]))
                    wanted -= count
