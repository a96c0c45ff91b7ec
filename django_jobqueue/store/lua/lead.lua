#!lua flags=allow-oom
-- Become or stay the leader for a while.
--
-- KEYS  1 leader (string)
-- ARGV  1 token of the candidate  2 term in ms
-- Returns 1 for the leader, 0 for everybody else.
--
-- A script, because only the owner of the token may prolong it. Leadership
-- saves work; nothing is wrong when two lead or nobody does.

local owner = redis.call('GET', KEYS[1])
if owner == ARGV[1] then
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
  return 1
end
if owner then
  return 0
end
-- There is nothing to expire: on Redis 6.2 a write that needs no memory lets the
-- ones after it pass at maxmemory.
redis.call('PEXPIRE', KEYS[1], ARGV[2])
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
