"""What of one job class stands in Redis, and which rows have nothing there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from django_jobqueue.client.results import Status
from django_jobqueue.exceptions import InvalidPayload
from django_jobqueue.job.base import Job
from django_jobqueue.job.declaration import wire_name
from django_jobqueue.payload import Payload
from django_jobqueue.reconciliation.drafts import Draft, mark
from django_jobqueue.store.locks import Lock
from django_jobqueue.store.store import Store
from django_jobqueue.store.survey import CLAIMED

#: Doubtful rows that are kept at most.
DOUBTS = 10_000


@dataclass(slots=True)
class Standing:
    """
    The jobs of a class in Redis, by the digest of their work.

    ``jids`` maps each digest to the first jid that was met, ``others`` those of
    which there are more jobs to the further ones; ``claimed`` are the digests of
    which a process holds a job.
    """

    jids: dict[str, str] = field(default_factory=dict)
    others: dict[str, set[str]] = field(default_factory=dict)
    claimed: set[str] = field(default_factory=set)

    def __contains__(self, digest: object) -> bool:
        return digest in self.jids

    @property
    def duplicated(self) -> int:
        """How many jobs there are besides one for each piece of work."""
        return sum(map(len, self.others.values()))

    def add(self, place: str, payload: Payload) -> None:
        """Take in a job. One that moved meanwhile may come twice."""
        digest = mark(payload)
        if self.jids.setdefault(digest, payload.jid) != payload.jid:
            self.others.setdefault(digest, set()).add(payload.jid)
        if place == CLAIMED:
            self.claimed.add(digest)


def standing(store: Store, job: type[Job]) -> Standing:
    """Read everything that waits or runs in Redis and return what is of this class."""
    found = Standing()
    name = wire_name(job)
    for place, page in store.survey.jobs(name):
        for payload in _of_class(page, name):
            found.add(place, payload)
    return found


def _of_class(page: Iterable[bytes], name: str) -> Iterable[Payload]:
    # Most are of other classes: those need not be decoded. Another program may
    # write a name that is not plain ASCII in another way.
    needle = name.encode() if name.isascii() else b""
    for raw in page:
        if needle not in raw:
            continue
        try:
            payload = Payload.decode(raw)
        except InvalidPayload:
            continue  # not a job that anybody could run
        if payload.job_class == name:
            yield payload


class Missing:
    """
    Find the rows of a run that have no job in Redis.

    A row whose lock is held, though no job was met, is doubtful: somebody may
    have enqueued it since Redis was read. Doubtful rows are gathered, Redis is
    read once more, and a lock that still belongs to nothing is ended.
    """

    def __init__(self, store: Store, job: type[Job]) -> None:
        self._store = store
        self._job = job
        self._standing = standing(store, job)
        self._doubtful: dict[str, tuple[str, Draft]] = {}

    def among(self, drafts: Sequence[Draft], answers: Counter[Status]) -> list[Draft]:
        """Return the jobs that may be pushed now, and count those that stand already."""
        missing = {d.digest: d for d in drafts if d.digest not in self._standing}
        answers[Status.DUPLICATE] += len(drafts) - len(missing)
        for digest, jid in self._store.locks.owners(missing).items():
            self._doubtful[digest] = (jid, missing.pop(digest))
        found = list(missing.values())
        return found + self.settle(answers) if len(self._doubtful) >= DOUBTS else found

    def settle(self, answers: Counter[Status]) -> list[Draft]:
        """Return the doubtful jobs that are missing for sure, their locks ended; count the rest."""
        doubtful, self._doubtful = self._doubtful, {}
        if not doubtful:
            return []
        again = standing(self._store, self._job)
        gone = {digest: each for digest, each in doubtful.items() if digest not in again}
        answers[Status.DUPLICATE] += len(doubtful) - len(gone)
        free(self._store, {digest: jid for digest, (jid, _) in gone.items()})
        return [draft for _, draft in gone.values()]


def free(store: Store, owners: Mapping[str, str]) -> None:
    """End these locks (digest to jid), where they are still held by the same jid."""
    for digest, jid in owners.items():
        store.locks.start(Lock(digest, jid, 0.0), release=True)
