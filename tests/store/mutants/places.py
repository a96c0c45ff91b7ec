"""Faults of the scripts that move jobs from one place to another, by time or by hand."""

from __future__ import annotations

from tests.store.mutants.mutant import mutant

MUTANTS = (
    # promote
    mutant(
        "a promotion does not look whether the entry is still there",
        "promote",
        ("if redis.call('ZSCORE', zset, old) then", "if true then"),
    ),
    mutant(
        "a promotion removes the entry before it writes the job",
        "promote",
        (
            "    local reply, target = 1, nil\n",
            "    local reply, target = 1, nil\n    redis.call('ZREM', zset, old)\n",
        ),
    ),
    mutant(
        "a promoted entry stays",
        "promote",
        ("if target ~= zset or new ~= old then", "if verb == 'drop' then"),
    ),
    mutant(
        "an entry put off as it is, is removed",
        "promote",
        ("if target ~= zset or new ~= old then", "if true then"),
    ),
    mutant(
        "a held entry that is held again is removed",
        "promote",
        ("if target ~= zset or new ~= old then", "if verb ~= 'later' or new ~= old then"),
    ),
    mutant(
        "a promoted job is held under a class that nobody lists",
        "promote",
        ("redis.pcall('SADD', held, name)", ""),
    ),
    # held jobs
    mutant(
        "a held job is held under a class that nobody lists",
        "step",
        ("redis.pcall('SADD', KEYS[12], name)", ""),
    ),
    mutant(
        "a held job counts as processed",
        "step",
        ("elseif verb == 'done' or", "elseif verb == 'held' or verb == 'done' or"),
    ),
    mutant(
        "a class is forgotten while some of its jobs are held",
        "forget",
        ("if redis.call('EXISTS', KEYS[2]) == 1 then", "if false then"),
    ),
    # removal
    *(
        mutant(
            f"a removal does not look whether the job is still there ({kind})",
            "remove",
            ("  if at then\n", f"  if at or kind == '{kind}' then\n"),
            ("redis.call('LSET', place, at,", "redis.pcall('LSET', place, at or '?',"),
            ("note_mark(at)\n    else", "note_mark(at or -1)\n    else"),
        )
        for kind in ("list", "zset")
    ),
    mutant(
        "a job that is killed is only deleted",
        "remove",
        ("redis.call('ZADD', dead, string.format('%.6f', seconds), ARGV[i + 1])", ""),
    ),
    mutant(
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
    mutant(
        "a revival does not look whether the job is still dead",
        "revive",
        ("if not redis.call('ZSCORE', dead, old) then", "if false then"),
    ),
    mutant(
        "a revived job stays dead",
        "revive",
        ("      redis.call('ZREM', dead, old)\n", ""),
    ),
    mutant(
        "a revival removes the job before its queue is known to take it",
        "revive",
        (
            "  else\n    local reply = redis.pcall('LPUSH'",
            "  else\n    redis.call('ZREM', dead, old)\n    local reply = redis.pcall('LPUSH'",
        ),
    ),
    mutant(
        "a revival does not look whether a newer job holds the lock",
        "revive",
        ("elseif type(owner) == 'string' and owner ~= ARGV[i + 5] then", "elseif false then"),
    ),
    mutant(
        "a revived job takes no lock",
        "revive",
        ("      settle_lock(i + 4, now)\n", ""),
    ),
    mutant(
        "a revived job leaves its row to cool down",
        "revive",
        ("redis.call('DEL', KEYS[lock + 1]) -- the row need not cool down any longer\n", "\n"),
    ),
    mutant(
        "a job that stays dead clears the tombstone",
        "revive",
        (
            "    owned[#owned + 1] = owner\n",
            "    owned[#owned + 1] = owner\n    redis.call('DEL', KEYS[lock + 1])\n",
        ),
    ),
    # what else they promise
    mutant(
        "a promoted job is the next of its queue",
        "promote",
        ("redis.pcall('LPUSH', KEYS[number], new)", "redis.pcall('RPUSH', KEYS[number], new)"),
    ),
    mutant(
        "nobody knows the queue of a promoted job",
        "promote",
        ("      redis.pcall('SADD', queues, name)\n", ""),
    ),
    mutant(
        "nobody knows the queue of a revived job",
        "revive",
        ("      redis.pcall('SADD', queues, ARGV[i + 3])\n", ""),
    ),
    mutant(
        "a class of which nothing is held stays on the list",
        "forget",
        ("return redis.call('SREM', KEYS[1], ARGV[1])", "return 0"),
    ),
    mutant(
        "a job is removed by its place, whoever stands there by now",
        "remove",
        (
            "local at = take_near(entry)\n  moved = at and at - told or moved\n",
            "local at = expected\n",
        ),
    ),
    mutant(
        "removed jobs leave their marks in the queue",
        "remove",
        (
            "length + nearest < -deepest and marked or -marked",
            "length + nearest < -deepest and 1 or -1",
        ),
    ),
    mutant(
        "the same place is marked for two that are alike",
        "remove",
        ("return places and table.remove(places)", "return places and places[#places]"),
    ),
)
