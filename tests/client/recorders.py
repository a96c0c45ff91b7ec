"""Client middleware that tests name in settings, and what they saw."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django_jobqueue.client.middleware import Push
from django_jobqueue.payload import Payload

#: What middleware wrote, in order. Cleared by the fixture ``seen``.
SEEN: list[tuple[str, str]] = []


class _Recorder:
    name = ""

    def __init__(self, push: Push) -> None:
        self._push = push

    def __call__(self, payload: Payload) -> Payload | None:
        SEEN.append((self.name, "in"))
        accepted = self._push(payload)
        SEEN.append((self.name, "out" if accepted else "refused"))
        return accepted


class First(_Recorder):
    """Writes when it is passed."""

    name = "first"


class Second(_Recorder):
    """Writes when it is passed."""

    name = "second"


class Tenant:
    """Lets something travel along with every job."""

    def __init__(self, push: Push) -> None:
        self._push = push

    def __call__(self, payload: Payload) -> Payload | None:
        return self._push(payload.replace(cattr={"tenant": 7}))


class RefuseOdd:
    """Refuses jobs whose first argument is an odd number."""

    def __init__(self, push: Push) -> None:
        self._push = push

    def __call__(self, payload: Payload) -> Payload | None:
        args = payload.args
        return None if args and args[0] % 2 else self._push(payload)


class Raise:
    """Fails where the first argument is 13."""

    def __init__(self, push: Push) -> None:
        self._push = push

    def __call__(self, payload: Payload) -> Payload | None:
        if payload.args == [13]:
            raise RuntimeError("the middleware is broken")
        return self._push(payload)


class Serialise:
    """Makes text of datetimes among the arguments."""

    def __init__(self, push: Push) -> None:
        self._push = push

    def __call__(self, payload: Payload) -> Payload | None:
        return self._push(payload.replace(args=[_plain(value) for value in payload.args]))


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value


class Reroute:
    """Sends jobs to a queue of a name that none can have."""

    def __init__(self, push: Push) -> None:
        self._push = push

    def __call__(self, payload: Payload) -> Payload | None:
        return self._push(payload.replace(queue="not a queue"))


class Unwritable:
    """Puts something into the payload that JSON has not."""

    def __init__(self, push: Push) -> None:
        self._push = push

    def __call__(self, payload: Payload) -> Payload | None:
        return self._push(payload.replace(cattr={"user": object()}))


def path_of(*layers: type) -> list[str]:
    """Return the dotted paths of middleware, as settings name them."""
    return [f"{layer.__module__}.{layer.__qualname__}" for layer in layers]
