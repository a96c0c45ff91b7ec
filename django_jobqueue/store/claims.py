"""The claims: which process holds which jobs, and for how long its word is taken."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from django_jobqueue import clock
from django_jobqueue.store.keys import Field, Keys
from django_jobqueue.store.link import Link, Word, scored
from django_jobqueue.store.locks import ENDS, NEITHER, SUCCEEDED, Lock, lock_words
from django_jobqueue.store.locks import HELD as HELD_LOCK

#: Claims that one script moves, and bytes that one step claims.
MOVE_LIMIT = 100
CLAIM_BYTES = 4_000_000

#: The verbs of a result (see lua/step.lua), besides the plain success.
RETRY, SNOOZE, BURY, FORGET = "retry", "snooze", "bury", "forget"
BACK, SKIPPED, EXPIRED, DISCARDED = "back", "skipped", "expired", "discarded"
DONE, HELD, DROPPED = "done", "held", "dropped"

#: Those after which a job is no more, and those of them that are a death.
_ENDS = frozenset({DONE, BURY, FORGET, SKIPPED, EXPIRED, DISCARDED, DROPPED})
_DEATHS = frozenset({BURY, FORGET, DISCARDED})


@dataclass(frozen=True, slots=True)
class Move:
    """
    What becomes of one claim that did not simply succeed.

    ``delay`` in seconds is for retry and snooze; ``payload`` is what is written
    (for retry, snooze, bury and held); ``queue`` is where ``back`` goes, and a
    duplicate that is to run after this job. ``read``, for a recovery, is the
    payload that was read: a claim that is another one by now is left alone.
    ``job_class`` names the held set. ``lock`` follows the job; ``cooldown`` in
    seconds is how long a row whose job dies is left alone, the first time.
    """

    verb: str
    field: str
    payload: bytes = b""
    delay: float = 0.0
    queue: str = ""
    read: bytes = b""
    job_class: str = ""
    lock: Lock | None = None
    cooldown: float = 0.0


@dataclass(slots=True)  # not frozen: that would take three times as long to make
class Claim:
    """One job that this process holds: the field of its claim, its queue, its bytes."""

    field: str
    queue: str
    raw: bytes


@dataclass(frozen=True, slots=True)
class Step:
    """
    What a step found.

    ``refused`` maps fields to why Redis would not take their result; they are
    still claimed. ``fenced`` counts results that came too late. ``broken`` maps
    queues to why they cannot be read.
    """

    lapsed: bool
    fenced: int
    refused: dict[str, str]
    claimed: list[Claim]
    paused: list[str]
    broken: dict[str, str]


@dataclass(frozen=True, slots=True)
class Recovery:
    """What a recovery moved; ``alive`` when the process had come back."""

    moved: int = 0
    refused: dict[str, str] = field(default_factory=dict)
    alive: bool = False


def _pairs(flat: list[bytes]) -> dict[str, str]:
    it = iter(flat)
    return {name.decode(): why.decode(errors="replace") for name, why in zip(it, it, strict=True)}


class Claims:
    """
    Claim, finish and take back.

    Every move is fenced by the claim it is about, so each may be sent again
    after a lost reply.
    """

    def __init__(self, link: Link, keys: Keys, *, dead_entries: int, dead_age: float) -> None:
        self._link = link
        self._keys = keys
        self._dead_limits = (dead_entries, dead_age)

    def step(
        self,
        identity: str,
        *,
        lease: float,
        batch: str,
        wanted: int,
        queues: Sequence[str],
        done: Sequence[str] = (),
        moves: Sequence[Move] = (),
        suspect: str = "",
        room: int = CLAIM_BYTES,
    ) -> Step:
        """
        Deliver results, renew the lease (seconds) and claim up to ``wanted`` jobs.

        ``done`` are the fields of the jobs that succeeded. Queues are asked in
        the order given. ``batch`` must never be used twice by one identity for
        different claims.
        """
        keys = self._keys
        day = clock.utc_day()
        names = list(queues)
        key_names: list[str] = [
            keys.leases, keys.claims(identity), keys.paused, keys.counters,
            keys.retry, keys.schedule, keys.dead,
            keys.processed, keys.failed, keys.processed_on(day), keys.failed_on(day),
            keys.held_classes, *map(keys.queue, names),
        ]  # fmt: skip
        arguments: list[str | bytes | int | float] = [
            identity, int(lease * 1000), batch, wanted, room, *self._dead_limits, suspect,
            len(names), *names, len(done), *done,
        ]  # fmt: skip
        for move in moves:
            number = self._number(move, key_names)
            lock = self._lock_words(move, key_names)
            arguments += (move.verb, move.field, number, move.payload, move.job_class, *lock)
        reply = self._link.script("step", key_names, arguments)
        lapsed, fenced, refused, claimed, paused, broken = reply
        jobs: list[Claim] = []
        for at in range(0, len(claimed), 2):
            queue = names[claimed[at] - 1]
            jobs += [
                Claim(f"{batch}:{index}:{queue}", queue, raw)
                for index, raw in enumerate(claimed[at + 1], 1)
            ]
        return Step(
            bool(lapsed),
            fenced,
            _pairs(refused) if refused else {},
            jobs,
            [names[n - 1] for n in paused],
            {
                names[broken[at] - 1]: broken[at + 1].decode(errors="replace")
                for at in range(0, len(broken), 2)
            },
        )

    def _number(self, move: Move, names: list[str]) -> int | float:
        """Return the number that a verb takes; where it is a place, its key is added to names."""
        if move.verb == BACK:
            names.append(self._keys.queue(move.queue))
        elif move.verb == HELD:
            names.append(self._keys.held(move.job_class))
        else:
            return move.delay
        return len(names)

    def _lock_words(self, move: Move, names: list[str]) -> tuple[Word, ...]:
        lock, queue, cooldown = move.lock, 0, NEITHER
        if lock is None:
            return lock_words(self._keys, names, None, ttl=ENDS)
        if move.verb == HELD:
            return lock_words(self._keys, names, lock, ttl=HELD_LOCK)
        if move.verb not in _ENDS:
            return lock_words(self._keys, names, lock, ttl=lock.ttl + max(0.0, move.delay))
        if lock.rerun:
            names.append(self._keys.queue(move.queue))
            queue = len(names)
        if move.verb == DONE:
            cooldown = SUCCEEDED
        elif move.verb in _DEATHS and move.cooldown > 0:
            cooldown = move.cooldown
        return lock_words(self._keys, names, lock, ttl=ENDS, cooldown=cooldown, queue=queue)

    def fields(self, identity: str) -> set[str]:
        """Return the fields of all claims of a process."""
        found: list[bytes] = self._link.call("HKEYS", self._keys.claims(identity))
        return {name.decode(errors="replace") for name in found if name != Field.SUSPECT}

    def read(self, identity: str, fields: Sequence[str]) -> list[Claim]:
        """Return these claims of a process, without those that are gone."""
        if not fields:
            return []
        values: list[bytes | None] = self._link.call("HMGET", self._keys.claims(identity), *fields)
        return [
            Claim(name, Field.queue(name.encode()), raw)
            for name, raw in zip(fields, values, strict=True)
            if raw is not None
        ]

    def held(self, identity: str) -> tuple[list[Claim], str]:
        """Return all claims of a process, and the field of the suspect it ran, or ''."""
        found: dict[bytes, bytes] = self._link.call("HGETALL", self._keys.claims(identity))
        suspect = found.pop(Field.SUSPECT, b"").decode(errors="replace")
        return [
            Claim(f.decode(errors="replace"), Field.queue(f), raw) for f, raw in found.items()
        ], suspect

    def count(self, identity: str) -> int:
        """Return the number of claims of a process."""
        return len(self.fields(identity))

    # Leases ------------------------------------------------------------------

    def join(self, identity: str, lease: float) -> bool:
        """Take a lease (seconds) for a new process; False when the identity is live already."""
        return self._beat(identity, lease, "join") >= 0

    def beat(self, identity: str, lease: float) -> bool:
        """Renew the lease (seconds) of a process; return whether it had lapsed."""
        return self._beat(identity, lease, "beat") == 1

    def extend(self, identity: str, lease: float) -> bool:
        """
        Renew the lease of a child from its supervisor.

        False, and nothing done, when the child has none or was declared dead.
        """
        return self._beat(identity, lease, "extend") >= 0

    def _beat(self, identity: str, lease: float, mode: str) -> int:
        reply: int = self._link.script(
            "beat", [self._keys.leases], [identity, int(lease * 1000), mode]
        )
        return reply

    def declare_dead(self, identity: str) -> None:
        """End the lease of a process that is known to be dead: its claims are free to take back."""
        self._beat(identity, 0.0, "dead")

    def expired(self, limit: int = 100) -> tuple[list[str], list[str]]:
        """Return identities declared dead, and identities whose lease has run out, oldest first."""
        seconds, micro = self._link.call("TIME")
        now = int(seconds) * 1000 + int(micro) // 1000
        found = self._link.call(
            "ZRANGEBYSCORE", self._keys.leases, "-inf", f"({now}", "WITHSCORES", "LIMIT", 0, limit
        )
        dead: list[str] = []
        lapsed: list[str] = []
        for name, score in scored(found):
            (dead if score <= 0 else lapsed).append(name.decode(errors="replace"))
        return dead, lapsed

    def leases(self) -> dict[str, float]:
        """Return the end of each lease in epoch seconds of the Redis clock."""
        found = self._link.call("ZRANGE", self._keys.leases, 0, -1, "WITHSCORES")
        return {name.decode(errors="replace"): score / 1000 for name, score in scored(found)}

    def recover(self, identity: str, moves: Sequence[Move]) -> Recovery:
        """
        Take back claims of a process whose lease is over; at most 100 a call.

        A ``BACK`` goes to ``move.queue`` with ``move.payload``, next in line.
        """
        keys = self._keys
        key_names = [
            keys.leases, keys.claims(identity), keys.queues, keys.schedule, keys.dead,
            keys.counters,
        ]  # fmt: skip
        arguments: list[str | bytes | int | float] = [identity, *self._dead_limits]
        for move in moves:
            number = self._number(move, key_names)
            lock = self._lock_words(move, key_names)
            arguments += (
                move.verb, move.field, number, move.payload, move.queue, move.read, *lock,
            )  # fmt: skip
        reply = self._link.script("recover", key_names, arguments)
        if reply[0] < 0:
            return Recovery(alive=True)
        return Recovery(reply[0], _pairs(reply[1]))

    def orphans(self) -> Iterator[str]:
        """Yield identities that have claims and no lease. Scans the key space."""
        cursor: int | str = 0
        while True:
            cursor, names = self._link.call(
                "SCAN", cursor, "MATCH", self._keys.all_claims, "COUNT", 1000
            )
            identities = list(self._keys.claimants(names))
            if identities:
                scores = self._link.pipeline(
                    [("ZSCORE", self._keys.leases, identity) for identity in identities]
                )
                for identity, score in zip(identities, scores, strict=True):
                    if score is None:
                        yield identity
            if int(cursor) == 0:
                return

    def adopt(self, identity: str, lease: float) -> None:
        """Give claims without a lease one (seconds), at whose end they are taken back."""
        self.join(identity, lease)

    def leave(self, identity: str) -> int:
        """
        Take a stopping process out of the books and return the claims it leaves behind.

        Those are free to be taken back at once.
        """
        keys = self._keys
        left: int = self._link.script(
            "leave",
            [
                keys.leases,
                keys.claims(identity),
                keys.processes,
                keys.process(identity),
                keys.work(identity),
                keys.signals(identity),
            ],
            [identity],
        )
        return left
