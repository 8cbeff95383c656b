-- Books the next free slots of one budget: a token bucket that lives on the
-- time line of its own slots, so that the slots are in order and a new rate
-- counts from the last booked slot on. With none to book it says how the budget
-- stands.
--
-- KEYS[1]  the budget, a hash; its times are UNIX microseconds of the clock of
--          Redis, the one clock that all workers share:
--   slot, tokens  the last booked slot, and what was left right after it
--   born          when its line began: who was booked in another books again
--   cut           the last cut of limits that broke the line up, of any size: all
--                 sizes of an app share its line
-- KEYS[2]  what limits those who ask the same source, a hash by app; see limits
--          in health.go: until when the breaker holds calls back (0 where it is
--          closed), the end of a block, the last cut, the share of the rate in
--          millionths, and since when that creeps back
-- ARGV     how many slots, tokens per second, burst, longest wait
--          (microseconds), the line and the last slot that the caller knows,
--          lifetime (milliseconds), 1 for a probe, by how much a share creeps
--          back in a microsecond, fields of KEYS[2]
-- returns  now, held, blocked, when the line was last broken up, born, the next free
--          slot, booked slots
for _, key in ipairs(KEYS) do
  local kind = redis.call('TYPE', key).ok
  if kind ~= 'hash' and kind ~= 'none' then
    return redis.error_reply('ODDKEY ' .. key .. ' is a ' .. kind)
  end
end

local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local count, burst, max_wait = tonumber(ARGV[1]), tonumber(ARGV[3]), tonumber(ARGV[4])

local held, blocked, cut, share = 0, 0, 0, 1
for _, value in ipairs(redis.call('HMGET', KEYS[2], unpack(ARGV, 10))) do
  local h, b, c, s, since = (value or ''):match('^(%d+) (%d+) (%d+) (%d+) (%d+)$')
  if h then
    held, blocked, cut = math.max(held, h), math.max(blocked, b), math.max(cut, c)
    share = share * math.min(1, s / 1000000 + tonumber(ARGV[9]) * math.max(0, now - since))
  end
end
local rate = tonumber(ARGV[2]) / 1000000 * share

local values = redis.call('HMGET', KEYS[1], 'slot', 'tokens', 'born', 'cut')
local slot, tokens = tonumber(values[1] or ''), tonumber(values[2] or '')
local born, applied = tonumber(values[3] or '') or 0, tonumber(values[4] or '') or 0
local new = not (slot and tokens and tokens >= 0 and slot <= now + max_wait)
local known_line, known_slot = tonumber(ARGV[5]), tonumber(ARGV[6])
if new or cut > applied or (known_line == born and known_slot > slot) then
  -- Nobody booked yet, the rate went down, or Redis lost slots: it was emptied,
  -- or an older state of it was restored, or its clock was set back. Whoever
  -- sleeps for a slot of the line before books another one.
  local first = not slot and known_line == 0
  new, born, slot, tokens = true, math.max(now, born + 1), now, first and burst or 0
end

local function free()
  local at = math.max(now, slot, blocked)
  local left = math.min(burst, tokens + (at - slot) * rate)
  if left < 1 then
    local pause = math.ceil((1 - left) / rate)
    at, left = at + pause, math.max(1, left + pause * rate)
  end
  return at, left - 1
end

local broken = math.max(cut, applied)
local booked = {}
if held == 0 or ARGV[8] == '1' then
  while #booked < count do
    local at, left = free()
    if at - now > max_wait then break end
    slot, tokens = at, left
    table.insert(booked, at)
  end
end
if #booked > 0 or new and values[1] then
  -- tostring keeps 14 digits, fewer than a time has.
  redis.call('HSET', KEYS[1], 'slot', string.format('%.17g', slot), 'tokens', string.format('%.17g', tokens),
    'born', string.format('%.17g', born), 'cut', string.format('%.17g', broken))
  redis.call('PEXPIRE', KEYS[1], ARGV[7])
end
return {now, held, blocked, broken, new and #booked == 0 and not values[1] and 0 or born, (free()), unpack(booked)}
