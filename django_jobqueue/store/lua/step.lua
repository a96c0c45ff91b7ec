#!lua flags=allow-oom
-- Finish a batch of jobs and claim the next one, in one round trip.
--
-- KEYS  1 leases (zset)  2 claims of this process (hash)  3 paused (set)
--       4 counters (hash)  5 retry (zset)  6 schedule (zset)  7 dead (zset)
--       8 processed  9 failed  10, 11 the same of today (strings)
--       12 classes of which jobs are held (set)
--       13 ... the queues to claim from, in order (lists), then what the results name
-- ARGV  1 identity  2 lease in ms  3 batch  4 jobs wanted  5 bytes wanted
--       6 entries the dead set may hold  7 seconds they may stay
--       8 field of the suspect that runs or is about to, '' for none
--       9 number Q of queues to claim from, then their Q names
--       then the number A of claims that succeeded, then their A fields
--       then for each other claim ten: verb, field, number, payload, name, and
--       its lock (see lib/locks)
-- Verbs   done, retry, snooze (number: delay in seconds), bury, forget,
--         back (number: index in KEYS of its queue), held (number: index in KEYS of
--         the held set, a zset; name: its class), and dropped, skipped, expired,
--         discarded, which end a job.
-- Returns { 1 where the lease had lapsed, results that were not ours any more,
--           { field, error, ... } of results that Redis refused,
--           { queue number, { payload, ... }, ... } of the jobs claimed,
--           { queue number, ... } of queues that are paused,
--           { queue number, error, ... } of queues that cannot be read }
--
-- A script, because a result counts only while its claim is still held, and a
-- job must stand in the claims before it leaves its queue.

--@include locks

local leases, claims, paused, counters = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local retry, schedule, dead = KEYS[5], KEYS[6], KEYS[7]
local FIRST_QUEUE = 13
local identity, batch = ARGV[1], ARGV[3]

-- These two also prove the types before anything is written, and on Redis 6.2 a
-- write that needs no memory lets the ones after it pass at maxmemory.
local lease = redis.call('ZSCORE', leases, identity)
redis.call('HDEL', claims, ARGV[8] == '' and 'suspect' or '')

local time = redis.call('TIME')
local seconds = tonumber(time[1]) + tonumber(time[2]) / 1000000
local now = math.floor(seconds * 1000)
local lapsed = (not lease or tonumber(lease) < now) and 1 or 0
redis.call('ZADD', leases, string.format('%.0f', now + tonumber(ARGV[2])), identity)

local i = 9
local queues = {}
for n = 1, tonumber(ARGV[i]) do
  queues[n] = ARGV[i + n]
end
i = i + #queues + 1

-- Those that are counted elsewhere.
local UNCOUNTED = { done = true, retry = true, held = true, dropped = true }
local processed, failed, fenced = 0, 0, 0
local refused, stopped = {}, 0

local acks = tonumber(ARGV[i])
if acks > 0 then
  processed = redis.call('HDEL', claims, unpack(ARGV, i + 1, i + acks))
  fenced = acks - processed
end
i = i + acks + 1

