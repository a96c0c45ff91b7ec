"""The workers of the state machine: what a process does with its claims, and what befalls it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

from hypothesis import strategies as st

from django_jobqueue.store.claims import (
    BACK,
    BURY,
    DISCARDED,
    DONE,
    DROPPED,
    EXPIRED,
    FORGET,
    HELD,
    RETRY,
    SKIPPED,
    SNOOZE,
    Move,
    Step,
)
from django_jobqueue.store.keys import Field
from django_jobqueue.store.locks import lock_in
from django_jobqueue.store.queues import Push
from django_jobqueue.store.sets import SCHEDULE
from tests.store import chance
from tests.store.actors import START, Held, Worker, job_of
from tests.store.cellar import COOLDOWN, FAR, LEASE, PAST, Cellar, one_of
from tests.store.chance import QUEUES, READINGS
from tests.store.model import ACK, CLASS, Call, Outcome, Refused

#: Verbs after which a job is over.
FINAL = (ACK, DONE, DROPPED, FORGET, SKIPPED, EXPIRED, DISCARDED)

#: Verbs of a job that is not started by them.
UNSTARTED = (BACK, HELD, DROPPED)


class Workers(Cellar):
    """Processes that claim, run, finish, lose replies, crash and stop."""

    # In ----------------------------------------------------------------------

    @chance.event(2, queue=chance.queues, count=chance.some)
    def push(self, queue: str, count: int = 1) -> None:
        """Enqueue jobs."""
        self.acting = ""
        payloads = [self.new_job() for _ in range(count)]
        if payloads:
            self.store.queues.push({queue: payloads})
        for payload in payloads:
            self.accept(payload)
            self.model.queues[queue].insert(0, payload)

    @chance.event(
        6,
        queue=chance.queues,
        kinds=chance.kinds,
        healing=chance.flags,
        later=chance.flags,
        twice=chance.flags,
        broken=chance.broken_for_pushes,
    )
    def push_unique(
        self,
        queue: str,
        kinds: Sequence[str],
        healing: bool = False,
        later: bool = False,
        twice: bool = False,
        broken: str = "",
    ) -> None:
        """
        Enqueue a page of jobs (``kinds``: the digest of each, '' for one that is not unique).

        With ``later`` the last one is scheduled. With ``twice`` the reply is lost
        and the page is sent again; a job that is not unique would double then.
        """
        self.acting = ""
        payloads = [self.new_job(digest) for digest in kinds if digest or not twice]
        jobs = [Push(queue, payload, lock=lock_in(payload)) for payload in payloads]
        if later and jobs:
            jobs[-1] = replace(jobs[-1], at=time.time() + FAR)
        with self.broken(broken, ""):
            try:
                expected = self.model.push(jobs, healing=healing)
            except Refused:
                self.assert_refused(lambda: self.store.queues.push_unique(jobs, healing=healing))
                return
            for _ in range(1 + twice):
                found = self.store.queues.push_unique(jobs, healing=healing)
                assert found == expected, "other jobs are duplicates than should be"
        for index, payload in enumerate(payloads):
            if index not in expected:
                self.accept(payload)

    @chance.event(1, is_due=chance.flags)
    def schedule(self, is_due: bool) -> None:
        """Enqueue a job for later, or for a time that has passed."""
        self.acting = ""
        payload = self.new_job()
        self.accept(payload)
        self.store.queues.push({}, [(time.time() + (PAST if is_due else FAR), payload)])
        self.model.sets[SCHEDULE][payload] = is_due

    @chance.event(1, queue=chance.queues)
    def pause(self, queue: str) -> None:
        """Pause one queue at most, or little would happen."""
        self.acting = ""
        if self.model.paused:
            return
        self.store.queues.pause(queue)
        self.model.paused.add(queue)

    @chance.event(2)
    def resume(self) -> None:
        """Let the paused queue go on."""
        self.acting = ""
        if self.model.paused:
            self.store.queues.resume(self.model.paused.pop())

    # Through -----------------------------------------------------------------

    @chance.event(
        8,
        at=chance.workers,
        kinds=chance.few_kinds,
        wanted=st.integers(0, 4),
        queues=chance.orders,
        verbs=chance.verbs,
        rewritten=chance.flags,
        is_due=chance.flags,
        has_suspect=chance.flags,
    )
    def turn(
        self,
        at: int,
        kinds: Sequence[str],
        wanted: int,
        queues: Sequence[str],
        verbs: Sequence[str | None],
        rewritten: bool,
        is_due: bool,
        has_suspect: bool,
    ) -> None:
        """Go once round a worker's loop, with jobs pushed meanwhile."""
        self.push_unique(queues[0], kinds)
        self.step(at, wanted, queues, verbs, rewritten, is_due, has_suspect)

    @chance.event(
        2,
        at=chance.workers,
        wanted=chance.some,
        queues=chance.orders,
        verbs=chance.verbs,
        rewritten=chance.flags,
        broken=chance.broken,
    )
    def lost_turn(
        self,
        at: int,
        wanted: int,
        queues: Sequence[str],
        verbs: Sequence[str | None],
        rewritten: bool,
        broken: str,
    ) -> None:
        """The same, and the reply is lost."""
        self.step(at, wanted, queues, verbs, rewritten, is_lost=True, broken=broken)

    @chance.event(
        2,
        at=chance.workers,
        wanted=chance.some,
        queues=chance.orders,
        verbs=chance.verbs,
        is_due=chance.flags,
        broken=chance.breakable,
    )
    def broken_turn(
        self,
        at: int,
        wanted: int,
        queues: Sequence[str],
        verbs: Sequence[str | None],
        is_due: bool,
        broken: str,
    ) -> None:
        """The same, and a key is of a wrong type."""
        self.step(at, wanted, queues, verbs, is_due=is_due, has_suspect=True, broken=broken)

    @chance.event(2, at=chance.workers, is_lost=chance.flags, broken=chance.broken)
    def resend(self, at: int, is_lost: bool, broken: str) -> None:
        """Send a step again whose reply was lost."""
        if self.waiters():
            self.step(one_of(self.waiters(), at), is_lost=is_lost, broken=broken)

    def step(
        self,
        at: int,
        wanted: int = 0,
        queues: Sequence[str] = QUEUES,
        verbs: Sequence[str | None] = (),
        rewritten: bool = True,
        is_due: bool = False,
        has_suspect: bool = False,
        is_lost: bool = False,
        broken: str = "",
    ) -> None:
        """
        Deliver results (``verbs``, one for each held job in turn) and claim.

        A worker whose last reply was lost sends that call again instead. With
        ``is_lost`` this reply is lost too.
        """
        worker = self.workers[at]
        call = worker.unresolved
        if call is None:
            call = self._new_call(worker, wanted, queues, verbs, rewritten, is_due, has_suspect)
        worker.last = None
        reply = self._deliver(call, broken)
        if reply is None or is_lost:
            worker.unresolved = call
            return
        worker.unresolved, worker.last = None, call
        for name in call.verbs:
            if name not in reply.refused:
                worker.held.pop(name, None)
        for claim in reply.claimed:
            worker.held[claim.field] = Held(claim.raw)

    @chance.event(1, at=chance.workers)
    def give_up(self, at: int) -> None:
        """Stop waiting for a reply that was lost, and look at the claims instead."""
        self.workers[at].unresolved = None
        self.beat(at)

    @chance.event(
        2,
        at=chance.workers,
        wanted=chance.some,
        queues=chance.orders,
        verbs=chance.verbs,
        rewritten=chance.flags,
    )
    def late_turn(
        self,
        at: int,
        wanted: int = 1,
        queues: Sequence[str] = QUEUES,
        verbs: Sequence[str | None] = (),
        rewritten: bool = True,
    ) -> None:
        """Send a step that is held up on its way, and give it up."""
        worker = self.workers[at]
        if worker.unresolved is None:
            call = self._new_call(worker, wanted, queues, verbs, rewritten, False, False)
            self.late = [*self.late, call][-READINGS:]
            worker.last = None
            self.beat(at)

    @chance.event(2, which=st.integers(0, READINGS - 1), broken=chance.broken)
    def arrive(self, which: int = 0, broken: str = "") -> None:
        """Let a late step arrive, whatever has become of its process."""
        if self.late:
            call = self.late.pop(which % len(self.late))
            if self._deliver(call, broken) is None:
                self.late.append(call)

    @chance.event(1, at=chance.workers, broken=chance.broken)
    def second_copy(self, at: int, broken: str = "") -> None:
        """Let a copy of the last step, sent when its reply was late, arrive after all."""
        if (call := self.workers[at].last) is not None:
            self._deliver(call, broken)

    @chance.event(2, at=chance.workers, tells=chance.flags)
    def start(self, at: int, tells: bool = True) -> None:
        """Start every job that the worker holds; with ``tells`` Redis learns of it."""
        self.acting = ""
        for held in self.workers[at].held.values():
            lock = lock_in(held.raw)
            if lock is not None and tells and not held.started:
                release = lock.digest == START
                started = self.store.locks.start(lock, release=release)
                assert started == self.model.start(lock, release=release)
            self._start(held)

    @chance.event(1, at=chance.workers)
    def renew(self, at: int) -> None:
        """Renew the locks of all jobs that the worker believes to hold."""
        self.acting = ""
        held = self.workers[at].held.values()
        locks = [lock for h in held if (lock := lock_in(h.raw)) is not None]
        assert self.store.locks.renew(locks) == self.model.renew(locks)

    @chance.event(2, at=chance.workers, compares=chance.flags)
    def beat(self, at: int, compares: bool = True) -> None:
        """
        Beat, and compare the claims with memory.

        Claims that the worker does not know are adopted, unless a resend may
        yet bring them; those that are gone are dropped if not started.
        """
        self.acting = ""
        worker = self.workers[at]
        lapsed = self.store.claims.beat(worker.identity, LEASE)
        self.bereft.discard(worker.identity)
        assert lapsed == bool(self.model.beat(worker.identity, "beat"))
        if not compares or worker.unresolved is not None:
            return
        fields = self.store.claims.fields(worker.identity)
        for claim in self.store.claims.read(worker.identity, sorted(fields - worker.held.keys())):
            worker.held[claim.field] = Held(claim.raw)
        for gone in worker.held.keys() - fields:
            if not worker.held[gone].started:
                del worker.held[gone]

    @chance.event(1, at=chance.workers, is_declared=chance.flags)
    def crash_holder(self, at: int, is_declared: bool) -> None:
        """Kill a worker that holds jobs."""
        if self.holders():
            self.crash(one_of(self.holders(), at), is_declared)

    def crash(self, at: int, is_declared: bool = False) -> None:
        """Kill a worker; another takes its place. Its supervisor may have seen it."""
        self.acting = ""
        identity = self.workers[at].identity
        if is_declared:
            self.store.claims.declare_dead(identity)
            self.model.beat(identity, "dead")
        self.workers[at] = self.new_worker()

    @chance.event(1, at=chance.workers, verbs=chance.verbs)
    def stop_holder(self, at: int, verbs: Sequence[str | None]) -> None:
        """Stop a worker that holds jobs."""
        if self.holders():
            self.stop(one_of(self.holders(), at), verbs)

    def stop(self, at: int, verbs: Sequence[str | None] = ()) -> None:
        """Stop a worker in good order: the last results, then the farewell."""
        worker = self.workers[at]
        self.step(at, verbs=verbs)
        self.acting = worker.identity
        left = self.store.claims.leave(worker.identity)
        assert left == self.model.leave(worker.identity)
        self.workers[at] = self.new_worker()

    @chance.event(1, at=chance.workers)
    def join_again(self, at: int) -> None:
        """Start a second process by the name of one: only where that is not live."""
        self.acting = ""
        identity = self.workers[at].identity
        joined = self.store.claims.join(identity, LEASE)
        assert joined == (self.model.beat(identity, "join") >= 0), "two processes by one name"
        self.bereft.discard(identity)

    @chance.event(1, which=st.integers(0, 20))
    def extend(self, which: int) -> None:
        """Let a supervisor beat for a process, which may be dead or gone."""
        self.extend_of(one_of(["nobody", *sorted({*self.model.leases, *self.bereft})], which))

    def extend_of(self, identity: str) -> None:
        """Let the supervisor of this process beat for it."""
        self.acting = ""
        extended = self.store.claims.extend(identity, LEASE)
        assert extended == (self.model.beat(identity, "extend") >= 0), "the dead were revived"

    # ------------------------------------------------------------------------

    def holders(self) -> list[int]:
        """Return the workers that know of jobs to finish and have no step to send again."""
        return [n for n, w in enumerate(self.workers) if w.held and w.unresolved is None]

    def waiters(self) -> list[int]:
        """Return the workers that have a step to send again."""
        return [n for n, w in enumerate(self.workers) if w.unresolved is not None]

    def new_worker(self) -> Worker:
        """Return a process that has just joined."""
        self.processes += 1
        worker = Worker(f"host:1:{self.processes:04}")
        assert self.store.claims.join(worker.identity, LEASE)
        self.model.beat(worker.identity, "join")
        return worker

    def _start(self, held: Held) -> None:
        if not held.started:
            held.started = True
            self.accounts[job_of(held.raw)].starts += 1

    def _new_call(
        self,
        worker: Worker,
        wanted: int,
        queues: Sequence[str],
        verbs: Sequence[str | None],
        rewritten: bool,
        is_due: bool,
        has_suspect: bool,
    ) -> Call:
        done: list[str] = []
        moves: list[Move] = []
        for (name, held), verb in zip(worker.held.items(), verbs, strict=False):
            if verb is None:
                continue
            if verb not in UNSTARTED:
                self._start(held)
            if verb == ACK:
                self.note_done(held.raw)
            lock = lock_in(held.raw)
            if verb == ACK and lock is None:
                done.append(name)
            else:
                written = verb in (RETRY, SNOOZE, BURY, HELD)
                moves.append(
                    Move(
                        DONE if verb == ACK else verb,
                        name,
                        self.rewrite(held.raw, rewritten) if written else b"",
                        0.0 if verb not in (RETRY, SNOOZE) else PAST if is_due else FAR,
                        Field.queue(name.encode()),
                        job_class=CLASS,
                        lock=lock,
                        cooldown=COOLDOWN,
                    )
                )
        resolved = {*done, *(move.field for move in moves)}
        others = [name for name in worker.held if name not in resolved]
        suspect = others[0] if has_suspect and others else ""
        worker.batches += 1
        return Call(
            worker.identity,
            f"b{worker.batches}",
            wanted,
            tuple(queues),
            done,
            moves,
            suspect,
            raws={name: worker.held[name].raw for name in resolved},
            started=frozenset(name for name in resolved if worker.held[name].started),
        )

    def _deliver(self, call: Call, broken: str) -> Step | None:
        """Send a step; returns the reply, or None where Redis refused the whole."""
        self.acting = call.identity
        with self.broken(broken, call.identity):
            try:
                expected = self.model.step(call)
            except Refused:
                self.assert_refused(lambda: self._send(call))
                return None
            reply = self._send(call)
        self.bereft.discard(call.identity)
        self._account(call, expected)
        assert reply.lapsed == expected.lapsed
        assert reply.fenced == expected.fenced, "a result counted that came too late"
        assert reply.refused.keys() == expected.refused
        assert [(c.field, c.queue, c.raw) for c in reply.claimed] == expected.claimed
        assert reply.paused == expected.paused
        assert reply.broken.keys() == expected.broken
        return reply

    def _account(self, call: Call, expected: Outcome) -> None:
        for moved in expected.moved:
            job = job_of(moved.payload)
            result_of = job_of(call.raws[moved.field])
            assert result_of == job, f"I7: the result of job {result_of} moved job {job}"
            account = self.accounts[job]
            account.finished |= moved.verb in FINAL
            account.allowed += moved.verb in (RETRY, SNOOZE) or (
                moved.verb in (BACK, HELD) and moved.field in call.started
            )
        for payload in expected.reruns:
            self.accept(payload)

    def _send(self, call: Call) -> Step:
        return self.store.claims.step(
            call.identity,
            lease=LEASE,
            batch=call.batch,
            wanted=call.wanted,
            queues=call.queues,
            done=call.done,
            moves=call.moves,
            suspect=call.suspect,
        )
