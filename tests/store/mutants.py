"""
The scripts with one fault each: what the tests of the store must be able to see.

A mutant is made by replacing an exact piece of a script's text. When a script
is rewritten and the piece is gone, making the mutant fails, so that no mutant
silently turns into the original.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from django_jobqueue.store import scripts
from django_jobqueue.store.scripts import Script
from django_jobqueue.store.store import Store


@dataclass(frozen=True, slots=True)
class Mutant:
    """One fault in the script of a verb: each old text, found exactly once, becomes the new."""

    name: str
    verb: str
    changes: tuple[tuple[str, str], ...]

    def verbs(self, *, flags: bool = True) -> Mapping[str, Script]:
        """Return all scripts, this one with its fault."""
        loaded = scripts.load(flags=flags)
        text = loaded[self.verb].text
        for old, new in self.changes:
            found = text.count(old)
            assert found == 1, f"{self.name}: found {found} times in {self.verb}.lua: {old!r}"
            text = text.replace(old, new)
        digest = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
        return {**loaded, self.verb: Script(self.verb, text, digest)}

    def infect(self, store: Store) -> Store:
        """Let a store run the script with the fault."""
        store._link._verbs = self.verbs
        return store


def _mutant(name: str, verb: str, *changes: tuple[str, str]) -> Mutant:
    return Mutant(name, verb, changes)


_STEP_REMOVES = """\
    else
      redis.call('HDEL', claims, field)
      settle_lock(lock, now)"""
_RECOVER_REMOVES = """\
    else
      redis.call('HDEL', claims, field)
      settle_lock(i + 6, math.floor(seconds * 1000))"""
_RECOVER_DROPS_MARK = """\
if left == 1 and redis.call('HEXISTS', claims, 'suspect') == 1 then
  redis.call('HDEL', claims, 'suspect')
  left = 0
