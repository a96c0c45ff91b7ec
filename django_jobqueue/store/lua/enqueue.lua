#!lua
-- Write a page of jobs, those that are unique only where nobody holds their lock.
--
-- KEYS  1 queues (set)  2 schedule (zset)  3 ... the queues pushed to (lists),
--       then for each unique job its lock; behind it the tombstone where those are
--       obeyed, and behind that what is run afterwards where the job may be
-- ARGV  1 'heal' to obey tombstones  2 number Q of queues, then their Q names
--       then for each job seven: payload, index in KEYS of its queue or 0 for the
--       schedule, epoch seconds for the schedule, index in KEYS of its lock or 0,
--       jid, ttl of the lock in ms, 1 to be run afterwards where the lock is held
-- Returns { job number, jid of the owner, ... } of those that were not written;
--         '' in place of the jid where a tombstone forbids it.
--
-- A script, because between the look at a lock and the push somebody else may
-- push the same. Not allowed at maxmemory: then nothing is written.

local queues, schedule = KEYS[1], KEYS[2]
local healing, Q = ARGV[1] == 'heal', tonumber(ARGV[2])

-- These prove the types before anything is written.
redis.call('SCARD', queues)
for n = 1, Q do
  redis.call('LLEN', KEYS[2 + n])
end

local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)

local function is_cooling(tombstone)
  local till = redis.pcall('HGET', tombstone, 'until')
  return type(till) == 'string' and (tonumber(till) or 0) > now
end

local PAGE = 500

-- One command for many locks: it also passes over what is no lock by its type.
local asked, owners = {}, {}
for i = 3 + Q, #ARGV, 7 do
  local lock = tonumber(ARGV[i + 3])
  if lock > 0 then
    asked[#asked + 1] = KEYS[lock]
  end
end
for first = 1, #asked, PAGE do
  local last = math.min(first + PAGE - 1, #asked)
  for n, owner in ipairs(redis.call('MGET', unpack(asked, first, last))) do
    owners[asked[first + n - 1]] = owner
  end
end

local again, exceptions = {}, {}
local pages = {}
for n = 1, Q do
  pages[2 + n] = {}
end
local later = {}
for i = 3 + Q, #ARGV, 7 do
  local queue, lock, jid = tonumber(ARGV[i + 1]), tonumber(ARGV[i + 3]), ARGV[i + 4]
  local owner = lock > 0 and owners[KEYS[lock]]
  if owner then
    -- Our own: the page was sent before, and has been written.
    if owner ~= jid then
      exceptions[#exceptions + 1] = (i - 3 - Q) / 7 + 1
      exceptions[#exceptions + 1] = owner
      if ARGV[i + 6] == '1' then
        again[#again + 1] = i
      end
    end
  elseif lock > 0 and healing and is_cooling(KEYS[lock + 1]) then
    exceptions[#exceptions + 1] = (i - 3 - Q) / 7 + 1
    exceptions[#exceptions + 1] = ''
  else
    if queue > 0 then
      table.insert(pages[queue], ARGV[i])
    else
      later[#later + 1] = ARGV[i + 2]
      later[#later + 1] = ARGV[i]
    end
    if lock > 0 then
      owners[KEYS[lock]] = jid
      table.insert(again, -i)
    end
  end
end

if #later > 0 then
  redis.call('ZCARD', schedule) -- its type, too
end

for n = 1, Q do
  local page = pages[2 + n]
  if #page > 0 then
    redis.call('SADD', queues, ARGV[2 + n])
  end
  for first = 1, #page, PAGE do
    redis.call('LPUSH', KEYS[2 + n], unpack(page, first, math.min(first + PAGE - 1, #page)))
  end
end
for first = 1, #later, PAGE do
  redis.call('ZADD', schedule, unpack(later, first, math.min(first + PAGE - 1, #later)))
end
-- The jobs stand: now their locks.
for _, at in ipairs(again) do
  local i = math.abs(at)
  local lock = tonumber(ARGV[i + 3])
  if at < 0 then
    redis.call('SET', KEYS[lock], ARGV[i + 4], 'PX', ARGV[i + 5])
  else
    local waiting = ARGV[i + 4] .. '\n' .. ARGV[i + 5] .. '\n' .. ARGV[i]
    redis.call('SET', KEYS[lock + 2], waiting, 'PX', ARGV[i + 5])
  end
end
return exceptions
