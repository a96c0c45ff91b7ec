#!lua flags=allow-oom
-- Renew the lease of a process, and tell whether it had lapsed.
--
-- KEYS  1 leases (zset)
-- ARGV  1 identity  2 lease in ms
--       3 'join' at a process's start, 'extend' from its supervisor, 'dead' to
--         declare it dead, else 'beat'
-- Returns 0 renewed in time, 1 renewed after it had lapsed (or for the first
--         time), -1 nothing done: a 'join' found it live, an 'extend' found it
--         gone or declared dead, a 'dead' found it gone.
--
-- A script, because the clock is the server's, and a supervisor must not bring
-- back what was declared dead.

local leases, identity, mode = KEYS[1], ARGV[1], ARGV[3]
redis.call('ZREM', leases, '')
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local lease = tonumber(redis.call('ZSCORE', leases, identity) or -1)

if mode == 'join' and lease >= now then
  return -1
end
if mode == 'extend' and lease <= 0 then
  return -1
end
if mode == 'dead' then
  -- Not a plain ZADD: at maxmemory that is refused.
  redis.call('ZADD', leases, 'XX', 0, identity)
  return lease < 0 and -1 or 0
end
redis.call('ZADD', leases, string.format('%.0f', now + tonumber(ARGV[2])), identity)
return lease < now and 1 or 0
