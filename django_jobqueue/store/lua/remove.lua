#!lua flags=allow-oom
-- Take jobs out of the place where they wait, because somebody said so.
--
-- KEYS  1 the place (list or zset)  2 dead (zset)  3 ... for each unique job three:
--       lock, tombstone, what is run afterwards
-- ARGV  1 'list' or 'zset'  2 'delete' or 'kill'  3 entries the dead set may hold
--       4 seconds they may stay, then for each job seven: entry as read, entry for
--       the dead set, and its lock (see lib/locks)
-- Returns { jobs looked at, those of them that were there and are gone }. The other
--         jobs are left to a next call, for this one took long enough.
--
-- A script, because a job and its lock go together, and one that somebody else
-- moved meanwhile is left alone.

--@include locks

-- Entries of a list that one call compares, before it lets others speak: some 10 ms.
local PATIENCE = 200000

local place, dead, kind, verb = KEYS[1], KEYS[2], ARGV[1], ARGV[2]
-- They remove nothing. They prove the types before anything is written, and on Redis
-- 6.2 a write that needs no memory lets the ones after it pass at maxmemory.
if kind == 'list' then
  redis.call('LTRIM', place, 0, -1)
else
  redis.call('ZREMRANGEBYRANK', place, 1, 0)
end
if verb == 'kill' then
  redis.call('ZREMRANGEBYRANK', dead, 1, 0)
end
local time = redis.call('TIME')
local seconds = tonumber(time[1]) + tonumber(time[2]) / 1000000

local compared = 0
local function is_there(entry)
  if kind == 'zset' then
    return redis.call('ZSCORE', place, entry) ~= false
  end
  local length = redis.call('LLEN', place)
  local at = redis.call('LPOS', place, entry, 'RANK', -1)
  compared = compared + (at and 2 * (length - at) or length)
  return at ~= false
end

local looked, gone = 0, 0
for i = 5, #ARGV, 7 do
  if compared > PATIENCE then
    break
  end
  looked = looked + 1
  if is_there(ARGV[i]) then
    if verb == 'kill' then
      redis.call('ZADD', dead, string.format('%.6f', seconds), ARGV[i + 1])
    end
    if kind == 'list' then
      redis.call('LREM', place, -1, ARGV[i])
    else
      redis.call('ZREM', place, ARGV[i])
    end
    settle_lock(i + 2, math.floor(seconds * 1000))
    gone = gone + 1
  end
end
if verb == 'kill' and gone > 0 then
  redis.pcall('ZREMRANGEBYSCORE', dead, '-inf', string.format('(%.6f', seconds - tonumber(ARGV[4])))
  redis.pcall('ZREMRANGEBYRANK', dead, 0, -tonumber(ARGV[3]) - 1)
end
return { looked, gone }
