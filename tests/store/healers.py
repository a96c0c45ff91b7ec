"""Those who heal: the rows that need work, a Redis that loses everything, and the reconciler."""

from __future__ import annotations

from hypothesis import strategies as st

from django_jobqueue.store.locks import lock_in
from django_jobqueue.store.queues import Push
from tests.store import chance
from tests.store.cellar import Cellar, one_of
from tests.store.chance import LOW, READINGS
from tests.store.contents import Contents
from tests.store.model import Model


class Healers(Cellar):
    """What becomes of the work when Redis forgets it, and what an operator takes from a lock."""

    @chance.event(2)
    def enrol(self) -> None:
        """Let there be one more row that needs work. No job of it is pushed."""
        self.acting = ""
        self.rows[f"{len(self.rows) + 1:b}".rjust(32, "f")] = False

    @chance.event(2)
    def reconcile(self) -> None:
        """Push a job for each row that needs work, as a reconciler does; then I9 holds."""
        self.acting = ""
        needy = [digest for digest, is_done in self.rows.items() if not is_done]
        payloads = [self.new_job(digest) for digest in needy]
        jobs = [Push(LOW, payload, lock=lock_in(payload)) for payload in payloads]
        expected = self.model.push(jobs, healing=True)
        found = self.store.queues.push_unique(jobs, healing=True)
        assert found == expected, (
            "rows that have a job got another, or those that have none did not"
        )
        for index, payload in enumerate(payloads):
            if index not in expected:
                self.accept(payload)
        contents = Contents.read(self.client, self.prefix)
        locks = [lock_in(payload) for place, payload in contents.jobs() if place != "dead"]
        at_work = {lock.digest for lock in locks if lock is not None}
        for digest in needy:
            has_job = digest in at_work or self.model.is_cooling(digest)
            assert has_job, f"I9: row {digest} needs work and has no job"

    @chance.event(1)
    def flush(self) -> None:
        """Let Redis lose everything, while all go on."""
        self.acting = ""
        if names := list(self.client.scan_iter(match=f"{self.prefix}*", count=1000)):
            self.client.delete(*names)
        self.model = Model()
        for account in self.accounts.values():
            account.finished = True  # none of them may come back by what was under way
        for worker in self.workers:
            worker.last = None
        self.bereft.clear()
        self.before = Contents()

    @chance.event(1)
    def lose_epoch(self) -> None:
        """Let the marker alone be lost."""
        self.acting = ""
        self.client.delete(self.store.keys.epoch)
        self.model.epoch = ""

    @chance.event(2, at=chance.workers)
    def watch_epoch(self, at: int) -> None:
        """Look for the marker; who finds none and writes the new one has everything healed."""
        self.acting = ""
        epoch = self.store.epoch
        assert epoch.read() == (self.model.epoch or None)
        if not self.model.epoch:
            self.epochs += 1
            self.model.epoch = f"{self.workers[at].identity} {self.epochs}"
            assert epoch.begin(self.model.epoch) == self.model.epoch
            self.reconcile()
        assert epoch.begin("too late") == self.model.epoch, "two processes began an epoch"

    @chance.event(1, which=st.integers(0, 20))
    def see_lock(self, which: int = 0) -> None:
        """Let an operator look whose a lock is."""
        self.acting = ""
        if self.model.locks:
            digest = one_of(sorted(self.model.locks), which)
            assert self.store.locks.owners([digest]) == {digest: self.model.locks[digest].jid}
            seen = (digest, self.model.locks[digest].jid)
            self.seen_locks = [*self.seen_locks, seen][-READINGS:]

    @chance.event(1, which=st.integers(0, READINGS - 1), keeps=chance.flags)
    def unlock(self, which: int = 0, keeps: bool = False) -> None:
        """Give up a lock that was seen, at some later time."""
        self.acting = ""
        if not self.seen_locks:
            return
        digest, jid = self.seen_locks[which % len(self.seen_locks)]
        if not keeps:
            self.seen_locks.remove((digest, jid))
        owner = self.model.locks.get(digest)
        is_its = owner is not None and owner.jid == jid
        assert self.store.locks.release(digest, jid) == is_its, "a lock of another was given up"
        if is_its:
            del self.model.locks[digest]
