"""
The protocol broken on purpose, one rule at a time: what the enumeration must be able to see.

Most of these do in two calls what a script of ours does in one. Between the two is a moment
to die at, and each leaves something wrong there and nowhere else.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from django_jobqueue.connection import store
from django_jobqueue.scheduling import firing
from django_jobqueue.scheduling.recovery import CrashPolicy
from django_jobqueue.store.claims import BACK, RETRY, SNOOZE, Claim, Claims, Move, Recovery, Step
from django_jobqueue.store.keys import Field
from django_jobqueue.store.link import Link
from django_jobqueue.store.sets import PUSH, Promotion, Sets
from django_jobqueue.timetable import Timetable
from tests.crash.fuse import hook
from tests.store.mutants import MUTANTS


@dataclass(frozen=True, slots=True)
class Sabotage:
    """
    One fault: ``apply`` makes it in this process.

    ``where`` matches the names of the calls behind which it may be seen, ``seen_as`` is how
    what is wrong then begins.
    """

    name: str
    apply: Callable[[], None]
    where: str
    seen_as: str

    def may_show_at(self, call: str) -> bool:
        """Return whether a crash at a call of this name may show it."""
        return re.search(self.where, call) is not None

    def explains(self, wrong: Sequence[str]) -> bool:
        """Return whether what is wrong is what this fault does."""
        return any(line.startswith(self.seen_as) for line in wrong)


def _pop() -> None:
    """Take jobs out of their queue, then write them down, as BRPOP has it."""
    step = Claims.step

    def popping(self: Claims, identity: str, **given: Any) -> Step:
        done = step(self, identity, **{**given, "wanted": 0})
        claimed: list[Claim] = []
        for queue in given["queues"]:
            for index in range(1, given["wanted"] - len(claimed) + 1):
                raw = self._link.call("RPOP", self._keys.queue(queue))
                if raw is None:
                    break
                field = Field.name(given["batch"], index, queue)
                self._link.call("HSET", self._keys.claims(identity), field, raw)
                claimed.append(Claim(field, queue, raw))
        return replace(done, claimed=claimed)

    hook(Claims, "step", popping)


def _acknowledge_early() -> None:
    """Forget the claims of jobs before they run."""
    step = Claims.step

    def early(self: Claims, identity: str, **given: Any) -> Step:
        found = step(self, identity, **given)
        if found.claimed:
            fields = [claim.field for claim in found.claimed]
            self._link.call("HDEL", self._keys.claims(identity), *fields)
        return found

    hook(Claims, "step", early)


def _in_two_calls(*, removes_first: bool) -> Callable[[], None]:
    """Write failed jobs to their set and take their claim away, by two calls."""

    def apply() -> None:
        step = Claims.step

        def parted(self: Claims, identity: str, **given: Any) -> Step:
            keys, rest = self._keys, []
            for move in given.get("moves", ()):
                if move.verb not in (RETRY, SNOOZE):
                    rest.append(move)
                    continue
                zset = keys.retry if move.verb == RETRY else keys.schedule
                calls: list[tuple[Any, ...]] = [
                    ("ZADD", zset, 1, move.payload),
                    ("HDEL", keys.claims(identity), move.field),
                ]
                for call in reversed(calls) if removes_first else calls:
                    self._link.call(*call)
            return step(self, identity, **{**given, "moves": rest})

        hook(Claims, "step", parted)

    return apply


def _recover_in_two_calls() -> None:
    """Give the claims of a dead process back, then remove them."""

    def parted(self: Claims, identity: str, moves: Sequence[Move]) -> Recovery:
        for move in moves:
            self._link.call("RPUSH", self._keys.queue(move.queue or "default"), move.payload)
        self._link.call("DEL", self._keys.claims(identity))
        self._link.call("ZREM", self._keys.leases, identity)
        return Recovery(len(moves))

    hook(Claims, "recover", parted)


def _promote_in_two_calls() -> None:
    """Take due jobs out of their set, then push them."""
    promote = Sets.promote

    def parted(
        self: Sets, name: str, promotions: Sequence[Promotion]
    ) -> tuple[int, dict[int, str]]:
        plain = [p for p in promotions if p.verb == PUSH and p.lock is None]
        for promotion in plain:
            self._link.call("ZREM", self._keys.sorted_set(name), promotion.old)
            self._link.call("LPUSH", self._keys.queue(promotion.queue), promotion.new)
        return promote(self, name, [p for p in promotions if p not in plain])

    hook(Sets, "promote", parted)


def _lock_first() -> None:
    """Take the lock of a unique job, then write the job."""
    script = Link.script

    def parted(self: Link, name: str, keys: Sequence[Any], arguments: Sequence[Any]) -> Any:
        if name != "enqueue":
            return script(self, name, keys, arguments)
        exceptions: list[Any] = []
        first = 2 + int(arguments[1])
        for number, at in enumerate(range(first, len(arguments), 7), 1):
            raw, queue, score, lock, jid, ttl, _ = arguments[at : at + 7]
            if lock and not self.call("SET", keys[lock - 1], jid, "NX", "PX", ttl):
                exceptions += (number, self.call("GET", keys[lock - 1]))
            elif queue:
                self.call("LPUSH", keys[queue - 1], raw)
            else:
                self.call("ZADD", keys[1], score, raw)
        return exceptions

    hook(Link, "script", parted)


def _forget_the_slot() -> None:
    """Push the job of a slot as any other: whoever pushes it again has no means to see that."""
    push = firing.push_slot

    def plain(timetable: Timetable, slot: int) -> str | None:
        if timetable.name != "hourly":
            return push(timetable, slot)
        payload, _ = firing.job_of(timetable).set().maker()(timetable.args, None)
        payload = payload.replace(jid=firing.slot_jid(timetable.name, slot))
        store().queues.push({payload.queue: [payload.encode()]})
        return payload.jid

    hook(firing, "push_slot", plain)


def _blame_nobody() -> None:
    """Give everything back that a dead process held, the suspects as well."""

    def acquit(self: CrashPolicy, claim: Claim, suspect: str) -> Move:
        return Move(BACK, claim.field, claim.raw, queue=claim.queue)

    hook(CrashPolicy, "judge", acquit)


def _mutant(name: str) -> Callable[[], None]:
    """Let all stores run a script with a fault of the tests of the store."""
    (mutant,) = [mutant for mutant in MUTANTS if mutant.name == name]

    def apply() -> None:
        init = Link.__init__

        def infected(self: Link, *given: Any, **named: Any) -> None:
            init(self, *given, **named)
            self._verbs = mutant.verbs

        hook(Link, "__init__", infected)

    return apply


SABOTAGES = (
    Sabotage("jobs are popped, then written down", _pop, "RPOP|HSET", "lost"),
    Sabotage("jobs are acknowledged before they run", _acknowledge_early, "HDEL", "lost"),
    Sabotage(
        "a claim is removed, then the retry written",
        _in_two_calls(removes_first=True),
        "HDEL",
        "lost",
    ),
    Sabotage(
        "a retry is written, then the claim removed",
        _in_two_calls(removes_first=False),
        "ZADD",
        "double",
    ),
    Sabotage("claims are given back, then removed", _recover_in_two_calls, "RPUSH", "double"),
    Sabotage("a due job is removed, then pushed", _promote_in_two_calls, "ZREM", "lost"),
    Sabotage("a lock is taken, then the job written", _lock_first, "^SET$", "lock"),
    Sabotage("the job of a slot is pushed without its lock", _forget_the_slot, "LPUSH", "double"),
    Sabotage("a suspect is blamed for no crash", _blame_nobody, "recover", "lost: guilty"),
    Sabotage("a recovery frees the lock", _mutant("a recovery frees the lock"), "recover", "lock"),
    Sabotage(
        "a recovered job stays claimed",
        _mutant("a recovered job stays claimed"),
        "recover",
        "double",
    ),
)
