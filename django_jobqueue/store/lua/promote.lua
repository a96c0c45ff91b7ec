#!lua flags=allow-oom
-- Move due entries out of a sorted set, each only if it is still there.
--
-- KEYS  1 the sorted set  2 queues (set)  3 ... the queues pushed to (lists)
-- ARGV  for each entry five: entry as read, verb, number, entry to write, queue
-- Verbs   push (number: index in KEYS of its queue), later (number: delay in
--         seconds), drop
-- Returns { entries moved, { entry number, error, ... } of those refused }
--
-- A script, because two pollers may read the same entry: only one may move it,
-- and a crash must leave it in one of the two places.

local zset, queues = KEYS[1], KEYS[2]
-- An empty range: it removes nothing. It proves the type before anything is written,
-- and on Redis 6.2 a write that needs no memory lets the ones after it pass at maxmemory.
redis.call('ZREMRANGEBYRANK', zset, 1, 0)
local time = redis.call('TIME')
local seconds = tonumber(time[1]) + tonumber(time[2]) / 1000000

local moved, refused = 0, {}
for i = 1, #ARGV, 5 do
  local old, verb, number, new, queue = ARGV[i], ARGV[i + 1], tonumber(ARGV[i + 2]), ARGV[i + 3], ARGV[i + 4]
  if redis.call('ZSCORE', zset, old) then
    local reply = 1
    if verb == 'push' then
      reply = redis.pcall('LPUSH', KEYS[number], new)
      redis.pcall('SADD', queues, queue)
    elseif verb == 'later' then
      reply = redis.pcall('ZADD', zset, string.format('%.6f', seconds + number), new)
    end
    if type(reply) == 'table' and reply.err then
      refused[#refused + 1] = (i + 4) / 5
      refused[#refused + 1] = reply.err
    else
      if verb ~= 'later' or new ~= old then
        redis.call('ZREM', zset, old)
      end
      moved = moved + 1
    end
  end
end
return { moved, refused }
