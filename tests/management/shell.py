"""Give the subcommands of ``manage.py jobqueue`` as an operator does."""

from __future__ import annotations

import json
from collections.abc import Iterable
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command


class Shell:
    """Runs subcommands in this process; what is typed at a question is given before."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._typed: list[str] = []
        self.code = 0
        monkeypatch.setattr("builtins.input", self._input)

    def __call__(self, *words: str, types: Iterable[str] = ()) -> str:
        """Return what was printed; the exit code is in ``code``. Raises: CommandError."""
        self._typed = list(types)
        out = StringIO()
        self.code = 0
        try:
            call_command("jobqueue", *words, stdout=out, stderr=StringIO())
        except SystemExit as end:
            self.code = int(end.code or 0)
        return out.getvalue()

    def json(self, *words: str) -> Any:
        """Return what was printed as JSON."""
        return json.loads(self(*words, "--json"))

    def _input(self, prompt: str) -> str:
        if not self._typed:
            raise EOFError
        return self._typed.pop(0)
