"""Those who come after: misfortune, recoverers, pollers and the leader of the state machine."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from hypothesis import strategies as st

from django_jobqueue.scheduling.recovery import CrashPolicy
from django_jobqueue.store.claims import BACK, BURY, SNOOZE, Move, Recovery
from django_jobqueue.store.locks import lock_in
from django_jobqueue.store.removal import Place
from django_jobqueue.store.sets import DROP, PUSH, SCHEDULE, Promotion, Revival
from django_jobqueue.store.sets import RETRY as RETRY_SET
from tests.store import chance
from tests.store.actors import job_of
from tests.store.cellar import COOLDOWN, FAR, LEASE, PAST, Cellar, one_of
from tests.store.chance import LOW, QUEUES, READINGS
from tests.store.model import CLASS, DEAD, HELD_SET, LAPSED, LIVE, Refused


class Rescuers(Cellar):
    """What reads in one moment and acts in a later one."""

    # Time and misfortune -----------------------------------------------------

    @chance.event(1, which=st.integers(0, 20))
    def lapse(self, which: int) -> None:
        """Let the lease of a process run out, of a living or of a dead one."""
        self.acting = ""
        live = [name for name in self.claimants() if self.model.leases.get(name) == LIVE]
        if live:
            self.lapse_of(one_of(live, which))

    def lapse_of(self, identity: str) -> None:
        """Let a lease run out."""
        self.client.zadd(self.store.keys.leases, {identity: 1})
        self.model.leases[identity] = LAPSED
        for worker in self.workers:
            if worker.identity == identity:
                worker.last = None

    @chance.event(1, which=st.integers(0, 20))
    def lose_lease(self, which: int) -> None:
        """Lose the lease of a process that has claims, as a Redis that was restarted may."""
        self.acting = ""
        claimants = [name for name in self.claimants() if name in self.model.leases]
        if claimants:
            identity = one_of(claimants, which)
            self.lapse_of(identity)
            self.client.zrem(self.store.keys.leases, identity)
            del self.model.leases[identity]
            self.bereft.add(identity)

    @chance.event(1)
    def adopt_orphans(self) -> None:
        """Give claims without a lease one."""
        self.acting = ""
        orphans = set(self.store.claims.orphans())
        hashes = {*self.claimants(), *self.model.suspects}
        assert orphans == hashes - self.model.leases.keys()
        for identity in orphans:
            self.store.claims.adopt(identity, LEASE)
            self.model.beat(identity, "join")
        self.bereft.clear()

    @chance.event(2, which=st.integers(0, 20))
    def lapse_lock(self, which: int = 0) -> None:
        """Let a lock run out, as a short one does while its job waits."""
        self.acting = ""
        if self.model.locks:
            digest = one_of(sorted(self.model.locks), which)
            self.client.delete(self.store.keys.unique(digest))
            del self.model.locks[digest]

    @chance.event(1)
    def forget_scripts(self) -> None:
        """Make the server forget the scripts."""
        self.acting = ""
        self.client.script_flush()

    # Back --------------------------------------------------------------------

    @chance.event(2, which=st.integers(0, 20))
    def read_expired(self, which: int) -> None:
        """Do the first half of a recovery: find a process whose lease is over, read its claims."""
        self.acting = ""
        if all(state == LIVE for state in self.model.leases.values()):
            self.lapse(which)
        dead, lapsed = self.store.claims.expired()
        states = self.model.leases
        assert sorted(dead) == sorted(name for name, state in states.items() if state == DEAD)
        assert sorted(lapsed) == sorted(name for name, state in states.items() if state == LAPSED)
        over = sorted(dead + lapsed, key=lambda name: (not self.model.claims[name], name))
        if over:
            self.read_claims(over[which % len(over)])

    def read_claims(self, identity: str) -> None:
        """Read the claims of a process, in order to take them back."""
        claims, suspect = self.store.claims.held(identity)
        assert suspect == self.model.suspects.get(identity, "")
        self.readings = [*self.readings, (identity, claims)][-READINGS:]

    @chance.event(
        3,
        which=st.integers(0, READINGS - 1),
        verbs=chance.recoveries,
        part=st.integers(0, 4),
        rewritten=chance.flags,
        keeps=chance.flags,
        broken=chance.broken_for_recovery,
    )
    def recover(
        self,
        which: int = 0,
        verbs: Sequence[str] = (BACK,),
        part: int = 100,
        rewritten: bool = True,
        keeps: bool = False,
        broken: str = "",
    ) -> None:
        """
        Do the second half, at some later time: take back the first ``part`` of what was read.

        The process may have come back, somebody else may have been faster. With
        ``keeps`` the same reading is acted on once more, later.
        """
        if not self.readings:
            self.read_expired(which)
        if not self.readings:
            return
        index = which % len(self.readings)
        identity, claims = self.readings[index]
        if not keeps:
            del self.readings[index]
        moves = [
            Move(
                verb,
                claim.field,
                self.rewrite(claim.raw, rewritten),
                FAR if verb == SNOOZE else 0.0,
                claim.queue,
                claim.raw,
                lock=lock_in(claim.raw),
                cooldown=COOLDOWN if verb == BURY else 0.0,
            )
            for claim, verb in zip(claims[:part], _repeated(verbs), strict=False)
        ]
        self.acting = "" if self.model.leases.get(identity) == LIVE else identity
        with self.broken(broken, identity):
            try:
                expected = self.model.recover(identity, moves)
            except Refused:
                self.assert_refused(lambda: self.store.claims.recover(identity, moves))
                return
            found = self.store.claims.recover(identity, moves)
        assert found.alive == expected.alive, "I5: a live lease was recovered"
        assert found.moved == len(expected.moved)
        assert found.refused.keys() == expected.refused
        for moved in expected.moved:
            self.accounts[job_of(moved.payload)].allowed += 1
        for payload in expected.reruns:
            self.accept(payload)

    @chance.event(1, which=st.integers(0, READINGS - 1))
    def judge(self, which: int = 0) -> None:
        """Do the second half as a process does it: the third crash of a job is its death."""
        if not self.readings:
            self.read_expired(which)
        if not self.readings:
            return
        identity, claims = self.readings.pop(which % len(self.readings))
        policy = CrashPolicy(delay=PAST, cooldown=lambda job_class: COOLDOWN)
        suspect = self.model.suspects.get(identity, "")
        moves = [replace(policy.judge(claim, suspect), read=claim.raw) for claim in claims]
        self.acting = "" if self.model.leases.get(identity) == LIVE else identity
        expected = self.model.recover(identity, moves)
        found = self.store.claims.recover(identity, moves)
        assert found == Recovery(len(expected.moved), alive=expected.alive)
        for moved in expected.moved:
            self.accounts[job_of(moved.payload)].allowed += 1
        for payload in expected.reruns:
            self.accept(payload)

    # In time -----------------------------------------------------------------

    @chance.event(1)
    def poll(self) -> None:
        """Do the first half of a promotion: read what is due, and what is held."""
        self.acting = ""
        due = self.store.sets.due()
        for name, entries in due.entries.items():
            assert sorted(entries) == sorted(self.model.due(name))
            if entries:
                self.polls = [*self.polls, (name, entries)][-READINGS:]
        held = [entry for entry, _ in self.store.held.page(CLASS)]
        assert sorted(held) == sorted(self.model.sets[HELD_SET])
        assert self.store.held.classes() == ({CLASS: len(held)} if held else {})
        if held:
            self.polls = [*self.polls, (HELD_SET, held)][-READINGS:]
        waiting = self.model.sets[SCHEDULE] or self.model.sets[RETRY_SET]
        assert (due.earliest is not None) == bool(waiting)

    @chance.event(
        2,
        which=st.integers(0, READINGS - 1),
        verbs=chance.promotions,
        queue=chance.queues,
        rewritten=chance.flags,
        is_due=chance.flags,
        keeps=chance.flags,
        broken=chance.broken_for_promotion,
    )
    def promote(
        self,
        which: int = 0,
        verbs: Sequence[str] = (PUSH,),
        queue: str = LOW,
        rewritten: bool = True,
        is_due: bool = False,
        keeps: bool = False,
        broken: str = "",
    ) -> None:
        """Do the second half; with ``keeps`` another poller does it once more, later."""
        if not self.polls:
            self.poll()
        if not self.polls:
            return
        index = which % len(self.polls)
        name, entries = self.polls[index]
        if not keeps:
            del self.polls[index]
        self.acting = ""
        promotions = [
            Promotion(
                verb,
                entry,
                self.rewrite(entry, rewritten),
                queue,
                PAST if is_due else FAR,
                CLASS,
                lock_in(entry),
            )
            for entry, verb in zip(entries, _repeated(verbs), strict=False)
        ]
        with self.broken(broken, ""):
            try:
                expected, refused = self.model.promote(name, promotions)
            except Refused:
                self.assert_refused(lambda: self._promote(name, promotions))
                return
            found = self._promote(name, promotions)
        assert found[0] == len(expected), "pollers that raced moved a job twice, or never"
        assert found[1].keys() == refused
        for done in expected:
            if promotions[done].verb == DROP:
                self.accounts[job_of(promotions[done].old)].finished = True

    def _promote(self, name: str, promotions: Sequence[Promotion]) -> tuple[int, dict[int, str]]:
        if name == HELD_SET:
            return self.store.sets.release(CLASS, promotions)
        return self.store.sets.promote(name, promotions)

    @chance.event(1)
    def forget_class(self) -> None:
        """Take the class off the list of those with held jobs, where it has none."""
        self.acting = ""
        self.store.held.forget_empty(CLASS)
        listed = self.client.sismember(self.store.keys.held_classes, CLASS)
        assert listed == bool(self.model.sets[HELD_SET])

    # By hand -----------------------------------------------------------------

    @chance.event(1, name=chance.places)
    def view(self, name: str) -> None:
        """Do the first half of a removal: look at a place."""
        self.acting = ""
        entries = self.store.removal.page(self.place(name), 100)
        standing = self.model.sets.get(name)
        assert sorted(entries) == sorted(self.model.queues[name] if standing is None else standing)
        if entries:
            self.views = [*self.views, (name, entries)][-READINGS:]

    @chance.event(
        2,
        which=st.integers(0, READINGS - 1),
        part=chance.some,
        is_killed=chance.flags,
        tells=chance.flags,
        keeps=chance.flags,
        broken=chance.broken_for_removal,
    )
    def remove(
        self,
        which: int = 0,
        part: int = 100,
        is_killed: bool = False,
        tells: bool = False,
        keeps: bool = False,
        broken: str = "",
    ) -> None:
        """
        Do the second half: delete or kill the first ``part`` of what was seen.

        With ``tells`` the script learns where each stood in its queue.
        """
        if not self.views:
            return
        self.acting = ""
        index = which % len(self.views)
        name, entries = self.views[index]
        if not keeps:
            del self.views[index]
        place, page = self.place(name), entries[:part]
        is_killed = is_killed and name != "dead"
        killed = {entry: self.rewrite(entry) for entry in page} if is_killed else {}
        indexes = range(-1, -len(page) - 1, -1) if tells else ()

        def send() -> int:
            if is_killed:
                removal = self.store.removal
                return removal.kill(place, page, lambda raw: (killed[raw], COOLDOWN), indexes)
            return self.store.removal.delete(place, page, indexes)

        with self.broken(broken, ""):
            try:
                gone = self.model.remove(name, page, killed=killed, cool=COOLDOWN)
            except Refused:
                self.assert_refused(send)
                return
            assert send() == len(gone), "what somebody else had moved was removed, or nothing was"
        for entry in gone:
            self.accounts[job_of(entry)].finished = not is_killed

    @chance.event(
        2,
        which=st.integers(0, READINGS - 1),
        part=chance.some,
        queue=chance.queues,
        keeps=chance.flags,
        broken=chance.broken_for_revival,
    )
    def revive(
        self,
        which: int = 0,
        part: int = 100,
        queue: str = LOW,
        keeps: bool = False,
        broken: str = "",
    ) -> None:
        """Let the first ``part`` of the dead jobs that somebody has seen run once more."""
        if not any(name == "dead" for name, _ in self.views):
            self.view("dead")
        seen = [view for view in self.views if view[0] == "dead"]
        if not seen:
            return
        self.acting = ""
        view = seen[which % len(seen)]
        if not keeps:
            self.views.remove(view)
        revivals = [
            Revival(entry, self.rewrite(entry), queue, lock_in(entry)) for entry in view[1][:part]
        ]
        with self.broken(broken, ""):
            try:
                expected = self.model.revive(revivals)
            except Refused:
                self.assert_refused(lambda: self.store.sets.revive(revivals))
                return
            found = self.store.sets.revive(revivals)
        assert found.owners == expected.owners, "a newer job was not seen, or seen where none is"
        assert found.refused.keys() == expected.refused.keys()
        assert found.gone == expected.gone, "what is not dead any more was revived, or not told"
        stayed = {*found.owners, *found.refused, *found.gone}
        for index, revival in enumerate(revivals):
            if index not in stayed:
                self.accounts[job_of(revival.new)].allowed += 1

    @chance.event(1, name=chance.places)
    def clear(self, name: str) -> None:
        """Remove everything from a place."""
        self.acting = ""
        standing = self.model.sets.get(name)
        entries = list(self.model.queues[name] if standing is None else standing)
        gone = self.model.remove(name, entries, killed={}, cool=COOLDOWN)
        assert self.store.removal.clear(self.place(name)) == len(gone) == len(entries)
        for entry in gone:
            self.accounts[job_of(entry)].finished = True

    @chance.event(1, which=st.integers(0, 2))
    def clear_tombstone(self, which: int = 0) -> None:
        """Let a row be healed at once."""
        self.acting = ""
        if self.model.tombstones:
            digest = one_of(sorted(self.model.tombstones), which)
            assert self.store.locks.clear_tombstone(digest)
            del self.model.tombstones[digest]

    def place(self, name: str) -> Place:
        """Return a place by the model's name."""
        keys = self.store.keys
        if name in QUEUES:
            return Place.queue(keys, name)
        return Place.held(keys, CLASS) if name == HELD_SET else Place.sorted_set(keys, name)

    # Elections ---------------------------------------------------------------

    @chance.event(1, at=chance.workers)
    def lead(self, at: int) -> None:
        """Stand for election."""
        self.acting = ""
        identity = self.workers[at].identity
        if not self.model.leader:
            self.model.leader = identity
        leads = self.store.sets.lead(identity, LEASE)
        assert leads == (self.model.leader == identity), "two lead, or the wrong one"

    @chance.event(1)
    def end_term(self) -> None:
        """Let the leader's term end."""
        self.acting = ""
        self.client.delete(self.store.keys.leader)
        self.model.leader = ""


def _repeated(verbs: Sequence[str]) -> Iterator[str]:
    while True:
        yield from verbs
