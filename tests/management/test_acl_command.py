"""``manage.py jobqueue acl``: one line to paste, which Redis takes, and no password in it."""

from __future__ import annotations

import re
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

from tests.support.server import RedisServer

URL = "redis://me:secret@127.0.0.1:1/0"


@pytest.fixture(autouse=True)
def _nowhere(settings: Any) -> None:
    """Settings with a password, and a server that is not there: nothing connects."""
    settings.JOBQUEUE = {"REDIS_URL": URL, "KEY_PREFIX": "{shop}:"}


def printed(*arguments: str) -> str:
    out = StringIO()
    call_command("jobqueue", "acl", *arguments, stdout=out)
    return out.getvalue()


def test_one_line_makes_a_user_for_the_prefix_of_the_settings() -> None:
    line = printed()
    assert line.startswith("ACL SETUSER jobqueue reset on >PASSWORD resetkeys ~{shop}:* ")
    assert line.count("\n") == 1
    assert " resetchannels -@all +" in line
    assert "+blmove " in line
    assert "secret" not in line


def test_another_name_and_the_rights_of_who_only_enqueues() -> None:
    line = printed("--user", "web", "--enqueue-only")
    assert line.startswith("ACL SETUSER web reset on >PASSWORD resetkeys ~{shop}:queues ")
    assert "+lpush" in line
    assert "+lrange" not in line


def test_without_a_prefix_the_keys_are_named(settings: Any) -> None:
    settings.JOBQUEUE = {"REDIS_URL": URL}
    line = printed()
    assert " ~queues ~schedule ~retry " in line
    assert " ~queue:* " in line


@pytest.mark.parametrize("arguments", [(), ("--enqueue-only",)])
@pytest.mark.parametrize("prefix", ["", "{shop}:", "a\"b'*[c]\\:", "'"])
def test_redis_takes_what_is_printed(
    redis_server: RedisServer, settings: Any, prefix: str, arguments: tuple[str, ...]
) -> None:
    settings.JOBQUEUE = {"REDIS_URL": URL, "KEY_PREFIX": prefix}
    words = as_redis_cli_reads(printed("--user", "printed", *arguments))
    with redis_server.client() as client:
        assert client.execute_command(*words) in (b"OK", True)
        found = client.acl_getuser("printed")
        client.execute_command("ACL", "DELUSER", "printed")
    keys = found["keys"]
    patterns = keys.split() if isinstance(keys, str) else keys
    expected = [word for word in words if word.startswith("~")]
    assert len(patterns) == len(expected) > 0
    assert "on" in found["flags"]


def as_redis_cli_reads(line: str) -> list[str]:
    """Return the words of a line: within quotes alone a backslash is not itself."""
    return [
        re.sub(r"\\(.)", r"\1", word[1:-1]) if word.startswith('"') else word
        for word in line.split()
    ]


@pytest.mark.parametrize("name", ["", "two words", "'quoted", "a\nb"])
def test_a_name_that_would_be_read_as_something_else_is_refused(name: str) -> None:
    with pytest.raises(CommandError, match="no name of a user"):
        printed(f"--user={name}")
