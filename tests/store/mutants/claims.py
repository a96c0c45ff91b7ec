"""Faults of the scripts that claim, finish and take back, and of the leases."""

from __future__ import annotations

from tests.store.mutants.mutant import mutant

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
    mutant(
        "no fence",
        "step",
        ("if redis.call('HEXISTS', claims, field) == 0 then", "if false then"),
        ("redis.call('HGET', claims, field))", "redis.call('HGET', claims, field) or payload)"),
    ),
    mutant(
        "an ack counts although it was fenced",
        "step",
        ("fenced = acks - processed", "fenced = acks - processed\n  processed = acks"),
    ),
    mutant(
        "a retried job stays claimed",
        "step",
        (
            _STEP_REMOVES,
            _STEP_REMOVES.replace("redis.call(", "if verb ~= 'retry' then redis.call(").replace(
                "field)\n", "field) end\n"
            ),
        ),
    ),
    mutant(
        "a result removes the claim before it writes the job",
        "step",
        (
            "local reply = 1\n    if verb == 'retry'",
            "local reply, kept = 1, redis.call('HGET', claims, field)\n"
            "    redis.call('HDEL', claims, field)\n    if verb == 'retry'",
        ),
        ("KEYS[number], redis.call('HGET', claims, field))", "KEYS[number], kept)"),
    ),
    mutant(
        "a job is given back to the wrong end",
        "step",
        ("reply = redis.pcall('RPUSH', KEYS[number]", "reply = redis.pcall('LPUSH', KEYS[number]"),
    ),
    mutant(
        "a snooze counts as processed",
        "step",
        ("elseif verb == 'done' or", "elseif verb == 'snooze' or verb == 'done' or"),
    ),
    mutant(
        "a step does not renew the lease",
        "step",
        (
            "redis.call('ZADD', leases, string.format('%.0f', now + tonumber(ARGV[2])), identity)",
            "if not lease then redis.call('ZADD', leases, now + ARGV[2], identity) end",
        ),
    ),
    # step: claims
    mutant(
        "a batch is claimed again when it is sent again",
        "step",
        ("if #jobs > 0 and holds_any(fields) then", "if false then"),
    ),
    mutant(
        "only the first claim tells that a batch is sent again",
        "step",
        ("and holds_any(fields)", "and holds_any({ fields[1] })"),
    ),
    mutant(
        "a queue is trimmed before the jobs are claimed",
        "step",
        ("redis.call('HDEL', claims, ARGV[8] == '' and 'suspect' or '')", ""),
        (
            """\
        redis.call('HSET', claims, unpack(written))
        redis.call('LTRIM', key, 0, -count_here - 1)""",
            """\
        redis.call('LTRIM', key, 0, -count_here - 1)
        redis.call('HSET', claims, unpack(written))""",
        ),
        (
            "for _, held in ipairs(redis.call('HMGET', claims, unpack(fields))) do",
            "for _, held in ipairs(redis.pcall('HMGET', claims, unpack(fields))) do",
        ),
    ),
    mutant(
        "a claimed job stays in its queue",
        "step",
        ("redis.call('LTRIM', key, 0, -count_here - 1)", ""),
    ),
    mutant(
        "jobs are taken from the wrong end",
        "step",
        ("redis.pcall('LRANGE', key, -asked, -1)", "redis.pcall('LRANGE', key, 0, asked - 1)"),
    ),
    mutant(
        "a pause is not looked at",
        "step",
        ("if is_paused[n] == 1 then", "if false then"),
    ),
    mutant(
        "the suspect is not marked",
        "step",
        ("redis.call('HSET', claims, 'suspect', ARGV[8])", ""),
    ),
    # recover
    mutant(
        "a recovery does not look at the lease",
        "recover",
        ("if lease and tonumber(lease) >= math.floor(seconds * 1000) then", "if false then"),
    ),
    mutant(
        "a recovery does not look whether the claim is still there",
        "recover",
        ("if held and (read == '' or held == read) then", "if true then"),
    ),
    mutant(
        "a recovery takes what it has not read",
        "recover",
        ("if held and (read == '' or held == read) then", "if held then"),
    ),
    mutant(
        "a recovery removes the claim before it writes the job",
        "recover",
        ("    local reply\n", "    local reply\n    redis.call('HDEL', claims, field)\n"),
    ),
    mutant(
        "a recovered job stays claimed",
        "recover",
        (_RECOVER_REMOVES, _RECOVER_REMOVES.replace("redis.call('HDEL', claims, field)\n", "\n")),
    ),
    mutant(
        "a recovery drops the mark of the suspect early",
        "recover",
        (
            "local left = redis.call('HLEN', claims)",
            "redis.call('HDEL', claims, 'suspect')\nlocal left = redis.call('HLEN', claims)",
        ),
    ),
    mutant(
        "a recovery never drops the mark of the suspect",
        "recover",
        (_RECOVER_DROPS_MARK, ""),
    ),
    mutant(
        "a recovery ends the lease while claims are left",
        "recover",
        ("if left == 0 then", "if true then"),
    ),
    # leases
    mutant(
        "two processes join by one name",
        "beat",
        ("if mode == 'join' and lease >= now then", "if false then"),
    ),
    mutant(
        "an extension revives the dead",
        "beat",
        ("if mode == 'extend' and lease <= 0 then", "if false then"),
    ),
    mutant(
        "a beat does not tell that the lease had lapsed",
        "beat",
        ("return lease < now and 1 or 0", "return 0"),
    ),
    mutant(
        "a process leaves and forgets its claims",
        "leave",
        ("redis.call('ZADD', KEYS[1], 0, identity)", "redis.call('ZREM', KEYS[1], identity)"),
    ),
    mutant(
        "a process leaves and its lease runs on",
        "leave",
        ("redis.call('ZADD', KEYS[1], 0, identity)", ""),
    ),
    mutant(
        "anybody prolongs the term of the leader",
        "lead",
        ("if owner == ARGV[1] then", "if owner then"),
    ),
    mutant(
        "anybody takes the lead",
        "lead",
        ("if owner then\n  return 0\nend", ""),
    ),
    # what else they promise
    mutant(
        "a step does not tell that the lease had lapsed",
        "step",
        ("local lapsed = (not lease or tonumber(lease) < now) and 1 or 0", "local lapsed = 0"),
    ),
    mutant(
        "each queue is asked for all that is wanted",
        "step",
        ("        wanted = wanted - count_here\n", "        room = 0\n"),
    ),
    mutant(
        "a queue that cannot be read is not told of",
        "step",
        ("        broken[#broken + 1] = n\n        broken[#broken + 1] = jobs.err\n", ""),
    ),
    mutant(
        "a death does not count as a failure",
        "step",
        (
            "if verb == 'retry' or verb == 'bury' or verb == 'forget' then",
            "if verb == 'retry' or verb == 'forget' then",
        ),
    ),
    mutant(
        "a recovered job is the last of its queue",
        "recover",
        (
            "redis.pcall('RPUSH', KEYS[number], payload)",
            "redis.pcall('LPUSH', KEYS[number], payload)",
        ),
    ),
    mutant(
        "a job that kills its workers never dies",
        "recover",
        (
            "reply = redis.pcall('ZADD', dead, string.format('%.6f', seconds), payload)",
            "reply = redis.pcall('ZADD', schedule, string.format('%.6f', seconds), payload)",
        ),
    ),
    mutant(
        "a recovery is not counted",
        "recover",
        ("  redis.pcall('HINCRBY', counters, 'recovered', moved)\n", ""),
    ),
    mutant(
        "nobody knows the queue of a recovered job",
        "recover",
        ("      redis.pcall('SADD', queues, ARGV[i + 4])\n", ""),
    ),
    mutant(
        "a process that is gone is declared dead",
        "beat",
        (
            "redis.call('ZADD', leases, 'XX', 0, identity)",
            "redis.call('ZADD', leases, 0, identity)",
        ),
    ),
    mutant(
        "a beat does not renew the lease",
        "beat",
        (
            "redis.call('ZADD', leases, string.format('%.0f', now + tonumber(ARGV[2])), identity)",
            "redis.call('ZADD', leases, 'NX', now + tonumber(ARGV[2]), identity)",
        ),
    ),
    mutant(
        "a process leaves and its suspect stays marked",
        "leave",
        ("redis.call('HDEL', KEYS[2], 'suspect')\n", ""),
    ),
    mutant(
        "a process leaves and its record stays",
        "leave",
        ("redis.pcall('SREM', KEYS[3], identity)\n", ""),
    ),
    mutant(
        "a leader leads for ever",
        "lead",
        (
            "redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])",
            "redis.call('SET', KEYS[1], ARGV[1])",
        ),
    ),
)
