#!lua flags=allow-oom
-- Write the kill switches into their mirror, unless somebody else has since.
--
-- KEYS  1 switches (hash)
-- ARGV  1 version that was read, '' for no mirror  then for each flag that is not off:
--       flag, state
-- Returns 1 written, 0 they stand there already, -1 the version is another one.
--
-- A script, because two processes that commit at once read the database and
-- write here in any order: the one that read before the other wrote has to read
-- again.

local key = KEYS[1]
-- Refused where the key has a wrong type. There is nothing to remove: on Redis
-- 6.2 it lets the writes after it pass at maxmemory, for a switch must work then.
redis.call('HDEL', key, '')
local version = redis.call('HGET', key, 'version') or ''
if version ~= ARGV[1] then
  return -1
end

local wanted = {}
local differs = version == ''
for n = 2, #ARGV, 2 do
  wanted[ARGV[n]] = ARGV[n + 1]
  differs = differs or redis.call('HGET', key, ARGV[n]) ~= ARGV[n + 1]
end
local surplus = {}
for _, flag in ipairs(redis.call('HKEYS', key)) do
  if flag ~= 'version' and not wanted[flag] then
    table.insert(surplus, flag)
  end
end
if not differs and #surplus == 0 then
  return 0
end

-- A version that is no number begins anew.
redis.call('HSET', key, 'version', string.format('%.0f', (tonumber(version) or 0) + 1))
for flag, state in pairs(wanted) do
  redis.call('HSET', key, flag, state)
end
for _, flag in ipairs(surplus) do
  redis.call('HDEL', key, flag)
end
return 1
