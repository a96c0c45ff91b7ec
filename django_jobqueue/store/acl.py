"""What a Redis user of ours must be allowed, and no more: for its ACL, and to look at the start."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from redis.connection import AbstractConnection
from redis.exceptions import NoPermissionError, RedisError, ResponseError

from django_jobqueue.store.keys import Keys
from django_jobqueue.store.link import Command, Link

#: The commands by what they are for, each with arguments by which it is well-formed; KEY is a
#: key of ours. Those that scripts run stand here too: they run them as the user who calls them.
COMMANDS: dict[str, dict[str, str]] = {
    "connect, find the node, and read the server's version, settings and clock": {
        "cluster|slots": "",
        "info": "server",
        "ping": "",
        "select": "0",
        "time": "",
    },
    "move jobs in one piece": {
        "eval": "return 0",
        "evalsha": "0 0",
        "exec": "",
        "multi": "",
    },
    "queues, and the signals sent to a process": {
        "blmove": "KEY KEY RIGHT RIGHT 1",
        "lindex": "KEY 0",
        "llen": "KEY",
        "lpos": "KEY a",
        "lpush": "KEY a",
        "lrange": "KEY 0 0",
        "lrem": "KEY 1 a",
        "lset": "KEY 0 a",
        "ltrim": "KEY 0 0",
        "rpop": "KEY",
        "rpush": "KEY a",
    },
    "scheduled, retried, dead and held jobs, and the leases": {
        "zadd": "KEY 0 a",
        "zcard": "KEY",
        "zcount": "KEY 0 0",
        "zrange": "KEY 0 0",
        "zrangebyscore": "KEY 0 0",
        "zrank": "KEY a",
        "zrem": "KEY a",
        "zremrangebyrank": "KEY 0 0",
        "zremrangebyscore": "KEY 0 0",
        "zrevrange": "KEY 0 0",
        "zscan": "KEY 0",
        "zscore": "KEY a",
    },
    "claims, process records, kill switches, tombstones and counts": {
        "hdel": "KEY a",
        "hexists": "KEY a",
        "hget": "KEY a",
        "hgetall": "KEY",
        "hincrby": "KEY a 1",
        "hkeys": "KEY",
        "hlen": "KEY",
        "hmget": "KEY a",
        "hset": "KEY a 1",
        "hsetnx": "KEY a 1",
        "hvals": "KEY",
    },
    "the lists of queues, of processes and of what is paused or held": {
        "sadd": "KEY a",
        "scard": "KEY",
        "sismember": "KEY a",
        "smembers": "KEY",
        "smismember": "KEY a",
        "srem": "KEY a",
    },
    "locks of unique jobs, totals, the leader and the epoch": {
        "get": "KEY",
        "incrby": "KEY 1",
        "mget": "KEY",
        "pexpire": "KEY 1",
        "pttl": "KEY",
        "set": "KEY a",
    },
    "histograms": {
        "bitfield": "KEY GET u16 0",
    },
    "let keys run out, find what was left behind, and remove what is ours": {
        "del": "KEY",
        "exists": "KEY",
        "expire": "KEY 1",
        "scan": "0",
        "unlink": "KEY",
    },
}

#: Those that a process needs which only enqueues.
ENQUEUE = frozenset(
    "cluster|slots ping select time eval evalsha exec multi llen lpush zadd zcard hget hgetall "
    "hincrby sadd scard mget set expire".split()
)

#: What the Sentinels are asked, where there are any: they have users of their own.
ON_SENTINEL = frozenset({"sentinel|master"})

#: What is asked and done without where it is refused: it would tell passwords as well.
DONE_WITHOUT = frozenset({"config|get"})

#: What Redis says of a command that is forbidden; of a key it says "access".
_COMMAND = " run the "

#: Keys that are told as examples.
_TOLD = 3


@dataclass(frozen=True, slots=True)
class Missing:
    """The commands that we may not run, and examples of the keys that we may not use."""

    commands: list[str]
    keys: list[str]

    def __bool__(self) -> bool:
        """Return whether anything is missing."""
        return bool(self.commands or self.keys)

    def __str__(self) -> str:
        """Return what is missing, for people."""
        told = [f"the command {name.replace('|', ' ').upper()}" for name in self.commands]
        told += [f"the key {name!r}" for name in self.keys[:_TOLD]]
        more = len(self.keys) - _TOLD
        return ", ".join(told) + (f" and {more} kinds more" if more > 0 else "")


def rules(prefix: str, *, enqueue_only: bool = False) -> list[str]:
    """
    Return the rules of a user for ``ACL SETUSER``: keys, channels and commands.

    Not whether it is on, and no password. With ``enqueue_only`` those of a process
    that pushes and never works, nor shows what is there.
    """
    keys = Keys(prefix)
    patterns = keys.enqueue_patterns if enqueue_only else keys.patterns
    names = sorted(name for name, _ in _all() if not enqueue_only or name in ENQUEUE)
    return [
        "resetkeys",
        *(f"~{pattern}" for pattern in patterns),
        "resetchannels",
        "-@all",
        *(f"+{name}" for name in names),
    ]


class Permissions:
    """Ask what the user that we are may do."""

    def __init__(self, link: Link, keys: Keys) -> None:
        self._link = link
        self._keys = keys

    def missing(self) -> Missing:
        """
        Return what a worker needs and the user may not do. Nothing is run or changed.

        Redis refuses a command already when it is queued in a transaction, and this
        transaction is never executed. Scripts would otherwise find out in the middle.

        Raises: StoreUnavailable, also as AccessDenied when the user is not let in.
        """
        connection = self._link.connection()
        try:
            connection.connect()
            # EXEC is an error before MULTI, and without MULTI the rest would be run.
            before = _replies(connection, [("EXEC",), ("MULTI",)])
            if before[1] != b"OK":
                # Or there are no transactions, as in a Sentinel: others find out.
                return Missing(_denied(("exec", "multi"), before), [])
            keys = self._keys.samples
            commands = _examples(self._keys.unique("nobody"))
            of_commands = _replies(connection, list(commands.values()))
            of_keys = _replies(connection, [("EXISTS", key) for key in keys])
        except (RedisError, OSError) as error:
            raise self._link.failed(error) from error
        finally:
            connection.disconnect()
        missing = _denied(("exec", "multi"), before) + _denied(commands, of_commands)
        barred = zip(keys, map(_refusal, of_keys), strict=True)
        return Missing(missing, [key for key, why in barred if why and _COMMAND not in why])


def _all() -> Iterator[tuple[str, str]]:
    for group in COMMANDS.values():
        yield from group.items()


def _examples(key: str) -> dict[str, Command]:
    """Return every command that can be queued in a transaction, with arguments."""
    return {
        name: (*name.split("|"), *arguments.replace("KEY", key).split())
        for name, arguments in _all()
        if name not in ("exec", "multi")
    }


def _replies(connection: AbstractConnection, commands: Sequence[Command]) -> list[Any]:
    connection.send_packed_command(connection.pack_commands(commands))
    return [_reply(connection) for _ in commands]


def _reply(connection: AbstractConnection) -> Any:
    try:
        return connection.read_response()
    except ResponseError as error:
        return error


def _denied(names: Iterable[str], replies: Sequence[Any]) -> list[str]:
    """Return those of the commands that the user may not run."""
    found = zip(names, map(_refusal, replies), strict=True)
    return [name for name, why in found if _COMMAND in why]


def _refusal(reply: Any) -> str:
    """Return why the user may not, an empty text where that is not the matter."""
    # A refused EXEC tells it in its own words.
    if isinstance(reply, NoPermissionError) or "NOPERM" in str(reply):
        return str(reply)
    return ""
