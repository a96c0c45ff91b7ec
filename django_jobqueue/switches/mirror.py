"""The way to the mirror of the switches, short of patience: an enqueue may be waiting for it."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

from django.core.signals import setting_changed

from django_jobqueue.conf import OUTLETS_WITHOUT_REDIS, get_settings
from django_jobqueue.connection import open_store
from django_jobqueue.embedded import running_server
from django_jobqueue.store.store import Store

#: Seconds that Redis has for a reply.
PATIENCE = 0.5

_store: Store | None = None


def is_wanted() -> bool:
    """Return whether the settings send jobs to a Redis, where a mirror may be."""
    return get_settings().outlet not in OUTLETS_WITHOUT_REDIS


def find_store() -> Store | None:
    """
    Return the store of the mirror, over connections of its own.

    None where there is none to ask: jobs do not go to Redis, or the embedded
    server of a project in development does not run. It is not started to look at
    a switch: the first worker that starts it writes the mirror.

    Raises: ImproperlyConfigured, EmbeddedServerUnavailable.
    """
    global _store
    found = _store
    if found is None and is_wanted():
        settings = get_settings()
        url = settings.redis_url or running_server(settings.embedded_dir)
        if url is not None:
            found = open_store(replace(settings, redis_url=url, socket_timeout=PATIENCE))
            _store = found
    return found


def forget() -> None:
    """Let the next use open another store."""
    global _store
    _store = None


def _on_setting_changed(*, setting: str, **_: Any) -> None:
    if setting in ("JOBQUEUE", "DEBUG", "BASE_DIR"):
        forget()


os.register_at_fork(after_in_child=forget)
setting_changed.connect(_on_setting_changed, dispatch_uid="django_jobqueue.switches.mirror")
