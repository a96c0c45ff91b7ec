"""The moves of the protocol in plain Python: each script at once, everything else between them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

from tests.model.state import (
    ACCEPTED,
    BURY,
    DELETED,
    DONE,
    DOUBT,
    FINISHED,
    FLUSHED,
    FREE,
    LIVE,
    LOST,
    NONE,
    OVER,
    REFUSED,
    RETRY,
    RUNNING,
    SENT,
    UNBORN,
    WAITING,
    Call,
    Claims,
    Field,
    Held,
    Job,
    Order,
    Payload,
    Reading,
    Result,
    State,
    Wired,
    Worker,
)

T = TypeVar("T")

_WORKERS = State._fields.index("workers")


@dataclass(frozen=True, slots=True)
class Setting:
    """
    What is there, and what may go wrong.

    ``digests`` has for each job the number of the lock it shares, or None for one that is not
    unique. ``faults`` may happen in all, each of one of these ``kinds``; jobs ``scheduled`` are
    pushed for later. A worker runs ``capacity`` jobs and claims as many at once; an ``eager`` one
    starts each as soon as it knows of it. So many ``orders`` an operator may give; a ``hesitant``
    one looks first and acts later, when the job may have moved.
    """

    name: str
    digests: tuple[int | None, ...]
    kinds: frozenset[str]
    faults: int = 2
    capacity: int = 1
    retries: int = 1
    crashes: int = 2
    orders: int = 0
    scheduled: frozenset[int] = frozenset()
    workers: int = 2
    eager: bool = True
    hesitant: bool = False


@dataclass(frozen=True, slots=True)
class Rules:
    """What the scripts and the workers keep to. A mutant breaks one of them."""

    fence: bool = True
    lease_check: bool = True
    read_check: bool = True
    copy_first: bool = True
    recheck: bool = True
    owner_check: bool = True
    idempotent_claim: bool = True
    trims: bool = True
    renews_lease: bool = True
    keeps_lease: bool = True
    adopts_ghosts: bool = True
    new_batches: bool = True
    frees_lock: bool = True
    asks_lock: bool = True
    looks_before_delete: bool = True
    heals: bool = True


#: The kinds of faults, by the labels that cost one.
CRASH, LOSE, LATE, COPY, ZOMBIE = "crash", "lose", "late", "copy", "zombie"
SECOND, REFUSE, LOCK_ENDS, FLUSH = "second", "refuse", "lock ends", "flush"


class Label(NamedTuple):
    """What happens between two states, ``who`` does it, and of what kind of fault it is if any."""

    what: str
    who: int = -1
    fault: str = ""
    detail: Order | Call | None = None


class Violation(Exception):
    """A promise was broken by a move itself."""


class Protocol:
    """All moves from a state. The names are those of the scripts and of who calls them."""

    def __init__(self, setting: Setting, rules: Rules | None = None) -> None:
        self.setting = setting
        self.rules = rules or Rules()
        self._kinds = setting.kinds

    def initial(self) -> State:
        """Nobody has pushed anything yet."""
        setting = self.setting
        locks = len({digest for digest in setting.digests if digest is not None})
        return State(
            queue=(),
            later=(),
            dead=(),
            locks=(FREE,) * locks,
            workers=(Worker(),) * setting.workers,
            wire=(),
            readings=(),
            polls=(),
            order=None,
            orders=setting.orders,
            jobs=(Job(),) * len(setting.digests),
            faults=setting.faults,
        )

    def moves(self, state: State) -> Iterator[tuple[Label, State]]:
        """Yield whatever may happen next. Raises: Violation, with the label in its arguments."""
        for job, account in enumerate(state.jobs):
            if account.status == FLUSHED and self.rules.heals:
                yield Label("reconcile", job), self.reconcile(state, job)
            elif account.status == UNBORN:
                yield Label("push", job), self.push(state, job)
                break  # one after the other
        for at, worker in enumerate(state.workers):
            if worker.up:
                yield from self._worker_moves(state, at, worker)
            else:
                yield from self._fallen_moves(state, at, worker)
        for at, wired in enumerate(state.wire):
            yield Label("arrive", at), self._arrive(state, at, wired)
        yield from self._recoverer_moves(state)
        yield from self._poller_moves(state)
        yield from self._operator_moves(state)
        if state.faults:
            if LOCK_ENDS in self._kinds:
                for digest, owner in enumerate(state.locks):
                    if owner != FREE:
                        yield Label("lock ends", digest, LOCK_ENDS), _lock_ends(state, digest)
            if FLUSH in self._kinds and any(job.status == ACCEPTED for job in state.jobs):
                yield Label("flush", -1, FLUSH), _flushed(state)

    # In ----------------------------------------------------------------------

    def push(self, state: State, job: int) -> State:
        """Run enqueue.lua: the job first, then its lock, unless somebody holds that."""
        digest = self.setting.digests[job]
        if digest is not None and state.locks[digest] != FREE and self.rules.asks_lock:
            return state._replace(jobs=_status(state.jobs, job, REFUSED))
        payload = Payload(job)
        if digest is not None:
            state = state._replace(locks=_put(state.locks, digest, job))
        if job in self.setting.scheduled:
            state = state._replace(later=_add(state.later, payload))
        else:
            state = state._replace(queue=(payload, *state.queue))
        return state._replace(jobs=_status(state.jobs, job, ACCEPTED))

    def reconcile(self, state: State, job: int) -> State:
        """Push a row that needs work again; one that is done needs none."""
        account = state.jobs[job]
        if account.is_row_done:
            return state._replace(jobs=_status(state.jobs, job, FINISHED))
        state = self.push(state, job)
        return state._replace(
            jobs=_put(state.jobs, job, state.jobs[job]._replace(credit=account.credit + 1))
        )

    # Through -------------------------------------------------------------------

    def _worker_moves(self, state: State, at: int, worker: Worker) -> Iterator[tuple[Label, State]]:
        """
        Yield what a worker may do, and what may befall it.

        A step is one move: what it says depends on nothing that others may change between its
        sending and its arrival. Where it is held up, it goes on the wire instead.
        """
        call = worker.call
        if not self.setting.eager:
            for n, held in enumerate(worker.held):
                if held.state == WAITING:
                    yield Label("start", at), _start(state, at, n)
        if call is None:
            for sent, step in self._sends(state, at, worker):
                yield Label("step", at, "", step), self._answered(sent, at, step)
                if state.faults:
                    yield from self._step_faults(sent, at, step)
            if self._differs(worker):
                yield Label("audit", at), self.audit(state, at)
        else:
            yield Label("audit", at), self.audit(state, at)
            if call.stage == LOST:
                yield Label("resend", at, "", call), self._answered(state, at, call)
        if worker.lease != LIVE:
            yield Label("beat", at), _set(state, at, worker._replace(lease=LIVE))
        if state.faults:
            less = state._replace(faults=state.faults - 1)
            if CRASH in self._kinds:
                yield Label("crash", at, CRASH), _crash(less, at)
            if ZOMBIE in self._kinds and worker.lease == LIVE and (worker.claims or call):
                wire = tuple(w for w in state.wire if w.worker != at or not w.is_copy)
                zombie = _set(less._replace(wire=wire), at, worker._replace(lease=OVER))
                yield Label("zombie", at, ZOMBIE), zombie

    def _step_faults(self, sent: State, at: int, call: Call) -> Iterator[tuple[Label, State]]:
        """Yield what may go wrong with a step that is being sent."""
        kinds, less = self._kinds, sent._replace(faults=sent.faults - 1)
        if LOSE in kinds:
            done = self.step(less, at, call)[0]
            lost = done.workers[at]._replace(call=call._replace(stage=LOST))
            yield Label("step, reply lost", at, LOSE, call), _set(done, at, lost)
        if REFUSE in kinds and any(result.verb == RETRY for result in call.results):
            done = self._answered(less, at, call, refuses=True)
            yield Label("step, refused", at, REFUSE, call), done
        if any(wired.worker == at for wired in sent.wire):
            return
        if COPY in kinds:
            done = self._answered(less, at, call)
            copied = done._replace(wire=(*done.wire, Wired(at, call, True)))
            yield Label("step, with a copy on the wire", at, COPY, call), copied
        late = less._replace(wire=(*less.wire, Wired(at, call)))
        if LATE in kinds:
            # Who names two steps by one batch may send it again although it is on the wire.
            doubt = Call(DOUBT) if self.rules.new_batches else call._replace(stage=LOST)
            doubtful = late.workers[at]._replace(call=doubt)
            yield Label("step, held up and given up", at, LATE, call), _set(late, at, doubtful)
        if CRASH in kinds:
            yield Label("step, held up, and crash", at, CRASH, call), _crash(late, at)

    def _answered(self, state: State, at: int, call: Call, *, refuses: bool = False) -> State:
        """Run a step, let its worker read the reply, and start what it has claimed."""
        state, reply, refused = self.step(state, at, call, refuses=refuses)
        worker = state.workers[at]
        resolved = {result.field for result in call.results if result.field not in refused}
        held = [h for h in worker.held if h.field not in resolved]
        known = {h.field for h in held}
        held += [Held(field, payload) for field, payload in reply if field not in known]
        state = _set(state, at, worker._replace(held=tuple(sorted(held)), call=None))
        return self._started(state, at)

    def _started(self, state: State, at: int) -> State:
        """
        Start all that waits in a worker, where jobs start eagerly.

        Nothing is lost by that but the moment before: who is started at once is started most often.
        """
        if self.setting.eager:
            for n, held in enumerate(state.workers[at].held):
                if held.state == WAITING:
                    state = _start(state, at, n)
        return state

    def _sends(self, state: State, at: int, worker: Worker) -> Iterator[tuple[State, Call]]:
        """Yield each step that a worker may send, and the state in which it has decided to."""
        choices: list[tuple[str, ...]] = []
        for held in worker.held:
            if held.state == RUNNING:
                fails = RETRY if held.payload.tries < self.setting.retries else BURY
                choices.append((RUNNING, DONE, fails))
            else:
                choices.append((held.state,))
        for states in itertools.product(*choices):
            decided = tuple(
                h if h.state == wanted_state else h._replace(state=wanted_state)
                for h, wanted_state in zip(worker.held, states, strict=True)
            )
            results = tuple(
                Result(h.field, h.state, h.payload)
                for h in decided
                if h.state != WAITING and h.state != RUNNING
            )
            wanted = max(0, self.setting.capacity - len(decided) + len(results))
            if not results and not (wanted and state.queue):
                continue
            batch = max(_batches(state, at), default=0) + 1 if wanted else 0
            sent = _set(state, at, worker._replace(held=decided))
            if sent.wire:
                wire = tuple(w for w in sent.wire if w.worker != at or not w.is_copy)
                sent = sent._replace(wire=wire)
            if FLUSH in self._kinds:
                sent = sent._replace(jobs=_rows_done(sent.jobs, results))
            yield sent, Call(SENT, batch, results, wanted)

    def _arrive(self, state: State, at: int, wired: Wired) -> State:
        rest = state.wire[:at] + state.wire[at + 1 :]
        return self.step(state._replace(wire=rest), wired.worker, wired.call)[0]

    def step(
        self, state: State, at: int, call: Call, *, refuses: bool = False
    ) -> tuple[State, Claims, tuple[Field, ...]]:
        """
        Run step.lua; return also the claims it brings, and the fields it could not move.

        With ``refuses`` the retry set takes nothing.
        """
        worker, rules = state.workers[at], self.rules
        claims = dict(worker.claims)
        queue, later, dead = state.queue, state.later, state.dead
        locks, jobs = state.locks, state.jobs
        refused = []
        for field, verb, believed in call.results:
            found = claims.get(field)
            if found is None:
                if rules.fence:
                    continue
                found = believed
            if found.job != believed.job:
                raise Violation(f"I7: the result of job {believed.job} moves job {found.job}")
            if verb == RETRY and refuses:
                refused.append(field)
                if not rules.copy_first:
                    claims.pop(field, None)
                continue
            claims.pop(field, None)
            job = found.job
            if verb == DONE:
                jobs = _status(jobs, job, FINISHED)
                locks = self._freed(locks, job)
            elif verb == RETRY:
                later = _add(later, found._replace(tries=found.tries + 1))
                jobs = _credit(jobs, job)
                locks, jobs = self._kept(locks, jobs, job)
            else:
                dead = _add(dead, found)
                locks = self._freed(locks, job) if rules.frees_lock else locks
        reply: list[tuple[Field, Payload]] = []
        count = min(call.wanted, len(queue))
        names = [Field(call.batch, index) for index in range(1, count + 1)]
        if count and not (rules.idempotent_claim and any(name in claims for name in names)):
            for n, name in enumerate(names, 1):
                claims[name] = queue[-n]
                reply.append((name, queue[-n]))
            if rules.trims:
                queue = queue[:-count]
        lease = LIVE if rules.renews_lease or worker.lease != NONE else NONE
        worker = worker._replace(lease=lease, claims=tuple(sorted(claims.items())))
        state = state._replace(
            queue=queue,
            later=later,
            dead=dead,
            locks=locks,
            jobs=jobs,
            workers=_put(state.workers, at, worker),
        )
        return state, tuple(reply), tuple(refused)

    def _differs(self, worker: Worker) -> bool:
        """Return whether the claims are others than the worker believes."""
        claims, known = dict(worker.claims), {held.field for held in worker.held}
        unknown = self.rules.adopts_ghosts and any(field not in known for field in claims)
        return unknown or any(
            held.state == WAITING and held.field not in claims for held in worker.held
        )

    def audit(self, state: State, at: int) -> State:
        """Beat, and compare the claims with memory."""
        worker = state.workers[at]
        claims, was_live = dict(worker.claims), worker.lease == LIVE
        kept = []
        for held in worker.held:
            # What has ended and is gone was delivered, if the lease held; what is gone and was
            # not started is another's by now; what runs will find its result refused.
            is_over = held.state == WAITING or (held.state != RUNNING and was_live)
            if held.field in claims or not is_over:
                kept.append(held)
        known = {held.field for held in worker.held}
        if self.rules.adopts_ghosts:
            kept += [Held(field, claims[field]) for field in claims if field not in known]
        state = _set(state, at, worker._replace(lease=LIVE, held=tuple(sorted(kept)), call=None))
        return self._started(state, at)

    # Back ------------------------------------------------------------------------

    def _fallen_moves(self, state: State, at: int, worker: Worker) -> Iterator[tuple[Label, State]]:
        if worker.lease == LIVE:
            yield Label("lease ends", at), _set(state, at, worker._replace(lease=OVER))
        elif worker.lease == NONE:
            # By another name: nothing that is under way concerns it.
            wire = tuple(wired for wired in state.wire if wired.worker != at)
            readings = tuple(reading for reading in state.readings if reading.worker != at)
            fresh = state._replace(wire=wire, readings=readings)
            yield Label("restart", at), _set(fresh, at, Worker(claims=worker.claims))

    def _recoverer_moves(self, state: State) -> Iterator[tuple[Label, State]]:
        readings = state.readings
        is_second = bool(readings)
        if not is_second or (len(readings) < 2 and state.faults and SECOND in self._kinds):
            for at, worker in enumerate(state.workers):
                if worker.lease == OVER:
                    read = (*readings, Reading(at, worker.claims))
                    yield (
                        Label("read claims", at, SECOND if is_second else ""),
                        state._replace(readings=read, faults=state.faults - is_second),
                    )
        for n in range(len(readings)):
            yield Label("recover", n), self.recover(state, n)

    def recover(self, state: State, n: int) -> State:
        """Run recover.lua: what was read goes back to its queue, or is dead."""
        reading, rules = state.readings[n], self.rules
        state = state._replace(readings=state.readings[:n] + state.readings[n + 1 :])
        worker = state.workers[reading.worker]
        if worker.lease == LIVE and rules.lease_check:
            return state
        claims = dict(worker.claims)
        queue, dead, locks, jobs = state.queue, state.dead, state.locks, state.jobs
        for field, read in reading.claims:
            found = claims.get(field)
            if found is None or (rules.read_check and found != read):
                continue
            if worker.lease == LIVE:
                raise Violation(f"I5: a claim of worker {reading.worker}, whose lease runs, moved")
            del claims[field]
            marked = read._replace(crashes=read.crashes + 1)
            jobs = _credit(jobs, read.job)
            if marked.crashes >= self.setting.crashes:
                dead = _add(dead, marked)
                locks = self._freed(locks, read.job) if rules.frees_lock else locks
            else:
                queue = (*queue, marked)
                locks, jobs = self._kept(locks, jobs, read.job)
        lease = NONE if not claims or not rules.keeps_lease else worker.lease
        worker = worker._replace(claims=tuple(sorted(claims.items())), lease=lease)
        return state._replace(
            queue=queue,
            dead=dead,
            locks=locks,
            jobs=jobs,
            workers=_put(state.workers, reading.worker, worker),
        )

    # In time ---------------------------------------------------------------------

    def _poller_moves(self, state: State) -> Iterator[tuple[Label, State]]:
        polls = state.polls
        is_second = bool(polls)
        if state.later and (
            not is_second or (len(polls) < 2 and state.faults and SECOND in self._kinds)
        ):
            yield (
                Label("poll", -1, SECOND if is_second else ""),
                state._replace(polls=(*polls, state.later), faults=state.faults - is_second),
            )
        for n in range(len(polls)):
            yield Label("promote", n), self.promote(state, n)
            if REFUSE in self._kinds and state.faults and polls[n] and not self.rules.copy_first:
                gone = tuple(entry for entry in state.later if entry not in polls[n])
                yield (
                    Label("promote refused", n, REFUSE),
                    state._replace(later=gone, faults=state.faults - 1),
                )

    def promote(self, state: State, n: int) -> State:
        """Run promote.lua: what was read goes to its queue, if it is still there."""
        entries = state.polls[n]
        queue, later, locks, jobs = state.queue, state.later, state.locks, state.jobs
        for entry in entries:
            if entry in later or not self.rules.recheck:
                queue = (entry, *queue)
                later = tuple(e for e in later if e != entry)
                locks, jobs = self._kept(locks, jobs, entry.job)
        polls = state.polls[:n] + state.polls[n + 1 :]
        return state._replace(queue=queue, later=later, locks=locks, jobs=jobs, polls=polls)

    # By hand ---------------------------------------------------------------------

    def _operator_moves(self, state: State) -> Iterator[tuple[Label, State]]:
        if state.order is not None:
            yield Label("delete", -1, "", state.order), self.delete(state)
        elif state.orders:
            for place, entries in (("queue", state.queue), ("later", state.later)):
                for payload in entries:
                    order = Order(place, payload)
                    seen = state._replace(order=order, orders=state.orders - 1)
                    if self.setting.hesitant:
                        yield Label("view", -1, "", order), seen
                    else:
                        yield Label("delete", -1, "", order), self.delete(seen)

    def delete(self, state: State) -> State:
        """Run remove.lua: the entry that was seen, if it is still there, and its lock."""
        order = state.order
        assert order is not None
        state = state._replace(order=None)
        place = state.queue if order.place == "queue" else state.later
        if order.payload not in place:
            if self.rules.looks_before_delete:
                return state
        elif order.place == "queue":
            at = len(place) - 1 - place[::-1].index(order.payload)
            state = state._replace(queue=place[:at] + place[at + 1 :])
        else:
            later = tuple(entry for entry in place if entry != order.payload)
            state = state._replace(later=later)
        return state._replace(
            jobs=_status(state.jobs, order.payload.job, DELETED),
            locks=self._freed(state.locks, order.payload.job),
        )

    # Locks -----------------------------------------------------------------------

    def _freed(self, locks: tuple[int, ...], job: int) -> tuple[int, ...]:
        digest = self.setting.digests[job]
        if digest is None or (self.rules.owner_check and locks[digest] != job):
            return locks
        return _put(locks, digest, FREE)

    def _kept(
        self, locks: tuple[int, ...], jobs: tuple[Job, ...], job: int
    ) -> tuple[tuple[int, ...], tuple[Job, ...]]:
        digest = self.setting.digests[job]
        if digest is None or (self.rules.owner_check and locks[digest] not in (FREE, job)):
            return locks, jobs
        if jobs[job].is_lockless:
            jobs = _put(jobs, job, jobs[job]._replace(is_lockless=False))
        return _put(locks, digest, job), jobs


def _start(state: State, at: int, n: int) -> State:
    worker = state.workers[at]
    held = worker.held[n]
    account = state.jobs[held.payload.job]
    return state._replace(
        workers=_put(
            state.workers,
            at,
            worker._replace(held=_put(worker.held, n, held._replace(state=RUNNING))),
        ),
        jobs=_put(state.jobs, held.payload.job, account._replace(credit=account.credit - 1)),
    )


def _crash(state: State, at: int) -> State:
    worker = state.workers[at]
    # That its lease runs on for a while only keeps the recoverer from coming at once.
    fallen = Worker(False, OVER if worker.lease == LIVE else worker.lease, worker.claims)
    return _set(state, at, fallen)


def _rows_done(jobs: tuple[Job, ...], results: tuple[Result, ...]) -> tuple[Job, ...]:
    for result in results:
        account = jobs[result.payload.job]
        if result.verb == DONE and not account.is_row_done:
            jobs = _put(jobs, result.payload.job, account._replace(is_row_done=True))
    return jobs


def _lock_ends(state: State, digest: int) -> State:
    owner = state.locks[digest]
    return state._replace(
        locks=_put(state.locks, digest, FREE),
        jobs=_put(state.jobs, owner, state.jobs[owner]._replace(is_lockless=True)),
        faults=state.faults - 1,
    )


def _flushed(state: State) -> State:
    """Everything in Redis is gone; the processes live and remember."""
    return state._replace(
        queue=(),
        later=(),
        dead=(),
        locks=(FREE,) * len(state.locks),
        workers=tuple(worker._replace(lease=NONE, claims=()) for worker in state.workers),
        jobs=tuple(
            job._replace(status=FLUSHED, is_lockless=False) if job.status == ACCEPTED else job
            for job in state.jobs
        ),
        faults=state.faults - 1,
    )


def _set(state: State, at: int, worker: Worker) -> State:
    # As _replace does, in a third of the time.
    workers = _put(state.workers, at, worker)
    return State._make((*state[:_WORKERS], workers, *state[_WORKERS + 1 :]))


def _put(items: tuple[T, ...], at: int, item: T) -> tuple[T, ...]:
    return (*items[:at], item, *items[at + 1 :])


def _add(entries: tuple[Payload, ...], entry: Payload) -> tuple[Payload, ...]:
    return tuple(sorted({*entries, entry}))


def _status(jobs: tuple[Job, ...], job: int, status: int) -> tuple[Job, ...]:
    return _put(jobs, job, jobs[job]._replace(status=status))


def _credit(jobs: tuple[Job, ...], job: int) -> tuple[Job, ...]:
    return _put(jobs, job, jobs[job]._replace(credit=jobs[job].credit + 1))


def canonical(state: State, before: State | None = None) -> State:
    """
    Return the one state that stands for all those that differ only by names.

    The two workers are alike, and the name of a batch tells nothing but which claims are the same.
    ``before`` is the one that it comes from, if that is canonical: it saves a look at the rest.
    """
    is_known = (
        before is not None and state.wire is before.wire and state.readings is before.readings
    )
    for at, worker in enumerate(state.workers):
        if not is_known or before is None or worker is not before.workers[at]:
            state = _renamed(state, at)
    first, second = map(_rank, state.workers)
    if second > first or (second == first and _traces(state, 1) >= _traces(state, 0)):
        return state
    return state._replace(
        workers=state.workers[::-1],
        wire=tuple(wired._replace(worker=1 - wired.worker) for wired in state.wire),
        readings=tuple(reading._replace(worker=1 - reading.worker) for reading in state.readings),
    )


def _rank(worker: Worker) -> tuple[object, ...]:
    return (worker.up, worker.lease, worker.claims, worker.held, worker.call or ())


def _traces(state: State, at: int) -> tuple[object, ...]:
    """Return what there is of a worker outside of it."""
    return (
        tuple(wired.call for wired in state.wire if wired.worker == at),
        tuple(reading.claims for reading in state.readings if reading.worker == at),
    )


def _renamed(state: State, at: int) -> State:
    used = _batches(state, at)
    if not used or max(used) == len(used):
        return state
    names = {old: new for new, old in enumerate(sorted(used), 1)}
    names[0] = 0

    def field(old: Field) -> Field:
        return Field(names[old.batch], old.place)

    def claims(old: Claims) -> Claims:
        return tuple((field(name), payload) for name, payload in old)

    def call(old: Call) -> Call:
        results = tuple(result._replace(field=field(result.field)) for result in old.results)
        return old._replace(batch=names[old.batch], results=results)

    worker = state.workers[at]
    renamed = worker._replace(
        claims=claims(worker.claims),
        held=tuple(held._replace(field=field(held.field)) for held in worker.held),
        call=worker.call and call(worker.call),
    )
    return state._replace(
        workers=_put(state.workers, at, renamed),
        wire=tuple(w._replace(call=call(w.call)) if w.worker == at else w for w in state.wire),
        readings=tuple(
            r._replace(claims=claims(r.claims)) if r.worker == at else r for r in state.readings
        ),
    )


def _batches(state: State, at: int) -> set[int]:
    """Return the names of batches that anybody knows of a worker."""
    worker = state.workers[at]
    used = {field.batch for field, _ in worker.claims}
    for held in worker.held:
        used.add(held.field.batch)
    if worker.call is None and not state.wire and not state.readings:
        return used
    calls = [wired.call for wired in state.wire if wired.worker == at]
    if worker.call is not None:
        calls.append(worker.call)
    for call in calls:
        used.add(call.batch)
        used.update(result.field.batch for result in call.results)
    for reading in state.readings:
        if reading.worker == at:
            used.update(field.batch for field, _ in reading.claims)
    used.discard(0)
    return used
