#!lua flags=allow-oom
-- Take a process that stops out of the books.
--
-- KEYS  1 leases (zset)  2 claims of the process (hash)  3 processes (set)
--       4 process (hash)  5 work (hash)  6 signals (list)
-- ARGV  1 identity
-- Returns the number of claims it leaves behind. Then its lease is declared
--         over, so that the next process takes them back at once.
--
-- A script, because a lease may end only together with its last claim.

local identity = ARGV[1]
redis.call('ZSCORE', KEYS[1], identity) -- proves the type before anything is written
redis.call('HDEL', KEYS[2], 'suspect')
local left = redis.call('HLEN', KEYS[2])
redis.pcall('SREM', KEYS[3], identity)
redis.pcall('DEL', KEYS[4], KEYS[5], KEYS[6])
if left == 0 then
  redis.call('ZREM', KEYS[1], identity)
else
  redis.call('ZADD', KEYS[1], 0, identity)
end
return left
