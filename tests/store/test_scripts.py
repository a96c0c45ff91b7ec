"""The scripts as texts: how they are called, and that a server may forget them."""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from importlib import resources
from pathlib import Path

import pytest
import redis

from django_jobqueue.exceptions import StoreFull
from django_jobqueue.store import scripts
from django_jobqueue.store.claims import BACK, BURY, RETRY, SNOOZE, Move
from django_jobqueue.store.locks import Lock
from django_jobqueue.store.queues import Push
from django_jobqueue.store.removal import Place
from django_jobqueue.store.scripts import Script
from django_jobqueue.store.sets import PUSH, Promotion, Revival
from django_jobqueue.store.store import Store
from tests.store.contents import Contents
from tests.support.server import RedisServer

Look = Callable[[], Contents]

ME = "host:1:abc"

LOCK = Lock("0" * 32, "me", 60.0)

#: Those that may be refused at maxmemory: what they write was not there before.
REFUSABLE = {"enqueue"}

#: Does one thing with each script, and says which.
VERBS: dict[str, Callable[[Store], object]] = {
    "allow": lambda store: store.held.allow("C", rate=1.0, ramp=0.0, wanted=1),
    "bulk": lambda store: store.bulk.open("ID", {"order": "{}"}),
    "beat": lambda store: store.claims.beat(ME, 60.0),
    "due": lambda store: store.sets.due(),
    "enqueue": lambda store: store.queues.push_unique([Push("other", b"job", lock=LOCK)]),
    "forget": lambda store: store.held.forget_empty("C"),
    "lead": lambda store: store.sets.lead("me", 60.0),
    "leave": lambda store: store.claims.leave(ME),
    "promote": lambda store: store.sets.promote("retry", []),
    "recover": lambda store: store.claims.recover("nobody", []),
    "remove": lambda store: store.removal.delete(Place.queue(store.keys, "nothing"), [b"job"]),
    "renew": lambda store: store.locks.renew([LOCK]),
    "revive": lambda store: store.sets.revive([Revival(b"job", b"job", "nothing", LOCK)]),
    "start": lambda store: store.locks.start(LOCK, release=False),
    "step": lambda store: store.claims.step(ME, lease=60, batch="b", wanted=1, queues=["q"]),
    "switches": lambda store: store.switches.replace("", {}),
    "unlock": lambda store: store.locks.release(LOCK.digest, LOCK.jid),
}


def test_every_script_is_known_here() -> None:
    assert set(scripts.load()) == set(VERBS)


def test_every_file_is_loaded_with_its_digest() -> None:
    files = resources.files(scripts.__package__).joinpath("lua")
    names = {
        entry.name.removesuffix(".lua") for entry in files.iterdir() if entry.name.endswith(".lua")
    }
    assert set(scripts.load()) == names
    for script in scripts.load().values():
        flags = "#!lua" if script.name in REFUSABLE else "#!lua flags="
        assert script.text.partition("\n")[0].startswith(flags)
        assert script.digest == hashlib.sha1(script.text.encode()).hexdigest()  # noqa: S324 - Redis


def test_only_what_adds_jobs_may_be_refused_at_maxmemory() -> None:
    refusable = {
        script.name
        for script in scripts.load().values()
        if not re.match("#!lua flags=(allow-oom|no-writes)\n", script.text)
    }
    assert refusable == REFUSABLE


def test_what_scripts_share_stands_in_the_place_of_the_line_that_names_it() -> None:
    files = resources.files(scripts.__package__).joinpath("lua")
    shared = files.joinpath("lib", "locks.lua").read_text()
    line = "--@include locks\n"
    including = set()
    for script in scripts.load().values():
        text = files.joinpath(f"{script.name}.lua").read_text()
        assert script.text == text.replace(line, shared)
        assert "--@include" not in script.text
        including |= {script.name} if line in text else set()
    assert including == {"step", "recover", "promote", "remove", "revive"}


