#!lua flags=allow-oom
-- Take jobs out of the place where they wait, because somebody said so.
--
-- KEYS  1 the place (list or zset)  2 dead (zset)  3 ... for each unique job three:
--       lock, tombstone, what is run afterwards
-- ARGV  1 'list' or 'zset'  2 'delete' or 'kill'  3 entries the dead set may hold
--       4 seconds they may stay, then for each job eight: entry as read, entry for
--       the dead set, its lock (see lib/locks), and its index in the list a moment ago, as
--       LINDEX has it, empty where nobody knows
-- Returns { jobs looked at, those of them that were there and are gone }. The other
--         jobs are left to a next call, for this one took long enough. One whose index was
--         told is looked for around it, and nowhere else.
--
-- A script, because a job and its lock go together, and one that somebody else
-- moved meanwhile is left alone.

--@include locks

-- What one call may spend on looking for jobs in a list, before it lets others speak: some 5 ms.
-- To compare an entry costs 1, to read one 3, to go to one deep in the list 1 for each 500.
local PATIENCE = 60000

-- Entries by which a job may have moved since it was looked at; fewer where they are large.
local MARGIN, LEAST, BYTES = 100, 4, 2097152

local place, dead, kind, verb = KEYS[1], KEYS[2], ARGV[1], ARGV[2]
-- They remove nothing. They prove the types before anything is written, and on Redis
-- 6.2 a write that needs no memory lets the ones after it pass at maxmemory.
if kind == 'list' then
  redis.call('LTRIM', place, 0, -1)
else
  redis.call('ZREMRANGEBYRANK', place, 1, 0)
end
if verb == 'kill' then
  redis.call('ZREMRANGEBYRANK', dead, 1, 0)
end
local time = redis.call('TIME')
local seconds = tonumber(time[1]) + tonumber(time[2]) / 1000000

-- Of a list nothing is removed until the end: places stay as they are, counted from the right
-- as those below 0 are, and one pass takes out all that was marked. A pass for each job would
-- go by all that are before it each time.
local marker, marked = 'removed ' .. time[1] .. '.' .. time[2], 0
local length = kind == 'list' and redis.call('LLEN', place) or 0
local spent, deepest, nearest = 0, 0, -length

-- A window of the list, from one index to another: the indexes of each entry in it, the next to
-- run at the end. Those of a page stand together.
local near, from, to = {}, 0, -length - 1

-- By how much those that were found stand nearer to the right end than a moment ago.
local moved = 0

local function spend_way_to(at)
  spent = spent + math.min(-at, length + at) / 500
end

local function reach(size)
  return math.max(LEAST, math.min(MARGIN, math.floor(BYTES / (size + 1))))
end

local function look_around(at, size)
  -- Further to the left, where the others of a page stand.
  from, to = math.max(at - 2 * reach(size), -length), math.min(at + reach(size), -1)
  near = {}
  local found = redis.call('LRANGE', place, from, to)
  spend_way_to(from)
  spent = spent + 3 * #found
  for i, entry in ipairs(found) do
    near[entry] = near[entry] or {}
    table.insert(near[entry], from + i - 1)
  end
end

local function take_near(entry)
  local places = near[entry]
  return places and table.remove(places)
end

local function search(entry)
  local at = redis.call('LPOS', place, entry, 'RANK', -1)
  if not at then
    spent = spent + length
    return false
  end
  at = at - length
  spent = spent - at
  look_around(at, #entry)
  take_near(entry)
  return at
end

local function told_place(index)
  return index < 0 and index or index - length
end

local function within(at)
  return math.min(-1, math.max(-length, at))
end

-- The first may have left; any of a page tells where the others are.
local function look_where_they_stand()
  local index = tonumber(ARGV[12])
  if not index or length == 0 then
    return
  end
  look_around(within(told_place(index)), #ARGV[5])
  for i = 5, #ARGV, 8 do
    local places, told = near[ARGV[i]], tonumber(ARGV[i + 7])
    if places and told then
      moved = places[#places] - told_place(told)
      return
    end
  end
end

local function place_in_list(entry, index)
  if not index then
    return take_near(entry) or search(entry)
  end
  local told = told_place(index)
  local expected = within(told + moved)
  local margin = reach(#entry)
  if from > math.max(-length, expected - margin) or to < math.min(-1, expected + margin) then
    look_around(expected, #entry)
  end
  local at = take_near(entry)
  moved = at and at - told or moved
  return at
end

local function place_of(entry, index)
  if kind == 'zset' then
    return redis.call('ZSCORE', place, entry)
  end
  return length > 0 and place_in_list(entry, tonumber(index))
end

local function note_mark(at)
  spend_way_to(at)
  marked, deepest, nearest = marked + 1, math.min(deepest, at), math.max(nearest, at)
end

if kind == 'list' and #ARGV > 4 then
  look_where_they_stand()
end
local looked, gone = 0, 0
for i = 5, #ARGV, 8 do
  if spent > PATIENCE then
    break
  end
  looked = looked + 1
  local at = place_of(ARGV[i], ARGV[i + 7])
  if at then
    if verb == 'kill' then
      redis.call('ZADD', dead, string.format('%.6f', seconds), ARGV[i + 1])
    end
    if kind == 'list' then
      redis.call('LSET', place, at, marker)
      note_mark(at)
    else
      redis.call('ZREM', place, ARGV[i])
    end
    settle_lock(i + 2, math.floor(seconds * 1000))
    gone = gone + 1
  end
end
if marked > 0 then
  -- From the end that is nearer: in the middle of a million this takes longest, some 50 ms.
  redis.call('LREM', place, length + nearest < -deepest and marked or -marked, marker)
end
if verb == 'kill' and gone > 0 then
  redis.pcall('ZREMRANGEBYSCORE', dead, '-inf', string.format('(%.6f', seconds - tonumber(ARGV[4])))
  redis.pcall('ZREMRANGEBYRANK', dead, 0, -tonumber(ARGV[3]) - 1)
end
return { looked, gone }
