"""A real store with no server: Redis in the test's own process, and what works it off."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from django.core.exceptions import ImproperlyConfigured

from django_jobqueue.client.client import client_chain
from django_jobqueue.client.outlet import RedisOutlet, use_outlet
from django_jobqueue.conf import get_settings
from django_jobqueue.connection import store, use_store
from django_jobqueue.exceptions import StoreRefused
from django_jobqueue.scheduling.poller import Poller
from django_jobqueue.store.claims import Move
from django_jobqueue.store.locks import Lock
from django_jobqueue.store.store import Store
from django_jobqueue.switches.switches import switches
from django_jobqueue.testing.contexts import Context
from django_jobqueue.worker.boot import make_identity, new_nonce
from django_jobqueue.worker.executor import Executor


class use_fakeredis(Context[None]):
    """
    Put jobs into a Redis in this process, a new and empty one, as the library fakeredis has it.

    For tests that look into queues, schedule, retries and locks through
    ``django_jobqueue.api``; ``work_off()`` runs what is there. A context manager, and a
    decorator of functions and of test cases. Kill switches are those of this process.

    Raises: ImproperlyConfigured where fakeredis or its Lua is not installed.
    """

    def __init__(self) -> None:
        super().__init__(_fakeredis)


class _FakeRedisOutlet(RedisOutlet):
    """Writes jobs to the Redis in this process."""

    for_tests = True


@contextmanager
def _fakeredis() -> Iterator[None]:
    settings = get_settings()
    made = Store(
        "redis://fakeredis/0",
        prefix=settings.key_prefix,
        dead_entries=settings.dead_max_entries,
        dead_age=settings.dead_max_age,
        plumbing=_plumbing(),
    )
    with use_store(made), use_outlet(_FakeRedisOutlet()), switches().apart():
        yield


def _plumbing() -> Mapping[str, Any]:
    """Return what makes redis-py's connections lead to a server of our own."""
    try:
        # Here, for it is an extra.
        import fakeredis

        import_module("lupa")  # which fakeredis looks for only when a script is run
    except ImportError as error:
        raise ImproperlyConfigured(
            f"A Redis in this process needs fakeredis with Lua ({error}): "
            "pip install 'django-jobqueue[fakeredis]'."
        ) from error
    server = fakeredis.FakeServer()
    # Its class of connections has had several names; a client knows it by all of them.
    pool = fakeredis.FakeRedis(server=server).connection_pool
    return {"connection_class": pool.connection_class, "server": server}


def work_off(*queues: str) -> int:
    """
    Run in this thread what is in Redis, until nothing is due; return how many jobs ran.

    As ``runjobs --burst`` would: due jobs of the schedule and of the retries are
    brought to their queues, a job that fails is kept for its retry or dead, a kill
    switch holds. Of these queues alone where some are named. What is for later stays.

    Raises: StoreUnavailable, StoreRefused.
    """
    settings, cellar = get_settings(), store()
    identity = make_identity(os.getpid(), new_nonce())

    def start_lock(lock: Lock, release: bool) -> None:
        cellar.locks.start(lock, release=release)

    executor = Executor(settings, stopping=lambda: False, inline=True, start_lock=start_lock)
    poller = Poller(cellar, identity, client_chain(), unit=settings.timestamps, inline=True)
    ran = 0
    done: list[str] = []
    moves: list[Move] = []
    batches = (f"{number:x}" for number in itertools.count(1))
    try:
        while True:
            poller.promote_due()
            step = cellar.claims.step(
                identity,
                lease=settings.lease,
                batch=next(batches),
                wanted=1,
                queues=queues or cellar.queues.names(),
                done=done,
                moves=moves,
            )
            if step.refused:
                raise StoreRefused(next(iter(step.refused.values())))
            if not (step.claimed or done or moves) and poller.nothing_due:
                return ran
            done, moves = [], []
            for claim in step.claimed:
                ran += 1
                outcome = executor.run(claim.raw, claim.queue)
                if outcome is None:
                    done.append(claim.field)
                else:
                    moves.append(outcome.move(claim))
    finally:
        cellar.claims.leave(identity)