def test_the_package_data_names_the_folder_of_every_script() -> None:
    package = Path(str(resources.files("django_jobqueue")))
    folders = {path.parent.relative_to(package) for path in package.rglob("*.lua")}
    assert folders == {Path("store/lua"), Path("store/lua/lib")}
    setup = (package.parent / "setup.cfg").read_text()
    for folder in folders:
        assert f"\n    {folder.as_posix()}/*.lua\n" in setup


def test_without_flags_only_the_first_line_is_missing() -> None:
    for name, script in scripts.load(flags=False).items():
        assert "#!" not in script.text
        assert scripts.load()[name].text.partition("\n")[2] == script.text
        assert script.digest != scripts.load()[name].digest


@pytest.mark.parametrize("flags", [True, False])
@pytest.mark.parametrize("name", VERBS)
def test_each_script_runs_on_a_server_that_never_saw_it(
    redis_server: RedisServer, store: Store, raw: redis.Redis, name: str, flags: bool
) -> None:
    if flags and redis_server.is_redis_6:
        pytest.skip("this server knows no flags")
    store._link._flags = flags
    for _ in range(2):
        raw.script_flush()
        VERBS[name](store)
    assert store._link._flags is flags
    digest = scripts.load(flags=flags)[name].digest
    assert raw.script_exists(digest) == [True]


def test_a_script_is_sent_once_and_called_by_its_digest_then(
    store: Store, raw: redis.Redis
) -> None:
    store.claims.beat(ME, 60.0)  # knows the server by now
    raw.script_flush()
    before = _calls(raw)
    for _ in range(5):
        store.claims.beat(ME, 60.0)
    after = _calls(raw)
    assert after.get("eval", 0) - before.get("eval", 0) == 1
    assert after["evalsha"] - before.get("evalsha", 0) == 5


def test_jobs_go_all_their_ways_while_scripts_are_flushed(
    store: Store, raw: redis.Redis, look: Look
) -> None:
    """Row by row, with the server's memory of scripts wiped before each."""
    store.queues.push({"q": [b"%d" % n for n in range(5)]})
    raw.script_flush()
    claims = store.claims.step(ME, lease=60, batch="b", wanted=5, queues=["q"]).claimed
    raw.script_flush()
    verbs = (RETRY, SNOOZE, BURY)
    moves = [
        Move(verb, claim.field, claim.raw, -10.0)
        for verb, claim in zip(verbs, claims, strict=False)
    ]
    store.claims.step(
        ME, lease=60, batch="c", wanted=0, queues=[], done=[claims[3].field], moves=moves
    )
    raw.script_flush()
    due = store.sets.due()
    assert due.entries == {"schedule": [b"1"], "retry": [b"0"]}
    raw.script_flush()
    store.sets.promote("retry", [Promotion(PUSH, b"0", b"0", "q")])
    store.claims.declare_dead(ME)
    raw.script_flush()
    store.claims.recover(ME, [Move(BACK, claims[4].field, b"4", queue="q")])
    assert list(look().jobs()) == [
        ("queue q", b"0"), ("queue q", b"4"), ("dead", b"2"), ("schedule", b"1"),
    ]  # fmt: skip


def unflagged(*, flags: bool = True) -> Mapping[str, Script]:
    """Redis 6.2 fails to compile the first line; here a line before it has the same effect."""
    loaded = scripts.load(flags=flags)
    if not flags:
        return loaded
    texts = {name: "\n" + script.text for name, script in loaded.items()}
    return {
        name: Script(name, text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())
        for name, text in texts.items()
    }


def test_a_server_that_does_not_know_flags_gets_the_scripts_without(
    store: Store, look: Look
) -> None:
    store._link._verbs = unflagged
    store.queues.push({"q": [b"1"]})
    for name, verb in VERBS.items():
        if name != "leave":
            verb(store)
    assert store._link._flags is False
    assert look().claims == {ME: {"b:1:q": b"1"}}