end"""

MUTANTS = (
    # step: results
    _mutant(
        "no fence",
        "step",
        ("if redis.call('HEXISTS', claims, field) == 0 then", "if false then"),
        ("redis.call('HGET', claims, field))", "redis.call('HGET', claims, field) or payload)"),
    ),
    _mutant(
        "an ack counts although it was fenced",
        "step",
        ("fenced = acks - processed", "fenced = acks - processed\n  processed = acks"),
    ),
    _mutant(
        "a retried job stays claimed",
        "step",
        (
            _STEP_REMOVES,
            _STEP_REMOVES.replace("redis.call(", "if verb ~= 'retry' then redis.call(").replace(
                "field)\n", "field) end\n"
            ),
        ),
    ),
    _mutant(
        "a result removes the claim before it writes the job",
        "step",
        (
            "local reply = 1\n    if verb == 'retry'",
            "local reply, kept = 1, redis.call('HGET', claims, field)\n"
            "    redis.call('HDEL', claims, field)\n    if verb == 'retry'",
        ),
        ("KEYS[number], redis.call('HGET', claims, field))", "KEYS[number], kept)"),
    ),
    _mutant(
        "a job is given back to the wrong end",
        "step",
        ("reply = redis.pcall('RPUSH', KEYS[number]", "reply = redis.pcall('LPUSH', KEYS[number]"),
    ),
    _mutant(
        "a snooze counts as processed",
        "step",
        ("elseif verb == 'done' or", "elseif verb == 'snooze' or verb == 'done' or"),
    ),
    _mutant(
        "a step does not renew the lease",
        "step",
        (
            "redis.call('ZADD', leases, string.format('%.0f', now + tonumber(ARGV[2])), identity)",
            "if not lease then redis.call('ZADD', leases, now + ARGV[2], identity) end",
        ),
    ),
    # step: claims
    _mutant(
        "a batch is claimed again when it is sent again",
        "step",
        ("if #jobs > 0 and holds_any(name, index, #jobs) then", "if false then"),
    ),
    _mutant(
        "only the first claim tells that a batch is sent again",
        "step",
        ("holds_any(name, index, #jobs)", "holds_any(name, index, 1)"),
    ),
    _mutant(
        "a queue is trimmed before the jobs are claimed",
        "step",
        ("redis.call('HDEL', claims, ARGV[8] == '' and 'suspect' or '')", ""),
        (
            """\
        redis.call('HSET', claims, unpack(fields))
        redis.call('LTRIM', key, 0, -count_here - 1)""",
            """\
        redis.call('LTRIM', key, 0, -count_here - 1)
        redis.call('HSET', claims, unpack(fields))""",
        ),
        (
            "for _, held in ipairs(redis.call('HMGET', claims, unpack(fields))) do",
            "for _, held in ipairs(redis.pcall('HMGET', claims, unpack(fields))) do",
        ),
    ),
    _mutant(
        "a claimed job stays in its queue",
        "step",
        ("redis.call('LTRIM', key, 0, -count_here - 1)", ""),
    ),
    _mutant(
        "jobs are taken from the wrong end",
        "step",
        ("redis.pcall('LRANGE', key, -asked, -1)", "redis.pcall('LRANGE', key, 0, asked - 1)"),
    ),
    _mutant(
        "a pause is not looked at",
        "step",
        ("if is_paused[n] == 1 then", "if false then"),
    ),
    _mutant(
        "the suspect is not marked",
        "step",
        ("redis.call('HSET', claims, 'suspect', ARGV[8])", ""),
    ),
    # recover
    _mutant(
        "a recovery does not look at the lease",
        "recover",
        ("if lease and tonumber(lease) >= math.floor(seconds * 1000) then", "if false then"),
    ),
    _mutant(
        "a recovery does not look whether the claim is still there",
        "recover",
        ("if held and (read == '' or held == read) then", "if true then"),
    ),
    _mutant(
        "a recovery takes what it has not read",
        "recover",
        ("if held and (read == '' or held == read) then", "if held then"),
    ),
    _mutant(
        "a recovery removes the claim before it writes the job",
        "recover",
        ("    local reply\n", "    local reply\n    redis.call('HDEL', claims, field)\n"),
    ),
    _mutant(
        "a recovered job stays claimed",
        "recover",
        (_RECOVER_REMOVES, _RECOVER_REMOVES.replace("redis.call('HDEL', claims, field)\n", "\n")),
    ),
    _mutant(
        "a recovery drops the mark of the suspect early",
        "recover",
        (
            "local left = redis.call('HLEN', claims)",
            "redis.call('HDEL', claims, 'suspect')\nlocal left = redis.call('HLEN', claims)",
        ),
    ),
    _mutant(
        "a recovery never drops the mark of the suspect",
        "recover",
        (_RECOVER_DROPS_MARK, ""),
    ),
    _mutant(
        "a recovery ends the lease while claims are left",
        "recover",
        ("if left == 0 then", "if true then"),
    ),
    # promote
    _mutant(
        "a promotion does not look whether the entry is still there",
        "promote",
        ("if redis.call('ZSCORE', zset, old) then", "if true then"),
    ),
    _mutant(
        "a promotion removes the entry before it writes the job",
        "promote",
        (
            "    local reply, target = 1, nil\n",
            "    local reply, target = 1, nil\n    redis.call('ZREM', zset, old)\n",
        ),
    ),
    _mutant(
        "a promoted entry stays",
        "promote",
        ("if target ~= zset or new ~= old then", "if verb == 'drop' then"),
    ),
    _mutant(
        "an entry put off as it is, is removed",
        "promote",
        ("if target ~= zset or new ~= old then", "if true then"),
    ),
    _mutant(
        "a held entry that is held again is removed",
        "promote",
        ("if target ~= zset or new ~= old then", "if verb ~= 'later' or new ~= old then"),
    ),
    _mutant(
        "a promoted job is held under a class that nobody lists",
        "promote",
        ("redis.pcall('SADD', held, name)", ""),
    ),
    # held jobs
    _mutant(
        "a held job is held under a class that nobody lists",
        "step",
        ("redis.pcall('SADD', KEYS[12], name)", ""),
    ),
    _mutant(
        "a held job counts as processed",
        "step",
        ("elseif verb == 'done' or", "elseif verb == 'held' or verb == 'done' or"),
    ),
    _mutant(
        "a class is forgotten while some of its jobs are held",
        "forget",
        ("if redis.call('EXISTS', KEYS[2]) == 1 then", "if false then"),
    ),
    # pushes of unique jobs
    _mutant(
        "a lock is written before its job",
        "enqueue",
        ("  redis.call('LLEN', KEYS[2 + n])\n", ""),
        (
            "      owners[KEYS[lock]] = jid\n",
            "      owners[KEYS[lock]] = jid\n"
            "      redis.call('SET', KEYS[lock], jid, 'PX', ARGV[i + 5])\n",
        ),
    ),
    _mutant(
        "a page does not see its own repeats",
        "enqueue",
        ("      owners[KEYS[lock]] = jid\n", ""),
    ),
    _mutant(
        "a lock is not looked at",
        "enqueue",
        ("    owners[asked[first + n - 1]] = owner\n", ""),
    ),
    _mutant(
        "a page that is sent again finds its own locks held",
        "enqueue",
        ("if owner ~= jid then", "if true then"),
    ),
    _mutant(
        "who heals does not look at tombstones",
        "enqueue",
        ("elseif lock > 0 and healing and is_cooling", "elseif lock > 0 and false and is_cooling"),
    ),
    _mutant(
        "everybody obeys tombstones",
        "enqueue",
        ("elseif lock > 0 and healing and is_cooling", "elseif lock > 0 and is_cooling"),
    ),
    _mutant(
        "the first of two duplicates is run afterwards",
        "enqueue",
        (
            "redis.call('SET', KEYS[lock + 2], waiting, 'PX', ARGV[i + 5])",
            "redis.call('SET', KEYS[lock + 2], waiting, 'NX', 'PX', ARGV[i + 5])",
        ),
    ),
    _mutant(
        "a job that starts gives up somebody else's lock",
        "start",
        ("if redis.pcall('GET', KEYS[1]) ~= ARGV[1] then", "if false then"),
    ),
    _mutant(
        "a job that starts is run again for what came before",
        "start",
        ("redis.call('DEL', KEYS[2])\n", ""),
    ),
    _mutant(
        "a renewal takes somebody else's lock",
        "renew",
        (
            "if redis.pcall('GET', KEYS[n]) == jid then",
            "if redis.call('SET', KEYS[n], jid, 'XX', 'KEEPTTL') then",
        ),
    ),
    _mutant(
        "a renewal takes a lock again that was given up",
        "renew",
        (
            "if redis.pcall('GET', KEYS[n]) == jid then",
            "redis.call('SET', KEYS[n], jid, 'NX', 'PX', ttl)\n"
            "  if redis.pcall('GET', KEYS[n]) == jid then",
        ),
    ),
    _mutant(
        "a renewal makes a lock shorter",
        "renew",
        ("if left >= 0 and left < tonumber(ttl) then", "if left >= 0 then"),
    ),
    _mutant(
        "a renewal ends the lock of a held job",
        "renew",
        ("if left >= 0 and left < tonumber(ttl) then", "if left < tonumber(ttl) then"),
    ),
    # locks that follow their jobs
    *(
        _mutant(
            f"a lock is freed by a job that does not own it ({verb})",
            verb,
            ("if owner and owner ~= jid then", "if ttl ~= 0 and owner and owner ~= jid then"),
        )
        for verb in ("step", "recover", "promote", "remove")
    ),
    *(
        _mutant(
            f"a lock is taken from its owner ({verb})",
            verb,
            ("if owner and owner ~= jid then", "if ttl == 0 and owner and owner ~= jid then"),
        )
        for verb in ("step", "recover", "promote")
    ),
    _mutant(
        "a retry does not renew the lock",
        "step",
        ("redis.call('SET', KEYS[at], jid, 'PX', ARGV[i + 2])", ""),
    ),
    _mutant(
        "a promotion does not renew the lock",
        "promote",
        ("redis.call('SET', KEYS[at], jid, 'PX', ARGV[i + 2])", ""),
    ),
    _mutant(
        "a recovery frees the lock",
        "recover",
        ("redis.call('SET', KEYS[at], jid, 'PX', ARGV[i + 2])", "redis.call('DEL', KEYS[at])"),
    ),
    *(
        _mutant(
            f"the lock of a held job has an end ({verb})",
            verb,
            (
                "redis.call('SET', KEYS[at], jid)",
                "redis.call('SET', KEYS[at], jid, 'PX', 600000)",
            ),
        )
        for verb in ("step", "promote")
    ),
    *(
        _mutant(
            f"a death does not free the lock ({verb})",
            verb,
            (
                "    redis.call('DEL', KEYS[at])\n",
                "    if cool <= 0 then redis.call('DEL', KEYS[at]) end\n",
            ),
        )
        for verb in ("step", "recover", "remove")
    ),
    _mutant(
        "an entry that is dropped keeps its lock",
        "promote",
        ("    redis.call('DEL', KEYS[at])\n", ""),
    ),
    _mutant(
        "a job that is deleted keeps its lock",
        "remove",
        ("    redis.call('DEL', KEYS[at])\n", ""),
    ),
    _mutant(
        "a success does not clear the tombstone",
        "step",
        ("redis.call('DEL', KEYS[at + 1])", ""),
    ),
    _mutant(
        "the second death cools down no longer than the first",
        "step",
        ("cool * 2 ^ math.min(deaths - 1, 40)", "cool"),
    ),
    _mutant(
        "a row may cool down for ever",
        "step",
        ("math.min(DAY, cool * 2 ^ math.min(deaths - 1, 40))", "cool * 2 ^ (deaths - 1)"),
    ),
    *(
        _mutant(
            f"nothing is run after a death ({verb})",
            verb,
            ("    if queue > 0 then\n", "    if queue > 0 and cool <= 0 then\n"),
        )
        for verb in ("step", "recover")
    ),
    _mutant(
        "what is run afterwards takes no lock",
        "step",
        ("    redis.call('SET', lock, jid, 'PX', ttl)\n", ""),
    ),
    _mutant(
        "what is run afterwards is run for ever",
        "step",
        ("    redis.call('DEL', waiting)\n", ""),
    ),
    _mutant(
        "what waits for the end of a job outlives its removal",
        "remove",
        ("      redis.call('DEL', KEYS[at + 2])\n", ""),
    ),
    # removal
    *(
        _mutant(
            f"a removal does not look whether the job is still there ({kind})",
            "remove",
            ("  if at then\n", f"  if at or kind == '{kind}' then\n"),
            ("redis.call('LSET', place, at,", "redis.pcall('LSET', place, at or '?',"),
            ("note_mark(at)\n    else", "note_mark(at or -1)\n    else"),
        )
        for kind in ("list", "zset")
    ),
    _mutant(
        "a job that is killed is only deleted",
        "remove",
        ("redis.call('ZADD', dead, string.format('%.6f', seconds), ARGV[i + 1])", ""),
    ),
    _mutant(
        "a job leaves its queue before the dead set is known to take it",
        "remove",
        ("  redis.call('ZREMRANGEBYRANK', dead, 1, 0)\n", ""),
        (
            "    if verb == 'kill' then\n      redis.call('ZADD'",
            "    redis.call(kind == 'list' and 'LSET' or 'ZREM', place,"
            " unpack(kind == 'list' and { at, marker } or { ARGV[i] }))\n"
            "    if verb == 'kill' then\n      redis.call('ZADD'",
        ),
    ),
    # revival
    _mutant(
        "a revival does not look whether the job is still dead",
        "revive",
        ("if not redis.call('ZSCORE', dead, old) then", "if false then"),
    ),
    _mutant(
        "a revived job stays dead",
        "revive",
        ("      redis.call('ZREM', dead, old)\n", ""),
    ),
    _mutant(
        "a revival removes the job before its queue is known to take it",
        "revive",
        (
            "  else\n    local reply = redis.pcall('LPUSH'",
            "  else\n    redis.call('ZREM', dead, old)\n    local reply = redis.pcall('LPUSH'",
        ),
    ),
    _mutant(
        "a revival does not look whether a newer job holds the lock",
        "revive",
        ("elseif type(owner) == 'string' and owner ~= ARGV[i + 5] then", "elseif false then"),
    ),
    _mutant(
        "a revived job takes no lock",
        "revive",
        ("      settle_lock(i + 4, now)\n", ""),
    ),
    _mutant(
        "a revived job leaves its row to cool down",
        "revive",
        ("redis.call('DEL', KEYS[lock + 1]) -- the row need not cool down any longer\n", "\n"),
    ),
    _mutant(
        "a job that stays dead clears the tombstone",
        "revive",
        (
            "    owned[#owned + 1] = owner\n",
            "    owned[#owned + 1] = owner\n    redis.call('DEL', KEYS[lock + 1])\n",
        ),
    ),
    # leases
    _mutant(
        "two processes join by one name",
        "beat",
        ("if mode == 'join' and lease >= now then", "if false then"),
    ),
    _mutant(
        "an extension revives the dead",
        "beat",
        ("if mode == 'extend' and lease <= 0 then", "if false then"),
    ),
    _mutant(
        "a beat does not tell that the lease had lapsed",
        "beat",
        ("return lease < now and 1 or 0", "return 0"),
    ),
    _mutant(
        "a process leaves and forgets its claims",
        "leave",
        ("redis.call('ZADD', KEYS[1], 0, identity)", "redis.call('ZREM', KEYS[1], identity)"),
    ),
    _mutant(
        "a process leaves and its lease runs on",
        "leave",
        ("redis.call('ZADD', KEYS[1], 0, identity)", ""),
    ),
    _mutant(
        "anybody prolongs the term of the leader",
        "lead",
        ("if owner == ARGV[1] then", "if owner then"),
    ),
    _mutant(
        "anybody takes the lead",
        "lead",
        ("if owner then\n  return 0\nend", ""),
    ),
)
