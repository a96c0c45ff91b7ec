"""
The faults: one function each, which hurts the scene and returns when the fault is over.

A fault counts only when it hit: when jobs were claimed at the moment at which it struck.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, TypeVar

from django_jobqueue.exceptions import StoreUnavailable
from django_jobqueue.store import scripts
from tests.acceptance.site import LEASE, SOON, elapse
from tests.chaos.crew import await_work
from tests.chaos.scene import Scene
from tests.support import procfs
from tests.support.polling import wait_until

T = TypeVar("T")

#: Seconds that a fault waits for jobs to hit before it strikes in vain.
PATIENCE = 10.0


@dataclass(frozen=True, slots=True)
class Strike:
    """One fault that struck: at how many claimed jobs. It hit something when there were any."""

    name: str
    at_stake: int

    @property
    def has_hit(self) -> bool:
        """Tell whether it counts."""
        return self.at_stake > 0


def strike(scene: Scene, name: str) -> Strike:
    """Let the fault of this name strike as soon as there is something to hit, and last."""
    return Strike(name, FAULTS[name](scene))


def _await_stake(scene: Scene) -> int:
    """Wait until jobs are claimed; return how many, 0 when none are within ``PATIENCE``."""
    return awaited(scene.at_stake) or 0


def awaited(look: Callable[[], T | None], seconds: float = PATIENCE) -> T | None:
    """Wait until a look finds something, at most so many seconds; return that or None."""
    try:
        return wait_until(look, seconds)
    except AssertionError:
        return None


# Processes ---------------------------------------------------------------------------


def kill_child(scene: Scene) -> int:
    """Kill -9 of one worker process that holds claims."""
    return _kill(scene, whole=False)


def kill_group(scene: Scene) -> int:
    """Kill -9 of a supervisor and all its children, of which one holds claims."""
    return _kill(scene, whole=True)


def _kill(scene: Scene, *, whole: bool) -> int:
    before = len(scene.killer.kills)
    awaited(lambda: scene.killer.try_to_strike(whole))
    return sum(len(kill.held) for kill in scene.killer.kills[before:])


def freeze_child(scene: Scene, seconds: float | None = None) -> int:
    """SIGSTOP of a process that holds claims, for less than its lease, and SIGCONT."""
    seconds = scene.chance.uniform(0.5, LEASE / 3) if seconds is None else seconds
    pid, held = awaited(lambda: _try_to_freeze(scene)) or (0, 0)
    if held:
        elapse(seconds)
        os.kill(pid, signal.SIGCONT)
    return held


def freeze_child_past_its_lease(scene: Scene) -> int:
    """SIGSTOP of a process that holds claims for so long that others take them, and SIGCONT."""
    return freeze_child(scene, LEASE + 6.0)


def _try_to_freeze(scene: Scene) -> tuple[int, int] | None:
    group = scene.chance.choice(scene.crew.groups)
    children = scene.crew.ready_children(group, scene.killer.gone())
    if not children:
        return None
    pid, identity = scene.chance.choice(list(children.items()))
    os.kill(pid, signal.SIGSTOP)
    wait_until(lambda: procfs.is_stopped(pid), SOON, "it to stop")
    held = scene.site.store.claims.count(identity)
    if held:
        return pid, held
    os.kill(pid, signal.SIGCONT)
    return None


def deploy_group(scene: Scene) -> int:
    """SIGTERM of a supervisor, as at a deploy: it ends in good order, and another one comes."""
    group = scene.chance.choice(scene.crew.groups)
    await_work(group.worker)
    held = _await_stake(scene)
    group.worker.term()
    scene.crew.codes.append(group.worker.wait(60))
    scene.crew.replace(group)
    return held


# Lines -------------------------------------------------------------------------------


def reset_lines(scene: Scene) -> int:
    """Reset every connection of every worker at once."""
    held = _await_stake(scene)
    return held if scene.proxy.cut_all() else 0


def half_close_lines(scene: Scene) -> int:
    """Tell every worker that the server has hung up, while what it sends still arrives."""
    held = _await_stake(scene)
    return held if scene.proxy.half_close_all() else 0


def kill_clients(scene: Scene) -> int:
    """Have Redis itself close every connection but the one that asks for it."""
    held = _await_stake(scene)
    killed = int(scene.site.redis.execute_command("CLIENT", "KILL", "TYPE", "normal"))
    _meet_again(scene)
    return held if killed else 0


def cut_in_a_request(scene: Scene) -> int:
    """Cut a connection after some bytes of a request."""
    return _cut(scene, "request")


def cut_in_a_reply(scene: Scene) -> int:
    """Cut a connection after some bytes of a reply."""
    return _cut(scene, "reply")


def _cut(scene: Scene, direction: Literal["request", "reply"]) -> int:
    held, before = _await_stake(scene), scene.proxy.hits
    scene.proxy.cut_after(scene.chance.randrange(1, 4000), direction)
    return held if _await_hit(scene, before) else 0


def lose_replies(scene: Scene) -> int:
    """Do what a worker asks when it claims and delivers, and lose the answer."""
    held, before = _await_stake(scene), scene.proxy.hits
    step = scripts.load()["step"].digest.encode()
    scene.proxy.swallow_replies(to=step, times=scene.chance.randrange(1, 4))
    return held if _await_hit(scene, before) else 0


def _await_hit(scene: Scene, before: int) -> bool:
    """Wait until the proxy has cut or silenced somebody, and let it pass everything again."""
    has_hit = awaited(lambda: scene.proxy.hits > before)
    scene.proxy.pass_through()
    return bool(has_hit)


def slow_lines(scene: Scene) -> int:
    """Delay everything, both ways, for a while."""
    held = _await_stake(scene)
    scene.proxy.delay(scene.chance.uniform(0.02, 0.5))
    elapse(scene.chance.uniform(1.0, 4.0))
    scene.proxy.pass_through()
    return held


def silent_lines(scene: Scene) -> int:
    """Let nothing through, and close nothing: a network that has gone away."""
    held = _await_stake(scene)
    scene.proxy.black_hole()
    elapse(scene.chance.uniform(0.5, 5.0))
    scene.proxy.pass_through()
    return held


def refused_lines(scene: Scene) -> int:
    """Cut every connection of a worker, and refuse new ones for a while."""
    held = _await_stake(scene)
    scene.proxy.refuse()
    elapse(scene.chance.uniform(0.1, 3.0))
    scene.proxy.pass_through()
    return held


# Redis -------------------------------------------------------------------------------


def kill_redis(scene: Scene, seconds: float | None = None) -> int:
    """Kill -9 of Redis, and another start on what its append-only file holds."""
    held = _await_stake(scene)
    scene.server.kill9()
    elapse(scene.chance.uniform(0.0, 1.0) if seconds is None else seconds)
    scene.server.start()
    _meet_again(scene)
    return held


def _meet_again(scene: Scene) -> None:
    """Wait until we reach Redis ourselves: the fault has closed our own connections as well."""

    def is_met() -> bool:
        try:
            scene.site.store.queues.names()
        except StoreUnavailable:
            return False
        return True

    wait_until(is_met, SOON, "Redis to answer us again")


def lose_redis_past_the_lease(scene: Scene) -> int:
    """Kill -9 of Redis, and a start only when every lease has ended."""
    return kill_redis(scene, LEASE + 3.0)


def freeze_redis(scene: Scene) -> int:
    """SIGSTOP of Redis for a while: connections stand, and nothing answers."""
    held = _await_stake(scene)
    os.kill(scene.server.pid, signal.SIGSTOP)
    elapse(scene.chance.uniform(0.5, 5.0))
    os.kill(scene.server.pid, signal.SIGCONT)
    return held


def forget_scripts(scene: Scene) -> int:
    """Have Redis forget every script."""
    held = _await_stake(scene)
    scene.site.redis.script_flush()
    return held


Fault = Callable[[Scene], int]

#: All faults by name. Each returns how many jobs were claimed when it struck.
FAULTS: Mapping[str, Fault] = {
    function.__name__.replace("_", " "): function
    for function in (
        kill_child, kill_group, freeze_child, freeze_child_past_its_lease, deploy_group,
        reset_lines, half_close_lines, kill_clients, cut_in_a_request, cut_in_a_reply,
        lose_replies, slow_lines, silent_lines, refused_lines,
        kill_redis, lose_redis_past_the_lease, freeze_redis, forget_scripts,
    )
}  # fmt: skip
