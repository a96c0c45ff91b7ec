"""Switches: what it costs every push and every job to ask for its kill switch."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from itertools import repeat

import redis
import waffle
from django.conf import settings
from django.http import HttpRequest
from django.test import override_settings

from benchmarks.enqueue import QUEUE, ROUNDS, pushed, timed
from benchmarks.jobs import NoOp
from benchmarks.race import Contender, Figures, Race
from benchmarks.server import Server
from django_jobqueue.payload import Payload
from django_jobqueue.switches.flags import set_state
from django_jobqueue.switches.state import OFF, ON
from django_jobqueue.switches.switches import switches

#: Checks of one run for each job that is pushed, and for each one of waffle's.
CHECKS, CHECKS_OF_WAFFLE = 25, 0.25

#: The flag of the class that is raced, and of another one.
FLAG, OTHER_FLAG = "disable_no_op", "disable_sleep"


def measure(server: Server, jobs: int, rounds: int) -> list[Race]:
    """Time the check, and race pushes that ask against those that do not."""
    with server.client() as client:
        return [_check(jobs, rounds), _push(client, max(jobs // ROUNDS, 1), rounds * ROUNDS)]


def _check(jobs: int, rounds: int) -> Race:
    payload = Payload({"class": f"{NoOp.__module__}.{NoOp.__qualname__}", "jid": "0" * 24})
    checks = jobs * CHECKS

    def ask(*contexts: contextlib.AbstractContextManager[None]) -> Figures:
        with contextlib.ExitStack() as stack:
            for context in contexts:
                stack.enter_context(context)
            refuses = switches().refuses
            return _timed(checks, lambda: refuses(payload))

    def nothing(_: Payload) -> bool:
        return False

    request = HttpRequest()
    contenders: dict[str, Contender] = {
        "all off": ask,
        "pinned, all off": lambda: ask(switches().pinned()),
        "another on": lambda: ask(_on(OTHER_FLAG)),
        "pinned, another on": lambda: ask(_on(OTHER_FLAG), switches().pinned()),
        "a call": lambda: _timed(checks, lambda: nothing(payload)),
        "waffle, cached": lambda: _timed(
            int(jobs * CHECKS_OF_WAFFLE), lambda: waffle.flag_is_active(request, FLAG)
        ),
    }
    race = Race.run(
        "switches", f"{checks:,} checks of a class whose switch is off", contenders, rounds
    )
    race.hold_to("all off", "CPU us", goal=1.0, bound="most")
    race.compare("all off", "a call", "CPU us")
    race.compare("all off", "waffle, cached", "CPU us")
    return race


def _push(client: redis.Redis, jobs: int, rounds: int) -> Race:
    def push() -> Figures:
        client.delete(QUEUE)
        NoOp.perform_async(0)  # connections and settings are new after those were overridden
        client.delete(QUEUE)
        figures = timed(jobs, lambda: [NoOp.perform_async(number) for number in range(jobs)])
        pushed(client, jobs)
        return figures

    def push_unasked() -> Figures:
        with override_settings(JOBQUEUE={**settings.JOBQUEUE, "CLIENT_MIDDLEWARE": []}):
            return push()

    asked, unasked = "perform_async", "perform_async, no middleware"
    race = Race.run(
        "switches-push", f"{jobs:,} jobs one by one", {asked: push, unasked: push_unasked}, rounds
    )
    race.compare(asked, unasked, "jobs/s")
    race.compare(asked, unasked, "CPU us a job", difference=True)
    return race


@contextlib.contextmanager
def _on(flag: str) -> Iterator[None]:
    """Turn a switch on for a while, by the way that the admin takes."""
    set_state(flag, ON)
    try:
        yield
    finally:
        set_state(flag, OFF)


def _timed(times: int, call: Callable[[], object]) -> Figures:
    began, used = time.perf_counter(), time.process_time()
    for _ in repeat(None, times):
        call()
    took, used = time.perf_counter() - began, time.process_time() - used
    return {"us": took / times * 1e6, "CPU us": used / times * 1e6}
