"""How a story is played: by the actors of the machine, who look at all of Redis after each line."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from django_jobqueue.store.store import Store
from tests.store.chance import HIGH, PLACES
from tests.store.machine import CellarMachine
from tests.store.mutants.mutant import Mutant
from tests.support.server import RedisServer


class Play:
    """The machine's actors; after each line of a story everything is looked at."""

    def __init__(self, machine: CellarMachine) -> None:
        self.machine = machine

    def __getattr__(self, name: str) -> Callable[..., None]:
        act = getattr(self.machine, name)

        def line(*args: Any, **kwargs: Any) -> None:
            act(*args, **kwargs)
            self.machine.look()

        return line

    def lapse_worker(self, at: int) -> None:
        """Let the lease of a worker run out."""
        self.machine.acting = ""
        self.machine.lapse_of(self.machine.workers[at].identity)

    def read(self, at: int) -> None:
        """Let a recoverer read the claims of a worker."""
        self.machine.read_claims(self.machine.workers[at].identity)

    def run(self, kind: str) -> None:
        """Enqueue a unique job and let the first worker have it."""
        self.push_unique(HIGH, [kind])
        self.step(0, wanted=1)
        self.start(0)

    def wipe(self) -> None:
        """Remove everything that waits; then nothing is locked."""
        for name in PLACES:
            self.machine.clear(name)
        self.machine.look()
        assert not self.machine.model.locks


def machine_of(
    server: RedisServer, client: Any, mutant: Mutant | None = None
) -> type[CellarMachine]:
    class Machine(CellarMachine):
        def make_store(self) -> Store:
            store = super().make_store()
            return store if mutant is None else mutant.infect(store)

    Machine.client, Machine.url = client, server.socket_url
    return Machine


@contextmanager
def playing(server: RedisServer, mutant: Mutant | None = None) -> Iterator[Play]:
    with server.client() as client:
        machine = machine_of(server, client, mutant)()
        try:
            machine.begin()
            yield Play(machine)
        finally:
            machine.teardown()
