"""One moment of the model: what stands in Redis, what each process knows, what is on the wire."""

from __future__ import annotations

from typing import NamedTuple


class Payload(NamedTuple):
    """The bytes of a job: which one it is, how often it failed, how often it crashed."""

    job: int
    tries: int = 0
    crashes: int = 0


class Field(NamedTuple):
    """The name of a claim: a batch of its process, and the place in it from 1."""

    batch: int
    place: int


Claims = tuple[tuple[Field, Payload], ...]

#: What becomes of a job that a worker holds: nothing yet, or a result that is to be delivered.
WAITING, RUNNING = "waiting", "running"
DONE, RETRY, BURY = "done", "retry", "bury"

#: How far a step is: on its way, its reply lost, or given up unanswered.
SENT, LOST, DOUBT = "sent", "lost", "in doubt"


class Result(NamedTuple):
    """A result as it is sent: of which claim, what, and the job as its worker knows it."""

    field: Field
    verb: str
    payload: Payload


class Call(NamedTuple):
    """One step of a worker: its name, the results that it delivers, the jobs that it wants."""

    stage: str
    batch: int = 0
    results: tuple[Result, ...] = ()
    wanted: int = 0


class Held(NamedTuple):
    """What a worker knows of a claim; ``state`` is ``WAITING``, ``RUNNING`` or a result."""

    field: Field
    payload: Payload
    state: str = WAITING


#: The states of a lease: there is none, it runs, its time is over.
NONE, LIVE, OVER = 0, 1, 2


class Worker(NamedTuple):
    """A process: its lease and its claims in Redis, and its memory (empty while it is down)."""

    up: bool = True
    lease: int = LIVE
    claims: Claims = ()
    held: tuple[Held, ...] = ()
    call: Call | None = None


class Wired(NamedTuple):
    """
    A step that may arrive later: one that was given up, or a second copy of one that has run.

    A copy is gone when its process sends its next step: by then its connection is closed.
    """

    worker: int
    call: Call
    is_copy: bool = False


class Reading(NamedTuple):
    """The first half of a recovery: whose claims were read, and which."""

    worker: int
    claims: Claims


class Order(NamedTuple):
    """What an operator has seen and is about to delete."""

    place: str
    payload: Payload


#: What has become of a job, for one who knows everything.
UNBORN, ACCEPTED, FINISHED, DELETED, REFUSED, FLUSHED = range(6)


class Job(NamedTuple):
    """
    The account of a job.

    ``credit`` is how often it may still be started: I8. ``is_lockless`` while its lock has run
    out; ``is_row_done`` when its work is done, whatever Redis knows of it.
    """

    status: int = UNBORN
    credit: int = 1
    is_lockless: bool = False
    is_row_done: bool = False


class State(NamedTuple):
    """Everything. The queue from left (pushed) to right (taken); sets sorted."""

    queue: tuple[Payload, ...]
    later: tuple[Payload, ...]
    dead: tuple[Payload, ...]
    locks: tuple[int, ...]
    workers: tuple[Worker, ...]
    wire: tuple[Wired, ...]
    readings: tuple[Reading, ...]
    polls: tuple[tuple[Payload, ...], ...]
    order: Order | None
    orders: int
    jobs: tuple[Job, ...]
    faults: int


#: In ``State.locks``: nobody.
FREE = -1


def describe(state: State) -> str:
    """Return one line on a state: Redis first, then the processes."""
    said = [f"queue {_jobs(state.queue)}"]
    for name, entries in (("later", state.later), ("dead", state.dead)):
        if entries:
            said.append(f"{name} {_jobs(entries)}")
    for number, worker in enumerate(state.workers):
        lease = ("no lease", "lease", "lease over")[worker.lease]
        claims = " ".join(f"{_field(field)}={_job(payload)}" for field, payload in worker.claims)
        memory = " ".join(f"{_field(h.field)}={_job(h.payload)}:{h.state}" for h in worker.held)
        call = f" call {worker.call.stage}" if worker.call else ""
        alive = f"knows [{memory}]{call}" if worker.up else "down"
        said.append(f"w{number} ({lease}) claims [{claims}] {alive}")
    owners = " ".join("free" if owner == FREE else f"job {owner}" for owner in state.locks)
    if owners:
        said.append(f"locks {owners}")
    return "; ".join(said)


def _jobs(payloads: tuple[Payload, ...]) -> str:
    return f"[{' '.join(map(_job, payloads))}]"


def _job(payload: Payload) -> str:
    return f"j{payload.job}" + "'" * payload.tries + "!" * payload.crashes


def _field(field: Field) -> str:
    return f"b{field.batch}:{field.place}"
