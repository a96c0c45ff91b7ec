"""What must be true before a worker takes its first job."""

from __future__ import annotations

import ipaddress
import logging
import os
import socket
import uuid
from collections.abc import Callable

from django_jobqueue import clock
from django_jobqueue.conf import Settings
from django_jobqueue.encryption import find_problem
from django_jobqueue.exceptions import (
    AccessDenied,
    BootError,
    InvalidJobClasses,
    StoreRefused,
    StoreUnavailable,
    WrongServer,
)
from django_jobqueue.job.declaration import wire_name
from django_jobqueue.job.registry import registry
from django_jobqueue.redis_url import RedisURL, parse
from django_jobqueue.service import Backoff
from django_jobqueue.store.keys import hash_tag
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


def check_keys(settings: Settings) -> None:
    """Raise BootError when there are jobs with encrypted arguments that we could not read."""
    problem = find_problem(settings.encryption_keys)
    sealed = [wire_name(cls) for cls in registry().classes() if cls.encrypt]
    if problem and sealed:
        raise BootError(f"{problem[0]} {problem[1]} It is for {', '.join(sealed)}.")


def wait_for_redis(store: Store, settings: Settings, wait: Callable[[float], bool]) -> None:
    """
    Wait until Redis answers, and check that jobs are safe with it.

    ``wait`` sleeps for seconds and returns True when the start is to be given up.

    Raises: RedisUnreachable after ``BOOT_TIMEOUT``, BootError for a server that
    is not to be trusted: by its certificate, its version, what it lets us do, what
    it does with our keys, or whom else it lets in.
    """
    # The embedded server is ours: there is no URL, and nothing to doubt.
    url = parse(settings.redis_url) if settings.redis_url else None
    if url is not None:
        _check_files(url)
    deadline = clock.monotonic() + settings.boot_timeout
    backoff = Backoff()
    told = False
    while True:
        try:
            _check_rights(store)
            _check_server(store, settings)
            if url is not None:
                _check_network(store, settings, url)
            return
        except AccessDenied as error:
            raise BootError(
                f"Redis refuses us: {error}. Check user and password in JOBQUEUE['REDIS_URL'] and "
                f"the rights of the ACL user, which `manage.py jobqueue acl` prints."
            ) from error
        except WrongServer as error:
            hint = ""
            if url is not None and url.is_encrypted:
                hint = " A CA of your own is named in the URL, by the parameter ssl_ca_certs."
            raise BootError(
                f"JOBQUEUE['REDIS_URL'] does not lead to the Redis that it names: {error}.{hint}"
            ) from error
        except StoreRefused as error:
            raise BootError(
                f"Redis refuses what a worker asks at its start, so this is none that it can work "
                f"with: {error}."
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


def _check_files(url: RedisURL) -> None:
    """Refuse a file that is not there: redis-py would take it for a server that is not."""
    for name, path in url.paths:
        if not os.access(path, os.R_OK):
            raise BootError(
                f"JOBQUEUE['REDIS_URL'] names {path!r} as {name}, which cannot be read: create it, "
                f"or correct the path."
            )


def _check_rights(store: Store) -> None:
    """Refuse to start as a user who would be stopped in the middle of a move."""
    if missing := store.permissions.missing():
        raise BootError(
            f"The user of Redis at {store.address} may not use {missing}: give it the rights that "
            f"`manage.py jobqueue acl` prints for this KEY_PREFIX."
        )


def _check_server(store: Store, settings: Settings) -> None:
    facts = store.server.facts()
    if facts.mode == "sentinel":
        raise BootError(
            f"What answers at {store.address} is a Sentinel, not the Redis that it watches: write "
            f"JOBQUEUE['REDIS_URL'] as in 'redis+sentinel://{store.address}/mymaster/0'."
        )
    if facts.is_too_old:
        oldest = ".".join(map(str, OLDEST))
        raise BootError(f"Redis {facts.version} at {store.address} is too old: {oldest} is needed.")
    if facts.mode == "cluster":
        _check_slot(store)
    if facts.evicts and not settings.allow_eviction:
        raise BootError(
            f"Redis at {store.address} has maxmemory-policy {facts.eviction}, so it throws jobs "
            f"away when it is full: set it to noeviction, or JOBQUEUE['ALLOW_EVICTION'] to True."
        )
    if not facts.appends and not store.server.takes_snapshots():
        logger.warning(
            "Redis at %s keeps nothing on its disk: when it restarts, its jobs are gone. Set "
            "appendonly to yes.",
            store.address,
        )


def _check_slot(store: Store) -> None:
    if not hash_tag(store.keys.prefix):
        raise BootError(
            "Redis is a cluster, and the keys must share a slot: set JOBQUEUE['KEY_PREFIX'] to "
            "'{jobs}:'."
        )
    store.server.find(store.keys.queues)


def _check_network(store: Store, settings: Settings, url: RedisURL) -> None:
    """Refuse a server that lets in everybody on the internet, and warn of one that all overhear."""
    if not url.hosts or (url.has_credentials and url.is_encrypted):
        return
    peer = store.server.peer()
    if not peer or not ipaddress.ip_address(peer.partition("%")[0]).is_global:
        return
    if not url.has_credentials and not settings.allow_no_auth:
        raise BootError(
            f"Redis at {store.address}, a public address, lets us in without a password, and so "
            f"anybody who finds it: set requirepass or make an ACL user, and name them in "
            f"JOBQUEUE['REDIS_URL']; or set JOBQUEUE['ALLOW_NO_AUTH'] to True."
        )
    if not url.is_encrypted:
        logger.warning(
            "Redis at %s is reached over a public network in plain text: passwords and jobs can be "
            "read on the way. Turn its TLS on, and begin JOBQUEUE['REDIS_URL'] with rediss.",
            store.address,
        )


def new_nonce() -> str:
    """Return what keeps processes with one host name and one pid apart: 12 hex digits."""
    return uuid.uuid4().hex[:12]


def make_identity(pid: int, nonce: str) -> str:
    """Return the identity of a process as Sidekiq writes it: ``host:pid:nonce``."""
    return f"{socket.gethostname()}:{pid}:{nonce}"
