"""The process's line to Redis: made late, once, and anew after a fork or a change of settings."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured

from django_jobqueue import connection
from django_jobqueue.conf import get_settings
from django_jobqueue.connection import forget, open_store, store
from django_jobqueue.exceptions import StoreUnavailable
from tests.conftest import JobqueueSettings
from tests.support.server import RedisServer


def test_the_store_is_made_once(jobqueue_settings: JobqueueSettings) -> None:
    jobqueue_settings()
    found: list[object] = []
    threads = [threading.Thread(target=lambda: found.append(store())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len(found) == 8
    assert set(map(id, found)) == {id(store())}


def test_making_it_opens_no_socket(settings: Any) -> None:
    settings.JOBQUEUE = {"REDIS_URL": "redis://127.0.0.1:1/0"}
    made = store()
    assert made.address == "127.0.0.1:1"
    with pytest.raises(StoreUnavailable, match=r"127\.0\.0\.1:1"):
        made.ping()


def test_it_goes_where_the_settings_say(
    jobqueue_settings: JobqueueSettings, redis_server: RedisServer
) -> None:
    prefix = jobqueue_settings()
    store().queues.push({"default": [b"x"]})
    with redis_server.client() as client:
        assert client.lrange(f"{prefix}queue:default", 0, -1) == [b"x"]


def test_a_change_of_settings_makes_a_new_one_and_the_old_one_goes_on(
    jobqueue_settings: JobqueueSettings,
) -> None:
    jobqueue_settings()
    old = store()
    jobqueue_settings(SOCKET_TIMEOUT=1)
    assert store() is not old
    old.ping()


def test_settings_of_others_change_nothing(
    jobqueue_settings: JobqueueSettings, settings: Any
) -> None:
    jobqueue_settings()
    old = store()
    settings.LANGUAGE_CODE = "de"
    assert store() is old


def test_wrong_settings_are_told_at_the_first_use(settings: Any) -> None:
    settings.JOBQUEUE = {"REDIS_URL": "http://localhost"}
    with pytest.raises(ImproperlyConfigured, match="REDIS_URL"):
        store()


def test_without_an_url_a_project_in_development_has_a_server_of_its_own(
    settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Path] = []

    def ensure(directory: Path) -> str:
        asked.append(directory)
        return "unix:///there/valkey.sock"

    monkeypatch.setattr(connection, "ensure_server", ensure)
    settings.DEBUG = True
    settings.JOBQUEUE = {"EMBEDDED_DIR": tmp_path / "jobs"}
    assert store().address == "/there/valkey.sock"
    assert asked == [tmp_path / "jobs"]


def test_the_bounds_of_the_settings_reach_the_store(
    jobqueue_settings: JobqueueSettings, key_prefix: str
) -> None:
    jobqueue_settings(SOCKET_TIMEOUT=7, DEAD_MAX_ENTRIES=3, DEAD_MAX_AGE=60)
    made = open_store(get_settings())
    assert made is not open_store(get_settings())
    assert made.keys.prefix == key_prefix
    assert made._link.timeout == 7
    assert made._limits == (3, 60)


def test_it_is_forgotten_on_request(jobqueue_settings: JobqueueSettings) -> None:
    jobqueue_settings()
    old = store()
    forget()
    assert store() is not old


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_fork_makes_its_own_even_while_the_parent_holds_the_lock(
    jobqueue_settings: JobqueueSettings,
) -> None:
    jobqueue_settings()
    parents = store()
    ours, theirs = os.pipe()
    with connection._lock:  # another thread of the parent is about to make one
        pid = os.fork()
        if pid == 0:
            answer = b"?"
            try:
                fresh = store()
                fresh.ping()
                answer = b"y" if fresh is not parents else b"n"
            finally:
                os.write(theirs, answer)
                os._exit(0)
    os.close(theirs)
    assert os.read(ours, 1) == b"y"
    os.close(ours)
    os.waitpid(pid, 0)
    assert store() is parents
    parents.ping()
