#!lua flags=allow-oom
-- Let dead jobs run once more, each only if it is still dead and no newer job does its work.
--
-- KEYS  1 dead (zset)  2 queues (set)  3 ... the queues pushed to (lists), and the locks
--       of unique jobs
-- ARGV  for each job nine: entry as read, entry to write, index in KEYS of its queue,
--       the queue's name, and its lock (see lib/locks)
-- Returns { { job number, jid of the owner, ... } of those whose lock another job holds,
--           { job number, error, ... } of those that Redis refused,
--           { job number, ... } of those that were not there }
--
-- A script, because a dead job has given its lock up: between the look at it and the
-- push somebody else may push the same, and a crash must leave the job in one place.

--@include locks

local dead, queues = KEYS[1], KEYS[2]
-- An empty range: it removes nothing. It proves the type before anything is written,
-- and on Redis 6.2 a write that needs no memory lets the ones after it pass at maxmemory.
redis.call('ZREMRANGEBYRANK', dead, 1, 0)
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)

local owned, refused, gone = {}, {}, {}
for i = 1, #ARGV, 9 do
  local number, old, lock = (i + 8) / 9, ARGV[i], tonumber(ARGV[i + 4])
  local owner = lock > 0 and redis.pcall('GET', KEYS[lock])
  if not redis.call('ZSCORE', dead, old) then
    gone[#gone + 1] = number
  elseif type(owner) == 'string' and owner ~= ARGV[i + 5] then
    owned[#owned + 1] = number
    owned[#owned + 1] = owner
  else
    local reply = redis.pcall('LPUSH', KEYS[tonumber(ARGV[i + 2])], ARGV[i + 1])
    if type(reply) == 'table' and reply.err then
      refused[#refused + 1] = number
      refused[#refused + 1] = reply.err
    else
      redis.pcall('SADD', queues, ARGV[i + 3])
      redis.call('ZREM', dead, old)
      settle_lock(i + 4, now)
      if lock > 0 then
        redis.call('DEL', KEYS[lock + 1]) -- the row need not cool down any longer
      end
    end
  end
end
return { owned, refused, gone }
