"""The Redis user of the documented rules, as which the whole suite can be run."""

from __future__ import annotations

import os

from django_jobqueue.store.acl import rules

#: Set to 1, it has every server of the tests make this user, and their URLs name it.
ACL_VARIABLE = "JOBQUEUE_TEST_ACL"

USER, PASSWORD = "jobqueue", "only-in-tests"

#: Where the names of keys begin in tests; the braces are those of a cluster.
_BEGINNINGS = ("t*", "m*", "{t*", "{m*")


def is_on() -> bool:
    """Tell whether the tests run as that user."""
    wanted = os.environ.get(ACL_VARIABLE, "")
    if wanted not in ("", "1"):
        raise AssertionError(f"{ACL_VARIABLE} is {wanted!r}: set it to 1 or leave it.")
    return wanted == "1"


def user() -> str:
    """Return the name of the user that the tests run as."""
    return USER if is_on() else "default"


def login() -> str:
    """Return what stands before the host in a URL: user and password, or nothing."""
    return f"{USER}:{PASSWORD}@" if is_on() else ""


def arguments() -> list[str]:
    """Return what a server is started with to have the user; nothing where it needs none."""
    keys = [f"~{beginning}" for beginning in _BEGINNINGS]
    return ["--user", USER, "on", f">{PASSWORD}", *rules(""), *keys] if is_on() else []
