-- Lists the budgets of a list, and takes those off whose time is over.
--
-- KEYS[1]  budgets, sorted by until when (UNIX microseconds) they belong there
local time = redis.call('TIME')
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', time[1] * 1000000 + time[2]))
return redis.call('ZRANGE', KEYS[1], 0, -1)
