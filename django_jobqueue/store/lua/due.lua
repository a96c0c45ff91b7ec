#!lua flags=no-writes
-- Read the entries of the schedule and the retry set whose time has come.
--
-- KEYS  1 schedule (zset)  2 retry (zset)
-- ARGV  1 how many of each at most
-- Returns { seconds until the earliest entry as a string, '' where there is none,
--           { entry, ... } of schedule, { entry, ... } of retry,
--           { set number, error, ... } of those that cannot be read }
--
-- A script, because the clock is the server's. It removes nothing.

local time = redis.call('TIME')
local seconds = tonumber(time[1]) + tonumber(time[2]) / 1000000
local answer = { '', {}, {}, {} }
local earliest = nil
for n = 1, 2 do
  local entries =
    redis.pcall('ZRANGEBYSCORE', KEYS[n], '-inf', string.format('%.6f', seconds), 'LIMIT', 0, ARGV[1])
  if entries.err then
    -- The other set goes on.
    table.insert(answer[4], n)
    table.insert(answer[4], entries.err)
  else
    answer[n + 1] = entries
    local first = redis.call('ZRANGE', KEYS[n], 0, 0, 'WITHSCORES')
    if first[2] then
      local wait = tonumber(first[2]) - seconds
      if not earliest or wait < earliest then
        earliest = wait
      end
    end
  end
end
if earliest then
  answer[1] = string.format('%.6f', earliest)
end
return answer
