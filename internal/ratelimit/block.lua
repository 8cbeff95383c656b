-- Keeps a budget closed until a time; a shorter block never ends a longer one.
--
-- ARGV     UNIX microseconds, lifetime (milliseconds) beyond that time
local until_time = tonumber(ARGV[1])
if until_time <= math.max(budget.blocked or 0, now) then
  return 0
end
redis.call('HSET', KEYS[1], 'blocked', ARGV[1])
redis.call('PEXPIREAT', KEYS[1], string.format('%.0f', until_time / 1000 + tonumber(ARGV[2])))
return 1
