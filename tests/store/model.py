"""What the verbs promise, said once more in Python without Redis: the state machine compares."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from django_jobqueue.store.claims import BACK, BURY, FORGET, RETRY, SNOOZE, Move
from django_jobqueue.store.sets import LATER, PUSH, Promotion

#: The states of a lease: it runs, its time is over, its process was declared dead.
LIVE, LAPSED, DEAD = "live", "lapsed", "dead"

#: What a plain success is called among the verbs.
ACK = "ack"


class Refused(Exception):
    """The whole script is refused, before it has written anything."""


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
        default_factory=lambda: {"schedule": {}, "retry": {}, "dead": {}}
    )
    claims: dict[str, dict[str, bytes]] = field(default_factory=lambda: defaultdict(dict))
    suspects: dict[str, str] = field(default_factory=dict)
    leases: dict[str, str] = field(default_factory=dict)
    paused: set[str] = field(default_factory=set)
    leader: str = ""
    counters: Counter[str] = field(default_factory=Counter)
    broken: str = ""

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
        """Move due entries; returns the indexes moved and those refused."""
        self._prove(name)
        entries = self.sets[name]
        moved, refused = [], set()
        for index, promotion in enumerate(promotions):
            if promotion.old not in entries:
                continue
            if promotion.verb == PUSH and self.broken == promotion.queue:
                refused.add(index)
                continue
            del entries[promotion.old]
            if promotion.verb == PUSH:
                self.queues[promotion.queue].insert(0, promotion.new)
            elif promotion.verb == LATER:
                entries[promotion.new] = promotion.delay <= 0
            moved.append(index)
        return moved, refused

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
        target = {RETRY: "retry", SNOOZE: "schedule", BURY: "dead"}.get(move.verb, move.queue)
        if target and target == self.broken:
            out.refused.add(move.field)
            return
        if move.verb == BACK:
            self.queues[move.queue].append(payload)
        elif target:
            self.sets[target][payload] = move.delay <= 0
        out.moved.append(Moved(move.verb, move.field, mine.pop(move.field)))

    def _count_results(self, out: Outcome) -> None:
        for moved in out.moved:
            failed = moved.verb in (RETRY, BURY, FORGET)
            self._count("failed", int(failed))
            self._count("processed", int(moved.verb not in (SNOOZE, BACK)))
            if moved.verb not in (ACK, RETRY, BURY):
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
