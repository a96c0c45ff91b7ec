#!lua flags=allow-oom
-- Renew the locks of jobs that run or wait in a process.
--
-- KEYS  for each lock two: lock, what is run afterwards (strings)
-- ARGV  for each lock two: jid, ttl in ms
-- Returns the number of locks that are the jobs' own.
--
-- A script, because only the owner may prolong a lock. One that is gone stays gone,
-- and none is made shorter: the job may have ended, or been put off or held, since
-- the process looked what it runs.

local ours = 0
for n = 1, #KEYS, 2 do
  local jid, ttl = ARGV[n], ARGV[n + 1]
  if redis.pcall('GET', KEYS[n]) == jid then
    local left = redis.call('PTTL', KEYS[n])
    if left >= 0 and left < tonumber(ttl) then
      redis.call('PEXPIRE', KEYS[n], ttl)
    end
    redis.call('PEXPIRE', KEYS[n + 1], ttl)
    ours = ours + 1
  end
end
return ours
