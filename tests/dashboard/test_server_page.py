"""The page of the Redis behind it all, with what the doctor says."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from django.test import Client

from django_jobqueue.api import Server, ServerReport
from django_jobqueue.connection import store
from tests.api.samples import enqueue, payload
from tests.conftest import JobqueueSettings
from tests.dashboard.test_queues_page import look
from tests.doctor.conftest import work
from tests.doctor.test_redis import SOUND

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _redis(jobqueue_settings: JobqueueSettings) -> None:
    jobqueue_settings()


def pretend(monkeypatch: pytest.MonkeyPatch, **facts: Any) -> None:
    """Let the server tell these facts of itself."""
    monkeypatch.setattr(Server, "facts", lambda self: replace(SOUND, **facts))


def test_the_server_tells_of_itself(operator: Client) -> None:
    content = look(operator, "server")
    version = store().server.report().version
    for told in (version, "noeviction", store().address, "Commands a second", "Uptime"):
        assert told in content, told


def test_faults_are_told_with_the_way_out(
    operator: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend(monkeypatch, eviction="allkeys-lru", used_memory=97_000_000, append_ok=False)
    content = look(operator, "server")
    for told in (
        "it throws jobs away", "97.0 MB of 100 MB", "the last write failed", "[evicts]", "[memory]",
        "[write-failed]", "CONFIG SET maxmemory-policy noeviction",
    ):  # fmt: skip
        assert told in content, told
    assert content.count("jq-banner-bad") == 3


def test_where_nothing_is_wrong_that_is_said(
    operator: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend(monkeypatch)
    monkeypatch.setattr(store().permissions, "missing", lambda: None)
    work("low")
    enqueue(payload(1))
    assert "Nothing is wrong, at a glance." in look(operator, "server")
    thorough = look(operator, "server", look="thorough")
    assert "Nothing is wrong." in thorough
    # It took a while: a page that does so every five seconds would not be what was asked for.
    assert "data-live" not in thorough


def test_what_a_managed_server_keeps_to_itself_is_unknown(
    operator: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = {"address", "product", "mode", "keys"}
    names = set(ServerReport.__dataclass_fields__) - texts
    kept = {name: "" if type(getattr(SOUND, name)) is str else None for name in names}
    pretend(monkeypatch, **kept, keys={})
    assert look(operator, "server").count("unknown") >= 5


def test_a_password_is_never_shown(
    operator: Client, jobqueue_settings: JobqueueSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = store().address
    pretend(monkeypatch, address=url)
    jobqueue_settings(REDIS_URL="redis://:hunter2@127.0.0.1:1/0", SOCKET_TIMEOUT=0.2)
    answer = operator.get("/admin/django_jobqueue/dashboard/server/")
    assert b"hunter2" not in answer.content
