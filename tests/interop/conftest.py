"""Fixtures of the tests with the real Sidekiq: one Redis for all, and Ruby to be asked."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.interop import ruby
from tests.interop.fleet import SECONDS, Fleet
from tests.support.server import RedisServer

#: Says that Sidekiq has to be there.
REQUIRED = "JOBQUEUE_TEST_SIDEKIQ"

_HERE = Path(__file__).parent


@pytest.hookimpl(tryfirst=True)  # before pytest itself looks for what -m asks for
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """
    Skip the tests of this room where there is no Sidekiq.

    With ``JOBQUEUE_TEST_SIDEKIQ=required`` it is an error where there is none.
    """
    ours = [item for item in items if item.path.parent == _HERE]
    missing = ruby.missing() if ours else None
    if missing is not None:
        reason = f"there is no {missing}: {ruby.WAY_OUT}"
        if os.environ.get(REQUIRED) == "required":
            raise pytest.UsageError(reason)
        for item in ours:
            item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="session")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """The Redis of both sides, for all tests of this process."""
    with (
        RedisServer() as server,
        Fleet(server, tmp_path_factory.mktemp("interop")) as made,
    ):
        # Both from the start: whichever test comes first, it finds the same.
        assert made.sidekiq.is_running
        assert made.django.is_running
        yield made


@pytest.fixture
def at_home(fleet: Fleet, settings: Any) -> Fleet:
    """The same, and the calls of this process go there, with times in seconds."""
    settings.JOBQUEUE = {"REDIS_URL": fleet.url, "KEY_PREFIX": "", **SECONDS}
    return fleet
