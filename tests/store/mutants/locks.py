"""Faults of the pushes of unique jobs, and of the locks that follow them."""

from __future__ import annotations

from tests.store.mutants.mutant import mutant

MUTANTS = (
    # pushes of unique jobs
    mutant(
        "a lock is written before its job",
        "enqueue",
        ("  redis.call('LLEN', KEYS[2 + n])\n", ""),
        (
            "      owners[KEYS[lock]] = jid\n",
            "      owners[KEYS[lock]] = jid\n"
            "      redis.call('SET', KEYS[lock], jid, 'PX', ARGV[i + 5])\n",
        ),
    ),
    mutant(
        "a page does not see its own repeats",
        "enqueue",
        ("      owners[KEYS[lock]] = jid\n", ""),
    ),
    mutant(
        "a lock is not looked at",
        "enqueue",
        ("    owners[asked[first + n - 1]] = owner\n", ""),
    ),
    mutant(
        "a page that is sent again finds its own locks held",
        "enqueue",
        ("if owner ~= jid then", "if true then"),
    ),
    mutant(
        "who heals does not look at tombstones",
        "enqueue",
        ("elseif lock > 0 and healing and is_cooling", "elseif lock > 0 and false and is_cooling"),
    ),
    mutant(
        "everybody obeys tombstones",
        "enqueue",
        ("elseif lock > 0 and healing and is_cooling", "elseif lock > 0 and is_cooling"),
    ),
    mutant(
        "the first of two duplicates is run afterwards",
        "enqueue",
        (
            "redis.call('SET', KEYS[lock + 2], waiting, 'PX', ARGV[i + 5])",
            "redis.call('SET', KEYS[lock + 2], waiting, 'NX', 'PX', ARGV[i + 5])",
        ),
    ),
    mutant(
        "a job that starts gives up somebody else's lock",
        "start",
        ("if redis.pcall('GET', KEYS[1]) ~= ARGV[1] then", "if false then"),
    ),
    mutant(
        "a job that starts is run again for what came before",
        "start",
        ("redis.call('DEL', KEYS[2])\n", ""),
    ),
    mutant(
        "a renewal takes somebody else's lock",
        "renew",
        (
            "if redis.pcall('GET', KEYS[n]) == jid then",
            "if redis.call('SET', KEYS[n], jid, 'XX', 'KEEPTTL') then",
        ),
    ),
    mutant(
        "a renewal takes a lock again that was given up",
        "renew",
        (
            "if redis.pcall('GET', KEYS[n]) == jid then",
            "redis.call('SET', KEYS[n], jid, 'NX', 'PX', ttl)\n"
            "  if redis.pcall('GET', KEYS[n]) == jid then",
        ),
    ),
    mutant(
        "a renewal makes a lock shorter",
        "renew",
        ("if left >= 0 and left < tonumber(ttl) then", "if left >= 0 then"),
    ),
    mutant(
        "a renewal ends the lock of a held job",
        "renew",
        ("if left >= 0 and left < tonumber(ttl) then", "if left < tonumber(ttl) then"),
    ),
    # locks that follow their jobs
    *(
        mutant(
            f"a lock is freed by a job that does not own it ({verb})",
            verb,
            ("if owner and owner ~= jid then", "if ttl ~= 0 and owner and owner ~= jid then"),
        )
        for verb in ("step", "recover", "promote", "remove")
    ),
    *(
        mutant(
            f"a lock is taken from its owner ({verb})",
            verb,
            ("if owner and owner ~= jid then", "if ttl == 0 and owner and owner ~= jid then"),
        )
        for verb in ("step", "recover", "promote")
    ),
    mutant(
        "a retry does not renew the lock",
        "step",
        ("redis.call('SET', KEYS[at], jid, 'PX', ARGV[i + 2])", ""),
    ),
    mutant(
        "a promotion does not renew the lock",
        "promote",
        ("redis.call('SET', KEYS[at], jid, 'PX', ARGV[i + 2])", ""),
    ),
    mutant(
        "a recovery frees the lock",
        "recover",
        ("redis.call('SET', KEYS[at], jid, 'PX', ARGV[i + 2])", "redis.call('DEL', KEYS[at])"),
    ),
    *(
        mutant(
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
        mutant(
            f"a death does not free the lock ({verb})",
            verb,
            (
                "    redis.call('DEL', KEYS[at])\n",
                "    if cool <= 0 then redis.call('DEL', KEYS[at]) end\n",
            ),
        )
        for verb in ("step", "recover", "remove")
    ),
    mutant(
        "an entry that is dropped keeps its lock",
        "promote",
        ("    redis.call('DEL', KEYS[at])\n", ""),
    ),
    mutant(
        "a job that is deleted keeps its lock",
        "remove",
        ("    redis.call('DEL', KEYS[at])\n", ""),
    ),
    mutant(
        "a success does not clear the tombstone",
        "step",
        ("redis.call('DEL', KEYS[at + 1])", ""),
    ),
    mutant(
        "the second death cools down no longer than the first",
        "step",
        ("cool * 2 ^ math.min(deaths - 1, 40)", "cool"),
    ),
    mutant(
        "a row may cool down for ever",
        "step",
        ("math.min(DAY, cool * 2 ^ math.min(deaths - 1, 40))", "cool * 2 ^ (deaths - 1)"),
    ),
    *(
        mutant(
            f"nothing is run after a death ({verb})",
            verb,
            ("    if queue > 0 then\n", "    if queue > 0 and cool <= 0 then\n"),
        )
        for verb in ("step", "recover")
    ),
    mutant(
        "what is run afterwards takes no lock",
        "step",
        ("    redis.call('SET', lock, jid, 'PX', ttl)\n", ""),
    ),
    mutant(
        "what is run afterwards is run for ever",
        "step",
        ("    redis.call('DEL', waiting)\n", ""),
    ),
    mutant(
        "what waits for the end of a job outlives its removal",
        "remove",
        ("      redis.call('DEL', KEYS[at + 2])\n", ""),
    ),
    # what else they promise
    mutant(
        "nobody knows the queue of a unique job",
        "enqueue",
        ("    redis.call('SADD', queues, ARGV[2 + n])\n", "\n"),
    ),
    mutant(
        "a tombstone that is over forbids for ever",
        "enqueue",
        ("(tonumber(till) or 0) > now", "tonumber(till) ~= nil"),
    ),
    mutant(
        "a page is written without its locks",
        "enqueue",
        ("    redis.call('SET', KEYS[lock], ARGV[i + 4], 'PX', ARGV[i + 5])\n", "\n"),
    ),
    mutant(
        "what is scheduled runs now",
        "enqueue",
        ("      later[#later + 1] = ARGV[i + 2]\n", "      later[#later + 1] = 0\n"),
    ),
    mutant(
        "a job that is unique until it starts keeps its lock",
        "start",
        ("if ARGV[2] == '1' then", "if false then"),
    ),
    mutant(
        "somebody else's lock is given up by hand",
        "unlock",
        ("if redis.pcall('GET', KEYS[1]) ~= ARGV[1] then", "if false then"),
    ),
    mutant(
        "a lock is not given up by hand",
        "unlock",
        ("return redis.call('DEL', KEYS[1])", "return 1"),
    ),
    mutant(
        "a key that is no lock is given up by hand",
        "unlock",
        (
            "if redis.pcall('GET', KEYS[1]) ~= ARGV[1] then",
            "local owner = redis.pcall('GET', KEYS[1])\n"
            "if type(owner) == 'string' and owner ~= ARGV[1] then",
        ),
    ),
)