def test_threads_that_learn_at_once_that_there_are_no_flags_are_all_served(
    redis_server: RedisServer, key_prefix: str
) -> None:
    """In the middle of the first call another thread learns it: the call is still made again."""
    store = Store(redis_server.url, prefix=key_prefix, timeout=20.0)
    store._link._verbs = unflagged
    everybody_is_here = threading.Barrier(20)

    def beat(number: int) -> bool:
        everybody_is_here.wait(timeout=60)
        return store.claims.join(f"host:{number}:abc", 60.0)

    with closing(store), ThreadPoolExecutor(20) as threads:
        assert list(threads.map(beat, range(20))) == [True] * 20
        assert len(store.claims.leases()) == 20
    assert store._link._flags is False


# At maxmemory ----------------------------------------------------------------


@pytest.mark.parametrize("flags", [True, False], ids=["flags", "without flags"])
def test_a_full_redis_is_worked_empty(
    private_redis: Callable[..., RedisServer], flags: bool
) -> None:
    server = private_redis()
    store = Store(server.url, prefix="t:", timeout=10.0)
    store._link._flags = flags
    jobs = [b"%d" % n for n in range(10)]
    store.queues.push({"q": jobs}, [(1.0, b"scheduled")])
    store.claims.join("dead", 60.0)
    (lost,) = store.claims.step("dead", lease=60, batch="b", wanted=1, queues=["q"]).claimed
    with server.client() as client:
        client.config_set("maxmemory", 1)
        with pytest.raises(StoreFull):
            store.queues.push({"q": [b"one more"]})

        assert store.claims.join(ME, 60.0)
        assert not store.claims.beat(ME, 60.0)
        assert store.claims.extend(ME, 60.0)
        assert store.sets.lead("me", 60.0)
        found = store.claims.step(ME, lease=60, batch="b", wanted=5, queues=["q"])
        assert [claim.raw for claim in found.claimed] == jobs[1:6]
        done, *rest = (claim.field for claim in found.claimed)
        moves = [
            Move(verb, field, verb.encode(), 60.0, "q" if verb == BACK else "")
            for verb, field in zip((RETRY, SNOOZE, BURY, BACK), rest, strict=True)
        ]
        step = store.claims.step(
            ME, lease=60, batch="c", wanted=1, queues=["q"], done=[done], moves=moves
        )
        assert (step.refused, step.fenced, len(step.claimed)) == ({}, 0, 1)
        store.claims.declare_dead("dead")
        assert store.claims.recover("dead", [Move(BACK, lost.field, b"0", queue="q")]).moved == 1
        assert store.sets.due().entries["schedule"] == [b"scheduled"]
        promotion = Promotion(PUSH, b"scheduled", b"scheduled", "q")
        assert store.sets.promote("schedule", [promotion]) == (1, {})
        revived = store.sets.revive([Revival(b"bury", b"bury", "q")])
        assert (revived.refused, revived.gone) == ({}, frozenset())
        assert store.claims.leave(ME) == 1
        left = [Move(BACK, claim.field, claim.raw, queue="q") for claim in step.claimed]
        assert store.claims.recover(ME, left).moved == 1
        done_now: list[str] = []
        while done_now or store.queues.sizes(["q"])["q"]:
            step = store.claims.step(
                ME, lease=60, batch="last", wanted=3, queues=["q"], done=done_now
            )
            done_now = [claim.field for claim in step.claimed]

        client.config_set("maxmemory", 0)
        contents = Contents.read(client, "t:")
        assert sorted(contents.sets) == ["retry", "schedule"]
        assert contents.payloads() == [b"retry", b"snooze"]
        # Ten jobs and the scheduled one, of which one was snoozed and one run again after its
        # death; the retry and the death count.
        assert contents.counters["processed"] == 11
    store.close()


def _calls(client: redis.Redis) -> dict[str, int]:
    stats = client.info("commandstats")
    return {name.removeprefix("cmdstat_"): entry["calls"] for name, entry in stats.items()}
