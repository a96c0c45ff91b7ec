"""The jobs of the Django side. Their names in Redis are those of classes that Ruby has too."""

from __future__ import annotations

import os
import time
from datetime import timedelta
from typing import Any

from django_jobqueue import Job
from tests.interop import notes


class DjangoEcho(Job):
    """Tell what came."""

    queue = "django"
    wire_name = "DjangoEcho"
    self_healing = False

    def perform(self, *args: Any) -> None:
        notes.write("django", self.jid, list(args))


class DjangoFailure(Job):
    """Fail, and be tried again in an hour."""

    queue = "django"
    wire_name = "DjangoFailure"
    self_healing = False
    backtrace = True
    tags = ("interop", "fails <b>")

    def perform(self, *args: Any) -> None:
        notes.write("django", self.jid, list(args))
        raise ValueError("Django's fails by design: <é>")

    def retry_in(self, count: int, error: BaseException) -> float:
        return 3600.0


class DjangoWait(Job):
    """Run until there is a file."""

    queue = "django"
    wire_name = "DjangoWait"
    self_healing = False

    def perform(self, path: str) -> None:
        notes.write("django", self.jid, [path])
        while not os.path.exists(path):
            time.sleep(0.01)


class _InRuby(Job):
    """A job that is only a name here."""

    abstract = True
    queue = "ruby"
    self_healing = False

    def perform(self, *args: Any) -> None:
        raise NotImplementedError("it runs in Ruby")


class RubyEcho(_InRuby):
    """Tells what came."""

    wire_name = "RubyEcho"


class RubyFailure(_InRuby):
    """Fails, and is tried again in an hour."""

    wire_name = "RubyFailure"
    backtrace = True


class RubyUnique(_InRuby):
    """Fails as ``RubyFailure`` does, and is unique."""

    wire_name = "Interop::RubyUnique"
    unique_for = timedelta(hours=1)
    tags = ("once",)


class RubyWait(_InRuby):
    """Runs until there is a file."""

    wire_name = "RubyWait"


class DjangoOnly(_InRuby):
    """A job that Ruby is given and has no class for."""
