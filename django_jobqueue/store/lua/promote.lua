#!lua flags=allow-oom
-- Move due entries out of a sorted set, each only if it is still there.
--
-- KEYS  1 the sorted set  2 queues (set)  3 classes of which jobs are held (set)
--       4 ... the queues pushed to (lists), held sets, locks of unique jobs
-- ARGV  for each entry ten: entry as read, verb, number, entry to write, name, and
--       its lock (see lib/locks)
-- Verbs   push (number: index in KEYS of its queue; name: the queue's), later
--         (number: delay in seconds), held (number: index in KEYS of the held set,
--         a zset; name: its class), drop
-- Returns { entries moved, { entry number, error, ... } of those refused }
--
-- A script, because two pollers may read the same entry: only one may move it,
-- and a crash must leave it in one of the two places.

--@include locks

local zset, queues, held = KEYS[1], KEYS[2], KEYS[3]
-- An empty range: it removes nothing. It proves the type before anything is written,
-- and on Redis 6.2 a write that needs no memory lets the ones after it pass at maxmemory.
redis.call('ZREMRANGEBYRANK', zset, 1, 0)
local time = redis.call('TIME')
local seconds = tonumber(time[1]) + tonumber(time[2]) / 1000000

local moved, refused = 0, {}
for i = 1, #ARGV, 10 do
  local old, verb, number, new, name = ARGV[i], ARGV[i + 1], tonumber(ARGV[i + 2]), ARGV[i + 3], ARGV[i + 4]
  if redis.call('ZSCORE', zset, old) then
    local reply, target = 1, nil
    if verb == 'push' then
      reply = redis.pcall('LPUSH', KEYS[number], new)
      redis.pcall('SADD', queues, name)
    elseif verb == 'held' then
      target = KEYS[number]
      -- A microsecond apart: they are to go again in this order.
      reply = redis.pcall('ZADD', target, string.format('%.6f', seconds + moved / 1e6), new)
      redis.pcall('SADD', held, name)
    elseif verb == 'later' then
      target = zset
      reply = redis.pcall('ZADD', target, string.format('%.6f', seconds + number), new)
    end
    if type(reply) == 'table' and reply.err then
      refused[#refused + 1] = (i + 9) / 10
      refused[#refused + 1] = reply.err
    else
      if target ~= zset or new ~= old then
        redis.call('ZREM', zset, old)
      end
      settle_lock(i + 5, math.floor(seconds * 1000))
      moved = moved + 1
    end
  end
end
return { moved, refused }
