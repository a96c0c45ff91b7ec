#!lua flags=allow-oom
-- Give up the lock of a unique job because somebody said so.
--
-- KEYS  1 lock (string)
-- ARGV  1 jid of whom it was when it was looked at
-- Returns 1 where it was still that job's, else 0.
--
-- A script, because a newer job may have taken it meanwhile. What is to run afterwards
-- stays: it is run when the holder ends after all.

-- A key of a wrong type is no lock.
if redis.pcall('GET', KEYS[1]) ~= ARGV[1] then
  return 0
end
return redis.call('DEL', KEYS[1])
