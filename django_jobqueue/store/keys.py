"""The names of all keys, and the only place that spells them."""

from __future__ import annotations

from collections.abc import Iterator


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
        self.counters = f"{prefix}jq:counters"
        self._claims = f"{prefix}jq:claims:"

    def queue(self, name: str) -> str:
        """LIST of payloads: pushed at the left, taken from the right."""
        return f"{self.prefix}queue:{name}"

    def claims(self, identity: str) -> str:
        """HASH ``BATCH:i:QUEUE`` -> payload, of the jobs that a process holds."""
        return self._claims + identity

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

    @property
    def all_claims(self) -> str:
        """The pattern that matches every claims hash, for SCAN."""
        escaped = "".join(f"\\{c}" if c in "*?[]\\" else c for c in self._claims)
        return f"{escaped}*"

    def claimants(self, names: list[bytes]) -> Iterator[str]:
        """Yield the identities out of the names of claims hashes."""
        for name in names:
            yield name.decode(errors="replace")[len(self._claims) :]


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
