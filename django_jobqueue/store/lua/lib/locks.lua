-- The locks of unique jobs, for the scripts that move jobs.
--
-- A lock is three keys in a row: the lock (string, the jid of its owner), the
-- tombstone (hash: deaths, and until when nobody heals, in ms) and what is run
-- afterwards (string: jid, ttl in ms and payload, each on a line).
--
-- In ARGV it is five values: the index in KEYS of the lock or 0 for a job that
-- has none, the jid, the ttl in ms (0: the job ends here; below 0: no end, it is
-- held), the cool-down in ms after a death (0: it succeeded; below 0: neither),
-- and the index in KEYS of the queue for what is run afterwards (0: nothing is).

local DAY = 86400000

local function bury_row(tombstone, cool, now)
  local deaths = redis.pcall('HINCRBY', tombstone, 'deaths', 1)
  if type(deaths) == 'table' then
    return
  end
  local wait = math.min(DAY, cool * 2 ^ math.min(deaths - 1, 40))
  redis.call('HSET', tombstone, 'until', string.format('%.0f', now + wait))
  redis.call('PEXPIRE', tombstone, string.format('%.0f', wait + DAY))
end

local function run_afterwards(lock, waiting, queue)
  local found = redis.pcall('GET', waiting)
  if type(found) ~= 'string' then
    return
  end
  local jid, ttl, payload = string.match(found, '^([^\n]*)\n(%d+)\n(.*)$')
  if jid and type(redis.pcall('LPUSH', queue, payload)) == 'number' then
    redis.call('SET', lock, jid, 'PX', ttl)
    redis.call('DEL', waiting)
  end
end

-- Let the lock at ARGV[i] follow its job, which has just been moved.
local function settle_lock(i, now)
  local at = tonumber(ARGV[i])
  if at == 0 then
    return
  end
  local jid, ttl, cool = ARGV[i + 1], tonumber(ARGV[i + 2]), tonumber(ARGV[i + 3])
  local owner = redis.pcall('GET', KEYS[at])
  if owner and owner ~= jid then
    return -- a newer job's, or no lock at all by its type
  end
  if ttl < 0 then
    redis.call('SET', KEYS[at], jid)
  elseif ttl > 0 then
    redis.call('SET', KEYS[at], jid, 'PX', ARGV[i + 2])
  else
    redis.call('DEL', KEYS[at])
    if cool == 0 then
      redis.call('DEL', KEYS[at + 1])
    elseif cool > 0 then
      bury_row(KEYS[at + 1], cool, now)
    end
    local queue = tonumber(ARGV[i + 4])
    if queue > 0 then
      run_afterwards(KEYS[at], KEYS[at + 2], KEYS[queue])
    else
      redis.call('DEL', KEYS[at + 2])
    end
  end
end
