"""The model's moves on the real scripts: what the model says must come of each is looked up."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any, NamedTuple

import redis

from django_jobqueue.store import claims
from django_jobqueue.store.claims import Move
from django_jobqueue.store.locks import Lock, lock_in
from django_jobqueue.store.queues import Push
from django_jobqueue.store.removal import Place
from django_jobqueue.store.sets import PUSH, RETRY, SCHEDULE, Promotion
from django_jobqueue.store.store import Store
from tests.model.protocol import Label, Setting
from tests.model.state import (
    DONE,
    FREE,
    LIVE,
    NONE,
    OVER,
    REFUSED,
    Call,
    Claims,
    Field,
    Order,
    Payload,
    State,
)
from tests.model.state import RETRY as RETRIED
from tests.store.faults import wrong_type

QUEUE = "q"

#: Seconds: of a lease and of a lock that do not end by themselves, and back to what is due.
LONG, PAST = 10_000.0, -10_000.0

#: Moves after which a step is on its way and has not reached Redis.
_HELD_UP = ("step, held up and given up", "step, held up, and crash")

#: Moves of which Redis learns nothing.
_SILENT = ("start", "view", *_HELD_UP[:1])


class Half(NamedTuple):
    """What of a state stands in Redis."""

    queue: tuple[Payload, ...]
    later: tuple[Payload, ...]
    dead: tuple[Payload, ...]
    locks: tuple[int, ...]
    leases: tuple[int, ...]
    claims: tuple[Claims, ...]


def half(state: State) -> Half:
    """Return what of a state stands in Redis."""
    return Half(
        state.queue,
        state.later,
        state.dead,
        state.locks,
        tuple(worker.lease for worker in state.workers),
        tuple(worker.claims for worker in state.workers),
    )


class Reality:
    """A real Redis under a prefix of its own, in which the model's moves are made by the Store."""

    def __init__(self, client: redis.Redis, store: Store, setting: Setting) -> None:
        self.client = client
        self.store = store
        self.setting = setting
        self._locks = len({digest for digest in setting.digests if digest is not None})
        self._identities = [f"host:1:{at}" for at in range(setting.workers)]
        keys = store.keys
        self._keys = [
            keys.queue(QUEUE), keys.schedule, keys.retry, keys.dead, keys.leases, keys.queues,
            keys.counters, keys.processed, keys.failed, keys.processes,
            *map(keys.claims, self._identities),
            *map(keys.unique, map(_digest, range(self._locks))),
            *map(keys.tombstone, map(_digest, range(self._locks))),
            *map(keys.rerun, map(_digest, range(self._locks))),
        ]  # fmt: skip

    def put(self, wanted: Half) -> None:
        """Write what stands in Redis in a state, and nothing else."""
        keys = self.store.keys
        with self.client.pipeline(transaction=True) as pipe:
            pipe.delete(*self._keys)
            if wanted.queue:
                pipe.rpush(keys.queue(QUEUE), *map(self._raw, wanted.queue))
            for payload in wanted.later:
                pipe.zadd(self._set_of(payload), {self._raw(payload): time.time() + PAST})
            for payload in wanted.dead:
                pipe.zadd(keys.dead, {self._raw(payload): time.time()})
            for identity, lease, held in zip(
                self._identities, wanted.leases, wanted.claims, strict=True
            ):
                if lease != NONE:
                    end = (time.time() + LONG) * 1000 if lease == LIVE else 1
                    pipe.zadd(keys.leases, {identity: end})
                for field, payload in held:
                    pipe.hset(keys.claims(identity), _name(field), self._raw(payload))
            for digest, owner in enumerate(wanted.locks):
                if owner != FREE:
                    pipe.set(keys.unique(_digest(digest)), _jid(owner), px=int(LONG * 1000))
            pipe.execute()

    def clear(self) -> None:
        """Remove what was written."""
        self.client.delete(*self._keys)

    def look(self) -> Half:
        """Read everything."""
        keys = self.store.keys
        with self.client.pipeline(transaction=True) as pipe:
            pipe.time()
            pipe.lrange(keys.queue(QUEUE), 0, -1)
            for name in (keys.schedule, keys.retry, keys.dead):
                pipe.zrange(name, 0, -1)
            pipe.zrange(keys.leases, 0, -1, withscores=True)
            for identity in self._identities:
                pipe.hgetall(keys.claims(identity))
            for digest in range(self._locks):
                pipe.get(keys.unique(_digest(digest)))
            moment, queue, schedule, retry, dead, leases, *rest = pipe.execute()
        now = moment[0] * 1000
        ends = {name.decode(): end for name, end in leases}
        held, owners = rest[: len(self._identities)], rest[len(self._identities) :]
        return Half(
            tuple(map(_payload, queue)),
            tuple(sorted(map(_payload, (*schedule, *retry)))),
            tuple(sorted(map(_payload, dead))),
            tuple(FREE if owner is None else int(owner) - 1 for owner in owners),
            tuple(
                NONE if identity not in ends else LIVE if ends[identity] > now else OVER
                for identity in self._identities
            ),
            tuple(
                tuple(sorted((_field(name), _payload(raw)) for name, raw in mine.items()))
                for mine in held
            ),
        )

    def do(self, label: Label, before: State, after: State) -> None:
        """Make one move by the real scripts, and compare what they answer."""
        what, who = label.what, label.who
        if what in _SILENT:
            return
        if what in ("push", "reconcile"):
            if what == "push" or not before.jobs[who].is_row_done:
                self._push(who, after, healing=what == "reconcile")
        elif isinstance(label.detail, Call):
            if what not in _HELD_UP:
                self._step(who, label.detail, refuses=what == "step, refused")
            if what == "step, held up, and crash":
                self._end_lease(before, who)
        elif what == "arrive":
            self._step(before.wire[who].worker, before.wire[who].call)
        elif isinstance(label.detail, Order):
            self._delete(label.detail)
        elif what in ("lock ends", "flush"):
            digest = self.store.keys.unique(_digest(who))
            self.client.delete(*(self._keys if what == "flush" else [digest]))
        elif what in ("audit", "beat", "restart"):
            self._beat(what, before, who)
        elif what in ("crash", "zombie", "lease ends"):
            self._end_lease(before, who)
        elif what == "read claims":
            found, _ = self.store.claims.held(self._identities[who])
            assert _claims(found) == after.readings[-1].claims
            assert self._identities[who] in self.store.claims.expired()[1]
        elif what == "recover":
            self._recover(before, after, who)
        elif what == "poll":
            due = self.store.sets.due().entries
            read = sorted(_payload(raw) for entries in due.values() for raw in entries)
            assert tuple(read) == after.polls[-1]
        else:
            assert what == "promote", what
            self._promote(before, who)

    # The moves --------------------------------------------------------------------

    def _push(self, job: int, after: State, *, healing: bool) -> None:
        raw = self._raw(Payload(job))
        at = time.time() + PAST if job in self.setting.scheduled else None
        push = Push(QUEUE, raw, at, lock_in(raw))
        found = self.store.queues.push_unique([push], healing=healing)
        assert bool(found) == (after.jobs[job].status == REFUSED)

    def _step(self, at: int, call: Call, *, refuses: bool = False) -> None:
        done, moves = [], []
        for field, verb, payload in call.results:
            lock = self._lock(payload)
            if verb == DONE and lock is None:
                done.append(_name(field))
                continue
            written = payload._replace(tries=payload.tries + (verb == RETRIED))
            moves.append(
                Move(
                    {DONE: claims.DONE, RETRIED: claims.RETRY}.get(verb, claims.BURY),
                    _name(field),
                    self._raw(written),
                    PAST if verb == RETRIED else 0.0,
                    QUEUE,
                    lock=lock,
                )
            )
        with wrong_type(self.client, self.store.keys.retry) if refuses else nullcontext():
            found = self.store.claims.step(
                self._identities[at],
                lease=LONG,
                batch=f"b{call.batch}",
                wanted=call.wanted,
                queues=[QUEUE],
                done=done,
                moves=moves,
            )
        retried = {_name(r.field) for r in call.results if r.verb == RETRIED}
        assert set(found.refused) <= (retried if refuses else set())

    def _beat(self, what: str, before: State, at: int) -> None:
        identity, worker = self._identities[at], before.workers[at]
        if what == "restart":
            assert self.store.claims.join(identity, LONG)
            return
        assert self.store.claims.beat(identity, LONG) == (worker.lease != LIVE)
        if what == "audit":
            fields = self.store.claims.fields(identity)
            found = self.store.claims.read(identity, sorted(fields))
            assert _claims(found) == worker.claims

    def _recover(self, before: State, after: State, n: int) -> None:
        reading = before.readings[n]
        moves = []
        for field, payload in reading.claims:
            marked = payload._replace(crashes=payload.crashes + 1)
            is_dead = marked.crashes >= self.setting.crashes
            moves.append(
                Move(
                    claims.BURY if is_dead else claims.BACK,
                    _name(field),
                    self._raw(marked),
                    queue=QUEUE,
                    read=self._raw(payload),
                    lock=self._lock(payload),
                )
            )
        found = self.store.claims.recover(self._identities[reading.worker], moves)
        was, now = before.workers[reading.worker], after.workers[reading.worker]
        assert found.alive == (was.lease == LIVE)
        assert found.moved == len(was.claims) - len(now.claims)

    def _promote(self, before: State, n: int) -> None:
        moved = 0
        for name in (SCHEDULE, RETRY):
            entries = [p for p in before.polls[n] if self._set_of(p) == self._place(name).key]
            promotions = [
                Promotion(PUSH, self._raw(p), self._raw(p), QUEUE, lock=self._lock(p))
                for p in entries
            ]
            moved += self.store.sets.promote(name, promotions)[0]
        assert moved == len(set(before.polls[n]) & set(before.later))

    def _delete(self, order: Order) -> None:
        if order.place == "queue":
            place = Place.queue(self.store.keys, QUEUE)
        else:
            place = self._place(RETRY if order.payload.tries else SCHEDULE)
        self.store.removal.delete(place, [self._raw(order.payload)])

    def _end_lease(self, before: State, at: int) -> None:
        if before.workers[at].lease == LIVE:
            self.client.zadd(self.store.keys.leases, {self._identities[at]: 1})

    # What things are called ---------------------------------------------------------

    def _place(self, name: str) -> Place:
        return Place.sorted_set(self.store.keys, name)

    def _set_of(self, payload: Payload) -> str:
        return self.store.keys.retry if payload.tries else self.store.keys.schedule

    def _lock(self, payload: Payload) -> Lock | None:
        return lock_in(self._raw(payload))

    def _raw(self, payload: Payload) -> bytes:
        fields: dict[str, Any] = {
            "class": "C",
            "args": list(payload),
            "jid": _jid(payload.job),
            "queue": QUEUE,
        }
        digest = self.setting.digests[payload.job]
        if digest is not None:
            fields |= {"unique_digest": _digest(digest), "unique_for": LONG}
        return json.dumps(fields, separators=(",", ":")).encode()


def differences(found: Half, wanted: Half) -> str:
    """Return what is not in Redis as the model says, part by part; an empty text for nothing."""
    return "; ".join(
        f"{name} are {ours}, and should be {theirs}"
        for name, ours, theirs in zip(Half._fields, found, wanted, strict=True)
        if ours != theirs
    )


def _claims(found: Sequence[claims.Claim]) -> Claims:
    return tuple(sorted((_field(each.field.encode()), _payload(each.raw)) for each in found))


def _payload(raw: bytes) -> Payload:
    return Payload(*json.loads(raw)["args"])


def _jid(job: int) -> str:
    return f"{job + 1:024d}"


def _digest(number: int) -> str:
    return f"{number:032x}"


def _name(field: Field) -> str:
    return f"b{field.batch}:{field.place}:{QUEUE}"


def _field(name: bytes) -> Field:
    batch, index, _ = name.decode().split(":")
    return Field(int(batch[1:]), int(index))
