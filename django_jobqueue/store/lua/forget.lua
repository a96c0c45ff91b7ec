#!lua flags=allow-oom
-- Take a class off the list of those of which jobs are held, unless some are.
--
-- KEYS  1 classes of which jobs are held (set)  2 what is held of this one (zset)
-- ARGV  1 class
-- Returns 1 where it was taken off, else 0.
--
-- A script, because a job may be held at this moment, and nobody would find it
-- under a class that is not on the list.

if redis.call('EXISTS', KEYS[2]) == 1 then
  return 0
end
return redis.call('SREM', KEYS[1], ARGV[1])
