#!lua flags=allow-oom
-- Keep the record of one order over many jobs: open it, work at it, stop it.
--
-- KEYS  1 record (hash)  2 the latest records (zset)
-- ARGV  1 'open', 'begin', 'tell', 'note' or 'stop'  2 who works at it (a token)
--       3 ms after which who has told nothing works at it no longer  4 seconds it is kept
--       5 records that are listed  6 its id  7 ... fields and values to write
-- Returns 'ok'; 'gone' where there is none, 'over' where it has ended, 'busy' where another
--         works at it, 'stop' where it shall end.
--
-- A script, because of two that want to work at it one has to win, and because one who
-- was taken for dead must not write over what the other has told. An operator needs it
-- most when Redis is full, so it is never refused.

local record, list = KEYS[1], KEYS[2]
local verb, token = ARGV[1], ARGV[2]
-- They remove nothing. They prove the types before anything is written, and on Redis
-- 6.2 a write that needs no memory lets the ones after it pass at maxmemory.
redis.call('HDEL', record, '')
redis.call('ZREMRANGEBYRANK', list, 1, 0)
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)

local state = redis.call('HGET', record, 'state')
local worker = redis.call('HGET', record, 'worker') or ''
local seen = tonumber(redis.call('HGET', record, 'seen') or 0) or 0
local is_worked = worker ~= '' and seen + tonumber(ARGV[3]) > now
local is_stopping = redis.call('HGET', record, 'stop') == '1'

local function write(...)
  for i = 7, #ARGV, 2 do
    redis.call('HSET', record, ARGV[i], ARGV[i + 1])
  end
  redis.call('HSET', record, 'updated_at', string.format('%.3f', now / 1000), ...)
  redis.call('EXPIRE', record, ARGV[4])
end

if verb == 'open' then
  if not state then
    write('state', 'waiting')
    redis.call('ZADD', list, string.format('%.3f', now / 1000), ARGV[6])
    redis.call('ZREMRANGEBYRANK', list, 0, -tonumber(ARGV[5]) - 1)
    redis.call('EXPIRE', list, ARGV[4])
  end
  return 'ok'
end
if not state then
  return 'gone'
end
if verb == 'tell' then
  if worker ~= token then
    return 'busy'
  end
  write('seen', string.format('%.0f', now))
  if is_stopping and redis.call('HGET', record, 'state') == 'waiting' then
    write('state', 'stopped', 'worker', '') -- who would have gone on later need not
  end
  return is_stopping and 'stop' or 'ok'
end
if state == 'done' or state == 'stopped' or state == 'failed' then
  return 'over'
end
if verb == 'stop' then
  redis.call('HSET', record, 'stop', '1')
  if not is_worked then
    write('state', 'stopped', 'worker', '')
  end
  return 'ok'
end
if is_worked and worker ~= token then
  return 'busy'
end
if verb == 'note' then
  write('worker', '')
  return 'ok'
end
if is_stopping then
  write('state', 'stopped', 'worker', '')
  return 'over'
end
write('state', 'running', 'worker', token, 'seen', string.format('%.0f', now))
return 'ok'
