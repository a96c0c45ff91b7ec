"""The rights that we ask for are those that we use: none is missing, and none is too much."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from itertools import pairwise
from pathlib import Path

import pytest
import redis
from redis.exceptions import NoPermissionError

import django_jobqueue.store
from django_jobqueue.exceptions import AccessDenied
from django_jobqueue.store import acl
from django_jobqueue.store.acl import COMMANDS, DONE_WITHOUT, ENQUEUE, ON_SENTINEL, rules
from django_jobqueue.store.keys import Keys
from django_jobqueue.store.locks import Lock
from django_jobqueue.store.queues import Push
from django_jobqueue.store.store import Store
from django_jobqueue.store.tally import REFUSED
from tests.support.server import RedisServer

ROOT = Path(django_jobqueue.store.__file__).parent
ALL = {name for group in COMMANDS.values() for name in group}
IDENTITY = "host.name:7:0123456789ab"

#: What redis-py sends by itself: of a database that is not 0.
SENT_BY_REDIS_PY = {"select"}

MakeUser = Callable[..., Store]


@pytest.fixture
def user(redis_server: RedisServer, key_prefix: str) -> Iterator[MakeUser]:
    """Make a store of a user with these rules besides ``rules``, under the prefix of the test."""
    name = f"user-{key_prefix.strip('{}:')}"
    with redis_server.client() as client:
        made: list[Store] = []

        def make(*words: str, enqueue_only: bool = False) -> Store:
            wanted = rules(key_prefix, enqueue_only=enqueue_only)
            client.execute_command("ACL", "SETUSER", name, "reset", "on", ">word", *wanted, *words)
            url = f"redis://{name}:word@127.0.0.1:{redis_server.port}/0"
            made.append(Store(url, prefix=key_prefix, timeout=10.0))
            return made[-1]

        yield make
        for store in made:
            store.close()
        client.execute_command("ACL", "DELUSER", name)


# What is used -----------------------------------------------------------------


def in_python(known: set[str]) -> set[str]:
    """Return every command whose name is spelt out in the store, in capitals."""
    found: set[str] = set()
    for path in ROOT.glob("*.py"):
        tree = ast.parse(path.read_text())
        heads = set()  # of a command of two words, which is found with the other one
        for node in ast.walk(tree):
            words = getattr(node, "elts", None) or getattr(node, "args", None)
            for first, second in pairwise(words if isinstance(words, list) else []):
                if (pair := f"{_name(first)}|{_name(second)}") in known:
                    found.add(pair)
                    heads.add(first)
        names = {_name(node) for node in ast.walk(tree) if node not in heads}
        found |= names & known
    return found


def _name(node: ast.AST) -> str:
    """Return a text in capitals in small letters, and nothing for anything else."""
    text = node.value if isinstance(node, ast.Constant) else None
    return text.lower() if isinstance(text, str) and text.isupper() else ""


def in_lua() -> set[str]:
    """Return every command that a script calls."""
    texts = [path.read_text() for path in ROOT.glob("lua/**/*.lua")]
    calls = [call for text in texts for call in re.findall(r"redis\.p?call\(([^,)]*)", text)]
    names = {call.strip("' ").lower() for call in calls}
    assert all(name.isalpha() for name in names), "a script calls a command by a variable"
    return names


@pytest.fixture(scope="module")
def known(redis_server: RedisServer) -> set[str]:
    """Every command that the server has, with those that have parts."""
    with redis_server.client() as client:
        found: dict[str, object] = client.command()
    return {name.lower() for name in found} | ALL | ON_SENTINEL | DONE_WITHOUT


def test_every_command_that_is_used_is_allowed_and_no_other(known: set[str]) -> None:
    used = in_python(known) | in_lua() | SENT_BY_REDIS_PY
    allowed = ALL | ON_SENTINEL | DONE_WITHOUT
    assert used - allowed == set(), "used, and not in store/acl.py"
    assert allowed - used == set(), "in store/acl.py, and never used"


def test_who_only_enqueues_needs_no_more_than_the_others() -> None:
    assert ALL > ENQUEUE
    assert not {"lrange", "rpop", "blmove", "del", "unlink", "scan", "info"} & ENQUEUE


# The keys ---------------------------------------------------------------------


def test_every_kind_of_key_that_we_name_is_among_the_samples() -> None:
    keys = Keys("p:")
    names = {value for name, value in vars(keys).items() if name not in ("prefix", "_claims")}
    families = {
        keys.queue("x"), keys.claims(IDENTITY), keys.tally("x"), keys.held("x"), keys.unique("x"),
        keys.tombstone("x"), keys.rerun("x"), keys.process(IDENTITY), keys.work(IDENTITY),
        keys.signals(IDENTITY), keys.processed_on("2027-01-31"), keys.failed_on("2027-01-31"),
        keys.executions("270131|8:05"), keys.histogram("A", "31-8:5"), keys.marks("20270131"),
        keys.mark_lock("v 1"),
    }  # fmt: skip
    bare = [name.removeprefix("p:") for name in names | families]
    for name in [*bare, *Keys().samples]:
        assert any(fnmatchcase(name, pattern) for pattern in Keys().patterns), name
        assert Keys().is_ours(name.encode()), name


@pytest.mark.parametrize("name", ["session:1", "celery", "my:7:cache", "queue", "20270131-mark"])
def test_without_a_prefix_the_keys_of_others_stay_out_of_reach(name: str) -> None:
    assert not any(fnmatchcase(name, pattern) for pattern in Keys().patterns)


def test_a_prefix_is_one_pattern_that_matches_no_other() -> None:
    assert Keys("{shop}:").patterns == ["{shop}:*"]
    assert Keys("a*[b]?\\:").patterns == ["a\\*\\[b\\]\\?\\\\:*"]
    assert all(pattern.startswith("a\\*:") for pattern in Keys("a*:").enqueue_patterns)


# The user ---------------------------------------------------------------------


def test_a_user_with_the_rules_lacks_nothing(user: MakeUser) -> None:
    assert not user().permissions.missing()


def test_every_example_is_well_formed(store: Store, key_prefix: str) -> None:
    """Else the server complains of it before it looks at the rights."""
    connection = store._link.connection()
    connection.send_command("MULTI")
    assert connection.read_response() == b"OK"
    for group in COMMANDS.values():
        for name, arguments in group.items():
            if name not in ("exec", "multi"):
                words = arguments.replace("KEY", f"{key_prefix}queues").split()
                connection.send_command(*name.split("|"), *words)
                assert connection.read_response() == b"QUEUED", name
    connection.disconnect()


@pytest.mark.parametrize("name", sorted(ALL))
def test_a_command_that_is_missing_is_named(
    redis_server: RedisServer, user: MakeUser, name: str
) -> None:
    if "|" in name and redis_server.is_redis_6:
        pytest.skip("this server can give a subcommand, and take none away")
    found = user(f"-{name}").permissions.missing()
    assert (found.commands, found.keys) == ([name], [])
    assert name.replace("|", " ").upper() in str(found)


def test_keys_that_are_out_of_reach_are_named(user: MakeUser, key_prefix: str) -> None:
    found = user("resetkeys", f"~{key_prefix}queue*").permissions.missing()
    assert found.commands == []
    assert f"{key_prefix}schedule" in found.keys
    assert f"{key_prefix}queue:default" not in found.keys
    assert f"the key '{key_prefix}schedule'" in str(found)


def test_to_look_changes_nothing(
    user: MakeUser, store: Store, raw: redis.Redis, key_prefix: str
) -> None:
    store.queues.push({"default": [b"a", b"b"]})
    store.claims.join(IDENTITY, 60.0)
    before = {key: raw.dump(key) for key in raw.scan_iter(match=f"{key_prefix}*")}
    assert not user().permissions.missing()
    assert not store.permissions.missing()
    assert {key: raw.dump(key) for key in raw.scan_iter(match=f"{key_prefix}*")} == before


def test_without_a_transaction_nothing_else_is_asked(user: MakeUser, raw: redis.Redis) -> None:
    """It would be run, not queued."""
    store = user("-multi")
    raw.lpush(store.keys.queues, "a list")
    assert store.permissions.missing().commands == ["multi"]
    assert raw.lrange(store.keys.queues, 0, -1) == [b"a list"]


def test_a_user_who_is_not_let_in_is_told(redis_server: RedisServer) -> None:
    store = Store(f"redis://nobody:secret-word@127.0.0.1:{redis_server.port}/0")
    with pytest.raises(AccessDenied) as caught:
        store.permissions.missing()
    assert "secret-word" not in f"{caught.value!r} {caught.value.__cause__!r}"


def test_what_is_missing_is_missing_in_a_script_too(user: MakeUser) -> None:
    store = user("-zscore")
    with pytest.raises(AccessDenied):
        store.claims.step(IDENTITY, lease=60.0, batch="1", wanted=1, queues=["default"])


# The user that only enqueues --------------------------------------------------


def test_who_only_enqueues_can_enqueue(user: MakeUser, store: Store) -> None:
    web = user(enqueue_only=True)
    web.queues.push({"default": [b"a"], "low": [b"b"]}, [(9e9, b"c")])
    lock = Lock("a" * 32, "1" * 24, 60.0, rerun=True)
    jobs = [
        Push("default", b"d", None, lock),
        Push("low", b"e", 9e9, Lock("b" * 32, "2" * 24, 60.0)),
    ]
    assert web.queues.push_unique(jobs) == {}
    assert web.queues.push_unique(
        [Push("low", b"f", None, Lock("a" * 32, "3" * 24, 9.0, rerun=True))]
    )
    web.queues.push_unique([Push("low", b"g", None, Lock("c" * 32, "4" * 24, 60.0))], healing=True)
    web.tally.add(REFUSED, {"A": 2})
    assert web.switches.read() is None
    web.ping()
    assert store.queues.page("default") == [b"a", b"d"]
    assert store.tally.last() == {"A": {REFUSED: 2}}


@pytest.mark.parametrize(
    "command",
    [
        "LRANGE {}queue:default 0 -1", "RPOP {}queue:default", "DEL {}queue:default",
        "ZRANGE {}schedule 0 -1", "HGETALL {}jq:claims:x", "LPUSH {}retry x", "HGET {}jq:leases x",
        "FLUSHALL", "KEYS *", "SCAN 0", "CONFIG GET requirepass", "INFO", "SHUTDOWN",
        "ACL LIST", "CLIENT LIST", "PUBLISH a b", "MONITOR",
    ],
)  # fmt: skip
def test_who_only_enqueues_sees_and_takes_no_job(
    user: MakeUser, key_prefix: str, redis_server: RedisServer, command: str
) -> None:
    name = user(enqueue_only=True)._url.partition("//")[2].partition(":")[0]
    words = command.replace("{}", key_prefix).split()
    client = redis_server.client(username=name, password="word")
    with client, pytest.raises(NoPermissionError):
        client.execute_command(*words)


@pytest.mark.parametrize(
    "command",
    ["FLUSHALL", "KEYS *", "CONFIG GET requirepass", "SHUTDOWN", "ACL LIST", "CLIENT KILL ID 0",
     "GET session:1", "PUBLISH a b", "MONITOR", "REPLICAOF NO ONE"],
)  # fmt: skip
def test_a_worker_rules_over_nothing_else(
    user: MakeUser, redis_server: RedisServer, command: str
) -> None:
    name = user()._url.partition("//")[2].partition(":")[0]
    client = redis_server.client(username=name, password="word")
    with client, pytest.raises(NoPermissionError):
        client.execute_command(*command.split())


def test_the_names_of_commands_are_those_that_redis_knows(known: set[str]) -> None:
    assert {name.partition("|")[0] for name in ALL} <= known
    assert acl.rules("")[0] == "resetkeys"
