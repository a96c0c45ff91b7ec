#!lua flags=allow-oom
-- Take back claims of a dead process, unless the process came back.
--
-- KEYS  1 leases (zset)  2 claims of the dead process (hash)  3 queues (set)
--       4 schedule (zset)  5 dead (zset)  6 counters (hash)
--       7 ... the queues given back to (lists), and the locks of unique jobs
-- ARGV  1 identity  2 entries the dead set may hold  3 seconds they may stay
--       then for each claim eleven: verb, field, number, payload, queue, the
--       payload as it was read ('' to take the claim whatever it is now), and its
--       lock (see lib/locks)
-- Verbs   back (number: index in KEYS of its queue), snooze (number: delay in
--         seconds), bury
-- Returns { claims moved, { field, error, ... } of those that Redis refused },
--         or { -1 } where the lease is alive: hands off.
--
-- A script, because between reading the lease and moving a job the process may
-- renew it.

--@include locks

local leases, claims, queues, schedule, dead, counters =
  KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
redis.call('HDEL', claims, '')

local time = redis.call('TIME')
local seconds = tonumber(time[1]) + tonumber(time[2]) / 1000000
local lease = redis.call('ZSCORE', leases, ARGV[1])
if lease and tonumber(lease) >= math.floor(seconds * 1000) then
  return { -1 }
end

local moved, buried, refused = 0, 0, {}
for i = 4, #ARGV, 11 do
  local verb, field, number, payload = ARGV[i], ARGV[i + 1], tonumber(ARGV[i + 2]), ARGV[i + 3]
  local held, read = redis.call('HGET', claims, field), ARGV[i + 5]
  -- A process that came back and died again may hold another job by that name.
  if held and (read == '' or held == read) then
    local reply
    if verb == 'back' then
      reply = redis.pcall('RPUSH', KEYS[number], payload)
      redis.pcall('SADD', queues, ARGV[i + 4])
    elseif verb == 'snooze' then
      reply = redis.pcall('ZADD', schedule, string.format('%.6f', seconds + number), payload)
    else
      reply = redis.pcall('ZADD', dead, string.format('%.6f', seconds), payload)
      buried = buried + 1
    end
    if type(reply) == 'table' and reply.err then
      refused[#refused + 1] = field
      refused[#refused + 1] = reply.err
    else
      redis.call('HDEL', claims, field)
      settle_lock(i + 6, math.floor(seconds * 1000))
      moved = moved + 1
    end
  end
end

if buried > 0 then
  redis.pcall('ZREMRANGEBYSCORE', dead, '-inf', string.format('(%.6f', seconds - tonumber(ARGV[3])))
  redis.pcall('ZREMRANGEBYRANK', dead, 0, -tonumber(ARGV[2]) - 1)
end
if moved > 0 then
  redis.pcall('HINCRBY', counters, 'recovered', moved)
end
-- The mark of the suspect goes last: who reads half of the claims must still see it.
local left = redis.call('HLEN', claims)
if left == 1 and redis.call('HEXISTS', claims, 'suspect') == 1 then
  redis.call('HDEL', claims, 'suspect')
  left = 0
end
if left == 0 then
  redis.call('ZREM', leases, ARGV[1])
end
return { moved, refused }
