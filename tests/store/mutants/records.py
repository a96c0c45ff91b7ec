"""Faults of the scripts that keep records, not jobs: orders, switches, rates, what is due."""

from __future__ import annotations

from tests.store.mutants.mutant import mutant

MUTANTS = (
    # orders over many jobs
    mutant(
        "two work at one order",
        "bulk",
        (
            "if is_worked and worker ~= token then\n  return 'busy'\nend\nif verb == 'note'",
            "if verb == 'note'",
        ),
    ),
    mutant(
        "who was taken for dead tells on",
        "bulk",
        ("  if worker ~= token then\n    return 'busy'\n  end\n", ""),
    ),
    mutant(
        "an order is left to a dead worker",
        "bulk",
        ("worker ~= '' and seen + tonumber(ARGV[3]) > now", "worker ~= ''"),
    ),
    mutant(
        "an order that has ended is begun again",
        "bulk",
        ("if state == 'done' or state == 'stopped' or state == 'failed' then", "if false then"),
    ),
    mutant(
        "an order that is sent again begins anew",
        "bulk",
        (
            "  if not state then\n    write('state', 'waiting')",
            "  do\n    write('state', 'waiting')",
        ),
    ),
    mutant(
        "a worker does not hear of its stop",
        "bulk",
        ("return is_stopping and 'stop' or 'ok'", "return 'ok'"),
    ),
    mutant(
        "an order at which nobody works is not stopped",
        "bulk",
        ("  if not is_worked then\n", "  if false then\n"),
    ),
    mutant(
        "an order that is to be stopped is begun",
        "bulk",
        (
            "if is_stopping then\n  write('state', 'stopped', 'worker', '')\n  return 'over'\nend",
            "",
        ),
    ),
    mutant(
        "who puts an order off keeps it",
        "bulk",
        ("if verb == 'note' then\n  write('worker', '')", "if verb == 'note' then\n  write()"),
    ),
    mutant(
        "an order that is gone is begun",
        "bulk",
        ("if not state then\n  return 'gone'\nend", ""),
    ),
    mutant(
        "the list of orders has no bound",
        "bulk",
        ("    redis.call('ZREMRANGEBYRANK', list, 0, -tonumber(ARGV[5]) - 1)\n", ""),
    ),
    mutant(
        "a record is kept for ever",
        "bulk",
        ("  redis.call('EXPIRE', record, ARGV[4])\n", ""),
    ),
    # switches
    mutant(
        "switches that somebody else has written are overwritten",
        "switches",
        ("if version ~= ARGV[1] then", "if false then"),
    ),
    mutant(
        "a switch that is off stays on",
        "switches",
        ("  redis.call('HDEL', key, flag)\nend", "end"),
    ),
    mutant(
        "the least difference of switches is not seen",
        "switches",
        ("differs or redis.call('HGET', key, ARGV[n]) ~= ARGV[n + 1]", "differs"),
    ),
    mutant(
        "switches are written although they stand there",
        "switches",
        ("if not differs and #surplus == 0 then", "if false then"),
    ),
    mutant(
        "the version of the switches stays",
        "switches",
        ("(tonumber(version) or 0) + 1", "math.max(1, tonumber(version) or 0)"),
    ),
    # how fast held jobs may go
    mutant(
        "what was allowed is not taken as used",
        "allow",
        ("began, rest - allowed)", "began, rest)"),
    ),
    mutant(
        "a release begins at full speed",
        "allow",
        ("ramp > 0 and math.min(", "false and math.min("),
    ),
    mutant(
        "a release that rested goes on where it was",
        "allow",
        ("if not last or now - last > 10000 or now < last then", "if not last then"),
    ),
    mutant(
        "what was not used is saved up without a bound",
        "allow",
        ("math.max(1, full * part / 10))", "math.huge)"),
    ),
    mutant(
        "more is allowed than was wanted",
        "allow",
        ("math.min(wanted, math.floor(rest))", "math.floor(rest)"),
    ),
    # what is due
    mutant(
        "what is not due is promoted",
        "due",
        ("'-inf', string.format('%.6f', seconds)", "'-inf', '+inf'"),
    ),
    mutant(
        "a set that cannot be read keeps the other from being read",
        "due",
        ("redis.pcall('ZRANGEBYSCORE'", "redis.call('ZRANGEBYSCORE'"),
    ),
    mutant(
        "the latest is taken for the earliest",
        "due",
        ("wait < earliest", "wait > earliest"),
    ),
    mutant(
        "all that is due is read at once",
        "due",
        ("'LIMIT', 0, ARGV[1])", "'LIMIT', 0, -1)"),
    ),
)
