"""Fixtures of the acceptance tests: a place to work at, on the shared server or on one's own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol

import pytest

from tests.acceptance.site import Site
from tests.support.server import RedisServer


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
