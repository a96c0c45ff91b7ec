"""The process's own line to Redis: made at the first use, forgotten on a fork."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from typing import Any

from django.core.signals import setting_changed

from django_jobqueue.conf import Settings, get_settings
from django_jobqueue.embedded import ensure_server
from django_jobqueue.store.store import Store

_lock = threading.Lock()
_store: Store | None = None
_overridden: list[Store] = []


def store() -> Store:
    """
    Return this process's store, made on the first call; it opens no socket yet.

    With no ``REDIS_URL`` in a project under development the embedded server is
    started, if it is not running.

    Raises: ImproperlyConfigured when the settings are wrong,
    EmbeddedServerUnavailable when that server cannot be started.
    """
    global _store
    if _overridden:
        return _overridden[-1]
    found = _store
    if found is None:
        with _lock:
            found = _store
            if found is None:
                found = _store = open_store(get_settings())
    return found


def open_store(settings: Settings) -> Store:
    """Return a new store with these settings."""
    return Store(
        settings.redis_url or ensure_server(settings.embedded_dir),
        prefix=settings.key_prefix,
        timeout=settings.socket_timeout,
        dead_entries=settings.dead_max_entries,
        dead_age=settings.dead_max_age,
    )


@contextlib.contextmanager
def use_store(other: Store) -> Iterator[Store]:
    """Take another store for this process's own for a while."""
    _overridden.append(other)
    try:
        yield other
    finally:
        _overridden.pop()


def forget() -> None:
    """Let the next use make a new store. What was handed out goes on working."""
    global _store
    _store = None


def _after_fork() -> None:
    global _lock
    _lock = threading.Lock()
    forget()


def _on_setting_changed(*, setting: str, **_: Any) -> None:
    if setting in ("JOBQUEUE", "DEBUG", "BASE_DIR"):
        forget()


os.register_at_fork(after_in_child=_after_fork)
setting_changed.connect(_on_setting_changed, dispatch_uid="django_jobqueue.connection")