while i <= #ARGV do
  local verb, field, number, payload = ARGV[i], ARGV[i + 1], tonumber(ARGV[i + 2]), ARGV[i + 3]
  local name, lock = ARGV[i + 4], i + 5
  i = i + 10
  if redis.call('HEXISTS', claims, field) == 0 then
    fenced = fenced + 1
  else
    local reply = 1
    if verb == 'retry' then
      reply = redis.pcall('ZADD', retry, string.format('%.6f', seconds + number), payload)
    elseif verb == 'snooze' then
      reply = redis.pcall('ZADD', schedule, string.format('%.6f', seconds + number), payload)
    elseif verb == 'bury' then
      reply = redis.pcall('ZADD', dead, string.format('%.6f', seconds), payload)
    elseif verb == 'back' then
      reply = redis.pcall('RPUSH', KEYS[number], redis.call('HGET', claims, field))
    elseif verb == 'held' then
      -- A microsecond apart: they are to go again in this order.
      stopped = stopped + 1
      reply = redis.pcall('ZADD', KEYS[number], string.format('%.6f', seconds + stopped / 1e6), payload)
      redis.pcall('SADD', KEYS[12], name)
    end
    if type(reply) == 'table' and reply.err then
      refused[#refused + 1] = field
      refused[#refused + 1] = reply.err
    else
      redis.call('HDEL', claims, field)
      settle_lock(lock, now)
      if verb == 'retry' or verb == 'bury' or verb == 'forget' then
        processed = processed + 1
        failed = failed + 1
      elseif verb == 'done' or verb == 'skipped' or verb == 'expired' or verb == 'discarded' then
        processed = processed + 1
      end
      if verb == 'bury' then
        redis.pcall('ZREMRANGEBYSCORE', dead, '-inf', string.format('(%.6f', seconds - tonumber(ARGV[7])))
        redis.pcall('ZREMRANGEBYRANK', dead, 0, -tonumber(ARGV[6]) - 1)
      elseif not UNCOUNTED[verb] then
        redis.pcall('HINCRBY', counters, verb, 1)
      end
    end
  end
end

-- Counters are for people: one that is broken must not stop the work.
local FIVE_YEARS = 157680000
local function count(total, today, amount)
  if amount > 0 then
    redis.pcall('INCRBY', total, amount)
    if redis.pcall('INCRBY', today, amount) == amount then
      redis.pcall('EXPIRE', today, FIVE_YEARS)
    end
  end
end
count(KEYS[8], KEYS[10], processed)
count(KEYS[9], KEYS[11], failed)
if fenced > 0 then
  redis.pcall('HINCRBY', counters, 'fenced', fenced)
end

if ARGV[8] ~= '' and redis.call('HEXISTS', claims, ARGV[8]) == 1 then
  redis.call('HSET', claims, 'suspect', ARGV[8])
end

local function holds_any(fields)
  for _, held in ipairs(redis.call('HMGET', claims, unpack(fields))) do
    if held then
      return true
    end
  end
  return false
end

local wanted, room = tonumber(ARGV[4]), tonumber(ARGV[5])
local claimed, resting, broken = {}, {}, {}
local is_paused = {}
if #queues > 0 then
  is_paused = redis.pcall('SMISMEMBER', paused, unpack(queues))
end
for n, name in ipairs(queues) do
  local key = KEYS[FIRST_QUEUE + n - 1]
  if is_paused[n] == 1 then
    resting[#resting + 1] = n
  elseif wanted > 0 and room > 0 then
    local taken = {}
    while wanted > 0 and room > 0 do
      -- The next job tells how many of its kind fit, so that a queue of huge ones
      -- is not read by the hundred for the sake of one.
      local tail = redis.pcall('LINDEX', key, -1)
      local size = type(tail) == 'string' and #tail or 1
      local asked = math.min(wanted, 50, math.max(1, math.ceil(room / math.max(size, 1))))
      local jobs = redis.pcall('LRANGE', key, -asked, -1)
      if jobs.err then
        broken[#broken + 1] = n
        broken[#broken + 1] = jobs.err
        break
      end
      -- The same batch again: its reply was lost, its jobs are held already. All
      -- fields are looked at, for a recovery may have taken the first ones.
      local fields = {}
      for at = 1, #jobs do
        fields[at] = batch .. ':' .. (#taken + at) .. ':' .. name
      end
      if #jobs > 0 and holds_any(fields) then
        break
      end
      local written, count_here = {}, 0
      for at = #jobs, 1, -1 do
        if room <= 0 then
          break
        end
        local payload = jobs[at]
        count_here = count_here + 1
        written[2 * count_here - 1] = fields[count_here]
        written[2 * count_here] = payload
        taken[#taken + 1] = payload
        room = room - #payload
      end
      if count_here > 0 then
        redis.call('HSET', claims, unpack(written))
        redis.call('LTRIM', key, 0, -count_here - 1)
        wanted = wanted - count_here
      end
      if #jobs < asked then
        break
      end
    end
    if #taken > 0 then
      claimed[#claimed + 1] = n
      claimed[#claimed + 1] = taken
    end
  end
end

return { lapsed, fenced, refused, claimed, resting, broken }
