"""The names of all keys, and the only place that spells them."""

from __future__ import annotations

import re
from collections.abc import Iterator

#: Names that Sidekiq or we give where there is no prefix. A process is called
#: ``host:pid:12 hex``.
_KNOWN = re.compile(
    rb"(queues|schedule|retry|dead|processes|paused|stat:.*|queue:.*|jq:.*|[jh]\|.*"
    rb"|\d{8}-marks|deploylock-.*|[^:]+:\d+:[0-9a-f]{12}(:work|-signals)?)",
    re.DOTALL,
)

#: The same as patterns of Redis, for what are whole families of names.
_FAMILIES = (
    "queue:*", "stat:*", "jq:*", "j|*", "h|*", f"{'[0-9]' * 8}-marks", "deploylock-*",
    f"*:[0-9]*:{'[0-9a-f]' * 12}*",
)  # fmt: skip


def hash_tag(prefix: str) -> str:
    """Return the part of a prefix that alone decides the cluster slot of a key; empty if none."""
    _, _, rest = prefix.partition("{")
    tag, closed, _ = rest.partition("}")
    return tag if closed else ""


class Keys:
    """
    Key names under one prefix (empty by default, so that Sidekiq finds its own).

    A prefix with a hash tag, as ``{jobs}:``, puts all keys in one cluster slot.
    """

    def __init__(self, prefix: str = "") -> None:
        self.prefix = prefix
        # Sidekiq's
        self.queues = f"{prefix}queues"
        self.schedule = f"{prefix}schedule"
        self.retry = f"{prefix}retry"
        self.dead = f"{prefix}dead"
        self.processes = f"{prefix}processes"
        self.paused = f"{prefix}paused"
        self.processed = f"{prefix}stat:processed"
        self.failed = f"{prefix}stat:failed"
        # ours
        self.leases = f"{prefix}jq:leases"
        self.leader = f"{prefix}jq:leader"
        self.epoch = f"{prefix}jq:epoch"
        self.counters = f"{prefix}jq:counters"
        self.switches = f"{prefix}jq:switches"
        self.held_classes = f"{prefix}jq:held"
        self.releases = f"{prefix}jq:releases"
        self.bulks = f"{prefix}jq:bulks"
        self._claims = f"{prefix}jq:claims:"

    def queue(self, name: str) -> str:
        """LIST of payloads: pushed at the left, taken from the right."""
        return f"{self.prefix}queue:{name}"

    def claims(self, identity: str) -> str:
        """HASH ``BATCH:i:QUEUE`` -> payload, of the jobs that a process holds."""
        return self._claims + identity

    def sorted_set(self, name: str) -> str:
        """ZSET ``schedule``, ``retry`` or ``dead``."""
        return {"schedule": self.schedule, "retry": self.retry, "dead": self.dead}[name]

    def tally(self, minute: str) -> str:
        """HASH ``Class|refused`` -> count, of one UTC minute, TTL."""
        return f"{self.prefix}jq:tally:{minute}"

    def held(self, job_class: str) -> str:
        """ZSET of payloads that a kill switch holds, by the time that it took them."""
        return f"{self.held_classes}:{job_class}"

    def bulk(self, id: str) -> str:
        """HASH, TTL: an order over many jobs, and how far it has come."""
        return f"{self.prefix}jq:bulk:{id}"

    def unique(self, digest: str) -> str:
        """STRING: the jid that holds the lock of a unique job, TTL."""
        return f"{self.prefix}jq:unique:{digest}"

    def tombstone(self, digest: str) -> str:
        """HASH: how often the job of a row died, and until when (ms) nobody heals it, TTL."""
        return f"{self.prefix}jq:tombstone:{digest}"

    def rerun(self, digest: str) -> str:
        """STRING: what is run when the holder of the lock has ended, TTL."""
        return f"{self.prefix}jq:rerun:{digest}"

    def process(self, identity: str) -> str:
        """HASH, TTL: what a process tells of itself."""
        return f"{self.prefix}{identity}"

    def work(self, identity: str) -> str:
        """HASH thread -> JSON, TTL: what a process runs."""
        return f"{self.prefix}{identity}:work"

    def signals(self, identity: str) -> str:
        """LIST of signal names that somebody sent to a process."""
        return f"{self.prefix}{identity}-signals"

    def processed_on(self, day: str) -> str:
        """STRING counter of one UTC day."""
        return f"{self.processed}:{day}"

    def failed_on(self, day: str) -> str:
        """STRING counter of one UTC day."""
        return f"{self.failed}:{day}"

    def executions(self, window: str) -> str:
        """HASH ``Class|p``, ``Class|f``, ``Class|ms`` of a minute or ten of them, TTL."""
        return f"{self.prefix}j|{window}"

    def histogram(self, job_class: str, minute: str) -> str:
        """BITFIELD of 26 u16: attempts of a minute by the time that they took, TTL."""
        return f"{self.prefix}h|{job_class}-{minute}"

    def marks(self, day: str) -> str:
        """HASH time -> label, of the deploys of one UTC day, TTL."""
        return f"{self.prefix}{day}-marks"

    def mark_lock(self, label: str) -> str:
        """STRING, TTL: this deploy was marked a moment ago."""
        return f"{self.prefix}deploylock-{label}"

    @property
    def patterns(self) -> list[str]:
        """The patterns of Redis that match our keys and, with a prefix, no other."""
        if self.prefix:
            return [self.all_keys]
        names = [self.queues, self.schedule, self.retry, self.dead, self.processes, self.paused]
        return [*names, *_FAMILIES]

    @property
    def enqueue_patterns(self) -> list[str]:
        """The patterns that match the keys which a push uses."""
        names = [self.queues, self.schedule, self.switches, self.counters]
        families = [
            self.queue(""), self.unique(""), self.tombstone(""), self.rerun(""), self.tally(""),
        ]  # fmt: skip
        return [*map(_escaped, names), *map(_beginning, families)]

    @property
    def samples(self) -> list[str]:
        """One name of each kind."""
        identity = "host:1:0123456789ab"
        return [
            self.queues, self.queue("default"), self.schedule, self.retry, self.dead,
            self.processes, self.paused, self.processed, self.leases, self.executions("0"),
            self.histogram("A", "0"), self.marks("20270131"), self.mark_lock("v1"),
            self.process(identity), self.work(identity), self.signals(identity),
        ]  # fmt: skip

    @property
    def all_claims(self) -> str:
        """The pattern that matches every claims hash, for SCAN."""
        return _beginning(self._claims)

    @property
    def all_queues(self) -> str:
        """The pattern that matches the list of every queue, for SCAN."""
        return _beginning(self.queue(""))

    @property
    def all_locks(self) -> str:
        """The pattern that matches the lock of every unique job, for SCAN."""
        return _beginning(self.unique(""))

    @property
    def all_keys(self) -> str:
        """The pattern that matches every key under the prefix, for SCAN."""
        return _beginning(self.prefix)

    def digest_of(self, lock: bytes) -> str:
        """Return the digest out of the name of a lock."""
        return lock.decode(errors="replace")[len(self.unique("")) :]

    def queue_of(self, key: bytes) -> str:
        """Return the name of the queue out of that of its list."""
        return key.decode(errors="replace")[len(self.queue("")) :]

    def is_ours(self, name: bytes) -> bool:
        """Return whether a key is ours: by the prefix, or without one by a name that we know."""
        if self.prefix:
            return name.startswith(self.prefix.encode())
        return _KNOWN.fullmatch(name) is not None

    def claimants(self, names: list[bytes]) -> Iterator[str]:
        """Yield the identities out of the names of claims hashes."""
        for name in names:
            yield name.decode(errors="replace")[len(self._claims) :]


def _beginning(text: str) -> str:
    """Return the pattern of SCAN that matches what begins with a text."""
    return f"{_escaped(text)}*"


def _escaped(text: str) -> str:
    """Return the pattern that matches a text and nothing else."""
    return "".join(f"\\{c}" if c in "*?[]\\" else c for c in text)


class Field:
    """The names of the fields of a claims hash: ``BATCH:i:QUEUE``."""

    #: The field that names the claim of the one suspect that is running.
    SUSPECT = b"suspect"

    @staticmethod
    def name(batch: str, index: int, queue: str) -> str:
        """Return the field of the ``index``-th job (from 1) of a queue in a batch."""
        return f"{batch}:{index}:{queue}"

    @staticmethod
    def batch(field: bytes) -> str:
        """Return the batch that a field belongs to."""
        return field.split(b":", 1)[0].decode(errors="replace")

    @staticmethod
    def queue(field: bytes) -> str:
        """Return the queue that a claimed job came from."""
        return field.split(b":", 2)[-1].decode(errors="replace")
