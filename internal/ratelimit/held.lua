-- Lists what is held back now, and forgets what is not any more.
--
-- KEYS[1]  budgets whose breaker is open, sorted by until when (UNIX
--          microseconds) it is of no use to bring them work
local time = redis.call('TIME')
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', time[1] * 1000000 + time[2]))
return redis.call('ZRANGE', KEYS[1], 0, -1)
