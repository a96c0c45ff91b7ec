"""Run jobs where they are enqueued: the same serializer, chains and bookkeeping, and no Redis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from django_jobqueue.client.client import client_chain, encode
from django_jobqueue.client.outlet import Entry
from django_jobqueue.conf import get_settings
from django_jobqueue.payload import Payload
from django_jobqueue.store.claims import BURY, HELD, RETRY, SNOOZE
from django_jobqueue.worker.executor import Executor, Outcome


class InlineOutlet:
    """
    An outlet that runs each job at once, in the caller's thread, whatever its time.

    A job's failure reaches the caller; Snooze, Skip and Discard are none. What
    Redis would hold afterwards stands in ``retries``, ``scheduled`` (snoozed),
    ``dead`` and ``held`` (stopped by a kill switch).
    """

    def __init__(self) -> None:
        self.retries: list[Payload] = []
        self.scheduled: list[Payload] = []
        self.dead: list[Payload] = []
        self.held: list[Payload] = []

    def push(self, entries: Sequence[Entry], *, healing: bool = False) -> Mapping[int, str]:
        """Run the jobs in order. Raises what they raise; those after it do not run."""
        for entry in entries:
            self.perform(entry.raw)
        return {}

    def run(self, payload: Payload) -> Any:
        """
        Take a payload through the client chain and run it; return what ``perform`` returns.

        None when a client middleware refused. Raises what the job raises.
        """
        accepted = client_chain()(payload)
        if accepted is None:
            return None
        return self.perform(encode(accepted, get_settings().max_payload))

    def perform(self, raw: bytes) -> Any:
        """Run the job in these bytes as a worker would. Raises what the job raises."""
        payload = Payload.decode(raw)
        executor = Executor(get_settings(), stopping=lambda: False, inline=True)
        outcome, result = executor.run_payload(payload, payload.queue)
        if outcome is not None:
            self._keep(outcome)
            if outcome.error is not None:
                raise outcome.error
        return result

    def _keep(self, outcome: Outcome) -> None:
        boxes = {
            RETRY: self.retries, SNOOZE: self.scheduled, BURY: self.dead, HELD: self.held,
        }  # fmt: skip
        box = boxes.get(outcome.verb)
        if box is not None:
            box.append(Payload.decode(outcome.raw))
