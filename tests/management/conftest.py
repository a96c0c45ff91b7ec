"""A shell, and a look inside Redis."""

from __future__ import annotations

import pytest

from tests.management.shell import Shell
from tests.support.inside import inside

__all__ = ["inside"]


@pytest.fixture
def shell(monkeypatch: pytest.MonkeyPatch) -> Shell:
    """The subcommands of ``manage.py jobqueue``."""
    return Shell(monkeypatch)
