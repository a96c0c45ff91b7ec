"""What must be true before a worker takes its first job."""

from __future__ import annotations

import logging
import socket
import uuid
from collections.abc import Callable

from django_jobqueue import clock
from django_jobqueue.conf import Settings
from django_jobqueue.exceptions import AccessDenied, BootError, InvalidJobClasses, StoreUnavailable
from django_jobqueue.job.registry import registry
from django_jobqueue.service import Backoff
from django_jobqueue.store.server import OLDEST
from django_jobqueue.store.store import Store

logger = logging.getLogger("django_jobqueue.worker")


class RedisUnreachable(BootError):
    """Redis did not answer for as long as we were told to wait."""

    exit_code = 75


def check_jobs() -> None:
    """Raise InvalidJobClasses when two classes have one name: then jobs would run as the other."""
    problems = []
    for name, rivals in registry().duplicates().items():
        classes = sorted(f"{cls.__module__}.{cls.__qualname__}" for cls in rivals)
        problems.append(f"{name!r} is the wire name of {' and '.join(classes)}")
    if problems:
        raise InvalidJobClasses(problems)


def wait_for_redis(store: Store, settings: Settings, wait: Callable[[float], bool]) -> None:
    """
    Wait until Redis answers, and check that jobs are safe with it.

    ``wait`` sleeps for seconds and returns True when the start is to be given up.

    Raises: RedisUnreachable after ``BOOT_TIMEOUT``, BootError for a server that
    is too old, evicts keys, refuses us, or is a cluster without a hash tag.
    """
    deadline = clock.monotonic() + settings.boot_timeout
    backoff = Backoff()
    told = False
    while True:
        try:
            _check(store, settings)
            return
        except AccessDenied as error:
            raise BootError(
                f"Redis refuses us: {error}. Check user and password in JOBQUEUE['REDIS_URL'] and "
                f"the rights of the ACL user."
            ) from error
        except StoreUnavailable as error:
            if not told:
                logger.warning("cannot reach Redis at %s yet: %s", store.address, error)
                told = True
            pause = backoff.next()
            if clock.monotonic() + pause > deadline:
                raise RedisUnreachable(
                    f"cannot reach Redis at {store.address} (password hidden) for "
                    f"{settings.boot_timeout:g} s: {error}"
                ) from error
            if wait(pause):
                return


def _check(store: Store, settings: Settings) -> None:
    facts = store.server.facts()
    if facts.is_too_old:
        oldest = ".".join(map(str, OLDEST))
        raise BootError(f"Redis {facts.version} at {store.address} is too old: {oldest} is needed.")
    if facts.cluster and not ("{" in store.keys.prefix and "}" in store.keys.prefix):
        raise BootError(
            "Redis is a cluster, and the keys must share a slot: set JOBQUEUE['KEY_PREFIX'] to "
            "'{jobs}:'."
        )
    if facts.evicts and not settings.allow_eviction:
        raise BootError(
            f"Redis at {store.address} has maxmemory-policy {facts.eviction}, so it throws jobs "
            f"away when it is full: set it to noeviction, or JOBQUEUE['ALLOW_EVICTION'] to True."
        )


def new_nonce() -> str:
    """Return what keeps processes with one host name and one pid apart: 12 hex digits."""
    return uuid.uuid4().hex[:12]


def make_identity(pid: int, nonce: str) -> str:
    """Return the identity of a process as Sidekiq writes it: ``host:pid:nonce``."""
    return f"{socket.gethostname()}:{pid}:{nonce}"
