"""``manage.py jobqueue`` itself: what goes wrong around a subcommand is no traceback."""

from __future__ import annotations

import os
from typing import Any, NoReturn

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import OperationalError

from django_jobqueue.exceptions import EmbeddedServerUnavailable, StoreUnavailable
from django_jobqueue.management.commands.jobqueue import UNREAD
from django_jobqueue.management.subcommands import acl


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (OperationalError("no such table: x"), r"no such table: x.*manage\.py migrate was run"),
        (EmbeddedServerUnavailable("it is not installed"), "it is not installed"),
        (StoreUnavailable("Connection refused"), "Connection refused"),
    ],
)
def test_a_server_that_does_not_answer_is_told_in_a_sentence(
    monkeypatch: pytest.MonkeyPatch, error: Exception, told: str
) -> None:
    def fail(*args: Any) -> NoReturn:
        raise error

    monkeypatch.setattr(acl, "handle", fail)
    with pytest.raises(CommandError, match=told):
        call_command("jobqueue", "acl")


def test_a_reader_that_goes_away_ends_it_without_a_word(settings: Any) -> None:
    settings.JOBQUEUE = {"REDIS_URL": "redis://127.0.0.1:1/0"}
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "w", encoding="utf-8") as out, pytest.raises(SystemExit) as end:
        call_command("jobqueue", "acl", stdout=out)
    assert end.value.code == UNREAD
