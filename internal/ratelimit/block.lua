-- Keeps a budget closed until a time; a shorter block never ends a longer one.
--
-- KEYS[1]  the budget, as in book.lua
-- ARGV     UNIX microseconds, lifetime (milliseconds) beyond that time
local until_time = tonumber(ARGV[1])
local time = redis.call('TIME')
local blocked = tonumber(redis.call('HGET', KEYS[1], 'blocked')) or 0
if until_time <= math.max(blocked, time[1] * 1000000 + time[2]) then
  return 0
end
redis.call('HSET', KEYS[1], 'blocked', ARGV[1])
redis.call('PEXPIREAT', KEYS[1], string.format('%.0f', until_time / 1000 + tonumber(ARGV[2])))
return 1
