"""Fixtures that look into Redis, a place for worker processes, and settings for jobs run here."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.acceptance.conftest import make_site, site
from tests.conftest import JobqueueSettings
from tests.security import sealed
from tests.support.databases import freshened
from tests.support.inside import inside

__all__ = ["freshened", "inside", "make_site", "site"]


@pytest.fixture
def jobqueue_settings(jobqueue_settings: JobqueueSettings) -> JobqueueSettings:
    """
    Set ``settings.JOBQUEUE`` as everywhere, with no server middleware but that of the log.

    That of the database would use one that the tests here have not asked for.
    """
    middleware = ["django_jobqueue.middleware.logging.LogContext"]

    def configure(**overrides: Any) -> str:
        return jobqueue_settings(**{"SERVER_MIDDLEWARE": middleware, **overrides})

    return configure


@pytest.fixture(autouse=True)
def sealed_jobs() -> Iterator[None]:
    """Let the jobs with encrypted arguments be known."""
    with sealed.known():
        yield
