"""Fixtures of the acceptance tests: a place to work at, on the shared server or on one's own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol

import pytest

from tests.acceptance.silence import Told, telling
from tests.acceptance.site import Site
from tests.support.server import RedisServer

#: What waits longest: its stories happen while the other tests run.
_LAST = Path(__file__).with_name("test_leases.py")


@pytest.hookimpl(trylast=True)  # after those who shuffle
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Move the tests that only wait for the end of a story to the end."""
    items.sort(key=lambda item: item.path == _LAST)


@pytest.fixture(scope="session", autouse=True)
def told(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Told | None]:
    """How the stories of ``silence`` ended, which are under way if anybody is to hear of them."""
    if not any(item.path == _LAST for item in request.session.items):
        yield None
        return
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    with telling(shared / "silence") as made:
        yield made


@pytest.fixture
def site(redis_server: RedisServer, tmp_path: Path) -> Iterator[Site]:
    """A place on the server of this test process."""
    with Site(redis_server, tmp_path / "site") as made:
        yield made


class MakeSite(Protocol):
    """Make a ``Site`` on a server of the test's own."""

    def __call__(self, server: RedisServer, *, url: str | None = None) -> Site:
        """``url`` is where the workers find the server, when not where it is."""


@pytest.fixture
def make_site(tmp_path: Path) -> Iterator[MakeSite]:
    """A factory of places on servers of one's own; all end with the test."""
    with ExitStack() as sites:
        made: list[Site] = []

        def make(server: RedisServer, *, url: str | None = None) -> Site:
            made.append(sites.enter_context(Site(server, tmp_path / f"site{len(made)}", url=url)))
            return made[-1]

        yield make
