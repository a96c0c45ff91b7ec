#!lua flags=allow-oom
-- Tell how many held jobs may be released now, for all processes together.
--
-- KEYS  1 state of the releases (hash: NAME -> 'ms:rate:rest')
-- ARGV  1 name  2 jobs a second at full speed  3 seconds until full speed
--       4 jobs wanted
-- Returns the number allowed. It is taken as used.
--
-- A script, because the rate holds for the whole fleet, on the server's clock. It
-- begins at a tenth and grows evenly; after a pause of ten seconds it begins anew.

local state, name, full, ramp, wanted =
  KEYS[1], ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
-- It proves the type before anything is written, and on Redis 6.2 a write that needs
-- no memory lets the ones after it pass at maxmemory.
redis.call('HDEL', state, '')
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local last, began, rest = string.match(redis.call('HGET', state, name) or '', '^(%d+):(%d+):([%d.]+)$')
last, began, rest = tonumber(last), tonumber(began), tonumber(rest)
if not last or now - last > 10000 or now < last then
  last, began, rest = now, now, 1
end
local part = ramp > 0 and math.min(1, 0.1 + 0.9 * (now - began) / (ramp * 1000)) or 1
-- What was not used is saved up for a tenth of a second: no second sees much more than the rate.
rest = math.min(rest + full * part * (now - last) / 1000, math.max(1, full * part / 10))
local allowed = math.min(wanted, math.floor(rest))
redis.call('HSET', state, name, string.format('%.0f:%.0f:%.3f', now, began, rest - allowed))
redis.call('PEXPIRE', state, 3600000)
return allowed
