"""The books: where every job stands, and what must be true of that."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from django_jobqueue.exceptions import InvalidPayload
from django_jobqueue.payload import Payload
from django_jobqueue.scheduling.firing import slot_jid
from django_jobqueue.store.keys import Field
from tests.acceptance.site import Site
from tests.crash.jobs import ACCEPTED, has_slept
from tests.crash.world import DEAD, FAILURES, FINISHED, GONE, HELD, World, hourly_lock

#: Crashes of which a job dies, by the default of the settings.
POISON = 3

#: The claims that dead processes have at the beginning.
LEFT = 5


@dataclass(slots=True)
class Scene:
    """Redis and the journal at a moment when no process is alive."""

    #: Where each job stands, by its jid; junk goes by that name.
    places: dict[str, list[str]] = field(default_factory=dict)
    payloads: dict[str, Payload] = field(default_factory=dict)
    locks: dict[str, str] = field(default_factory=dict)
    starts: Counter[str] = field(default_factory=Counter)
    finishes: Counter[str] = field(default_factory=Counter)
    accepted: set[str] = field(default_factory=set)
    children: set[str] = field(default_factory=set)
    parents: int = 0
    #: The jids of the jobs whose slot was claimed, and not noted as pushed.
    slots: set[str] = field(default_factory=set)


def look(world: World) -> Scene:
    """Look at everything."""
    site, scene = world.site, Scene()
    # What a dead process had sent is done by the second answer at the latest.
    for _ in range(2):
        site.redis.ping()
    for place, raw in _entries(site):
        try:
            job = Payload.decode(raw)
            jid = "junk" if job.fields.get("error_class") == "InvalidPayload" else job.jid
        except InvalidPayload:
            jid = "junk"
        else:
            scene.payloads[jid] = job
        scene.places.setdefault(jid, []).append(place)
    for digest in _locks(site):
        owner = site.redis.get(site.keys.unique(digest))
        scene.locks[digest] = owner.decode() if isinstance(owner, bytes) else ""
    # The lock of the hourly one is the slot's own, and lasts.
    unsettled = [(name, slot) for name, slot in world.unsettled().items() if name != "hourly"]
    scene.slots = {slot_jid(name, slot) for name, slot in unsettled}
    for entry in site.journal.entries():
        if entry.ident == ACCEPTED:
            scene.accepted.add(entry.jid)
            continue
        counted = scene.starts if entry.mark == "S" else scene.finishes
        counted[entry.jid] += 1
        scene.parents += entry.ident == "parent" and entry.mark == "S"
        if entry.ident.startswith("parent."):
            scene.children.add(entry.jid)
    return scene


def _entries(site: Site) -> list[tuple[str, bytes]]:
    """Return every job that stands in Redis, and where."""
    found: list[tuple[str, bytes]] = []
    keys, redis = site.keys, cast(Any, site.redis)
    for key in redis.scan_iter(match=f"{keys.queue('')}*", count=1000):
        name = key.decode()[len(keys.queue("")) :]
        found += ((f"queue {name}", raw) for raw in site.queue(name))
    for name in ("schedule", "retry", "dead"):
        found += ((name, raw) for raw, _ in site.store.sets.page(name, 0, 10_000))
    for key in redis.scan_iter(match=f"{keys.held('')}*", count=1000):
        found += (("held", raw) for raw in redis.zrange(key, 0, -1))
    for key in redis.scan_iter(match=f"{keys.claims('')}*", count=1000):
        identity = key.decode()[len(keys.claims("")) :]
        claims = redis.hgetall(key)
        found += (
            (f"claims of {identity}", raw) for name, raw in claims.items() if name != Field.SUSPECT
        )
    return found


def _locks(site: Site) -> list[str]:
    names = site.redis.scan_iter(match=f"{site.keys.unique('')}*", count=1000)
    return [site.keys.digest_of(name) for name in names]


def at_the_crash(world: World, scene: Scene) -> list[str]:
    """Return what is wrong at the moment of the crash: a job lost, in two places, a lock astray."""
    wrong = _in_two_places(world, scene)
    for jid in (*world.fates, *sorted(scene.accepted)):
        if jid not in scene.places and not _may_be_over(world, scene, jid):
            wrong.append(f"lost: {_name(world, jid)} stands nowhere at the crash")
    slots = {slot_jid("hourly", slot) for slot in world.slots().values()}
    for owner in scene.locks.values():
        if owner not in scene.places and owner not in slots:
            wrong.append(f"lock: that of {_name(world, owner)} stands, and its job nowhere")
    for jid, job in scene.payloads.items():
        if not _needs_its_lock(job) or scene.places[jid] == [DEAD]:
            continue
        if jid not in scene.locks.values():
            wrong.append(f"lock: {_name(world, jid)} is unique and has none")
    return wrong


@dataclass(slots=True)
class Crash:
    """What a process was in the middle of when it was killed."""

    scene: Scene
    identity: str

    @property
    def in_flight(self) -> list[str]:
        """The jids of the jobs that it had claimed."""
        claims = f"claims of {self.identity}"
        return [jid for jid, places in self.scene.places.items() if claims in places]


def at_the_end(world: World, crashes: Sequence[Crash], end: Scene) -> list[str]:
    """Return what is wrong when all is done, after some processes were killed."""
    in_flight = Counter(jid for crash in crashes for jid in crash.in_flight)
    came_back = [line for crash in crashes for line in _came_back(world, crash.scene, end)]
    slots = [jid for crash in crashes for jid in crash.scene.slots]
    return [
        *_in_two_places(world, end),
        *_wrong_ends(world, end, in_flight),
        *_wrong_starts(world, end, in_flight + Counter(slots)),
        *came_back,
        *_leftovers(world, end),
        *_wrong_counters(world, crashes, end),
    ]


def after_a_supervised_crash(world: World, end: Scene) -> list[str]:
    """Return what is wrong at the end where nobody could look at the moment of the crash."""
    anybody = Counter({*world.fates, *end.starts})
    return [
        *_in_two_places(world, end),
        *_wrong_ends(world, end, anybody),
        *_wrong_starts(world, end, anybody),
        *_leftovers(world, end),
    ]


def lost_starts(world: World, crashes: Sequence[Crash]) -> Counter[str]:
    """Return the starts whose result a crash has taken away, by jid: these may be repeated."""
    lost: Counter[str] = Counter()
    for crash in crashes:
        for jid in crash.in_flight:
            # Of all starts so far, those of earlier crashes included.
            lost[jid] = crash.scene.starts[jid] - _delivered(world, crash.scene.payloads.get(jid))
    return +lost


def more_starts(world: World, end: Scene) -> Counter[str]:
    """Return how much oftener jobs have started than they would without a crash, by jid."""
    fates = world.fates
    return +Counter(
        {jid: n - (fates[jid].starts if jid in fates else 1) for jid, n in end.starts.items()}
    )


def _delivered(world: World, job: Payload | None) -> int:
    """Return of how many starts the result has arrived, as the payload has it."""
    if job is None:
        return 0
    delivered = 0 if job.retry_count is None else job.retry_count + 1
    fate = world.fates.get(job.jid)
    if fate is None:
        return delivered
    return delivered - fate.tried + (fate.ident == "drowsy" and has_slept(job.fields))


def _in_two_places(world: World, scene: Scene) -> list[str]:
    return [
        f"double: {_name(world, jid)} stands in {' and in '.join(places)}"
        for jid, places in scene.places.items()
        if len(places) > 1
    ]


def _may_be_over(world: World, scene: Scene, jid: str) -> bool:
    """Return whether a job that stands nowhere has come to an end."""
    fate = world.fates.get(jid)
    if fate is None or fate.end == FINISHED:
        return jid in scene.finishes
    if fate.end == GONE:
        return fate.starts == 0 or jid in scene.starts
    return False


def _needs_its_lock(job: Payload) -> bool:
    """Return whether a job that is alive must hold its lock."""
    return job.unique_digest is not None and not job.unique_until_start


def _wrong_ends(world: World, end: Scene, in_flight: Counter[str]) -> list[str]:
    wrong = []
    for jid, fate in world.fates.items():
        places, name = end.places.get(jid, []), _name(world, jid)
        if places == [DEAD] and fate.crashes + in_flight[jid] >= POISON:
            continue
        if fate.end in (DEAD, HELD):
            if places != [fate.end]:
                wrong.append(f"lost: {name} is to be {fate.end} and stands in {places}")
        elif places:
            wrong.append(f"stuck: {name} stands in {places}")
        elif not _may_be_over(world, end, jid):
            wrong.append(f"lost: {name} has not finished")
    for jid in sorted(end.accepted):
        if jid not in end.finishes:
            wrong.append(f"lost: {_name(world, jid)} has not finished")
    if end.places.get("junk") != [DEAD]:
        wrong.append(f"lost: the junk stands in {end.places.get('junk')}")
    known = {*world.fates, "junk"}
    strangers = [jid for jid in end.places if jid not in known]
    wrong += (f"stuck: {_name(world, jid)} stands in {end.places[jid]}" for jid in strangers)
    wrong += (f"lost: {what} is not done" for what in world.undone())
    hourly = slot_jid("hourly", world.slots()["hourly"])
    if hourly not in end.finishes:
        wrong.append("lost: the job of the slot has not finished")
    return wrong


def _wrong_starts(world: World, end: Scene, again: Counter[str]) -> list[str]:
    """Return which jobs started too often; ``again``: how much oftener each may have."""
    wrong = []
    for jid, starts in end.starts.items():
        fate = world.fates.get(jid)
        allowed = (1 if fate is None else fate.starts) + again[jid]
        if starts > allowed:
            wrong.append(f"double: {_name(world, jid)} started {starts} times, not {allowed}")
    # Each start of the parent may push each of the two.
    if len(end.children) > 2 * end.parents:
        wrong.append(f"double: {len(end.children)} children of {end.parents} starts")
    return wrong


def _came_back(world: World, crash: Scene, end: Scene) -> list[str]:
    """Return which jobs had finished for good before a crash, and started after it."""
    over = [jid for jid in crash.finishes if jid not in crash.places]
    return [
        f"double: {_name(world, jid)} had finished, and came back"
        for jid in over
        # Who finds the claimed slot of a unique job cannot know that it has run by then.
        if end.starts[jid] > crash.starts[jid] + (jid in crash.slots)
    ]


def _leftovers(world: World, end: Scene) -> list[str]:
    site = world.site
    lasting = {hourly_lock(slot) for slot in world.slots().values()}
    wrong = [
        f"lock: that of {_name(world, owner)} is left"
        for digest, owner in end.locks.items()
        if digest not in lasting and "stopped" not in _name(world, owner)
    ]
    reruns = site.redis.scan_iter(match=f"{site.keys.rerun('')}*", count=1000)
    wrong += (f"left over: {key.decode()}" for key in reruns)
    wrong += (f"left over: the lease of {name}" for name in site.identities())
    wrong += (f"left over: {key}" for key in site.leftovers() if not _is_held_for_good(site, key))
    wrong += (f"left over: {name} on the list of processes" for name in _lasting(site))
    return wrong


def _lasting(site: Site) -> list[str]:
    """
    Return who stays on the list of processes when the hourly look has been at it.

    Who takes a dead process back takes it off the list, too; one that is killed between the
    two leaves that to the hour, when what the dead one said of itself has run out.
    """
    for name in site.store.processes.identities():
        site.redis.delete(site.keys.process(name))
    site.store.processes.forget_lost()
    return site.store.processes.identities()


def _is_held_for_good(site: Site, key: str) -> bool:
    return key == site.keys.held_classes or key.endswith("StoppedJob")


def _wrong_counters(world: World, crashes: Sequence[Crash], end: Scene) -> list[str]:
    counted = world.site.store.stats.counters()
    lost = lost_starts(world, crashes).total()
    # Every start whose result arrived is counted once, but for a snooze. The junk and the job
    # that had expired never started.
    processed = end.starts.total() - lost - counted.get("snooze", 0) + 2
    expected = {
        "processed": processed,
        "failed": FAILURES,
        "fenced": 0,
        "snooze": 1,
        "expired": 1,
        "discarded": 1,
        "recovered": LEFT + sum(len(crash.in_flight) for crash in crashes),
    }
    return [
        f"counter: {name} is {counted.get(name, 0)}, not {count}"
        for name, count in expected.items()
        if counted.get(name, 0) != count
    ]


def _name(world: World, jid: str) -> str:
    fate = world.fates.get(jid)
    return f"{fate.ident} ({jid})" if fate else jid
