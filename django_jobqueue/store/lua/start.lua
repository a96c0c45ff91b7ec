#!lua flags=allow-oom
-- Note that a unique job starts: what came before has nothing to say any more.
--
-- KEYS  1 lock (string)  2 what is run afterwards (string)
-- ARGV  1 jid  2 '1' where the lock ends with the start
-- Returns 1 where the job owned its lock, else 0.
--
-- A script, because only the owner may give a lock up.

-- A key of a wrong type is no lock.
if redis.pcall('GET', KEYS[1]) ~= ARGV[1] then
  return 0
end
redis.call('DEL', KEYS[2])
if ARGV[2] == '1' then
  redis.call('DEL', KEYS[1])
end
return 1
