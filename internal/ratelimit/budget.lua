-- What all scripts know of a budget. It comes before each of them.
--
-- KEYS[1]  the budget, a hash. All times in it are UNIX microseconds of the
--          clock of Redis, the one clock that all workers share:
--   slot, tokens       the last booked slot, and what was left right after it
--   born               when the first slot was booked, by which a budget is told
--                      from one that was lost with all of Redis
--   blocked            nobody gets a slot before it
--   cut                when the line was last broken up: who was booked before
--                      books anew
--   share, share_at    the part of the configured rate that was in force then
--   from, calls, bad   the answers since a time, and those that were trouble
--   opened, until      the breaker is open: since when, and up to when nobody
--                      asks at all; after that a few probes do
--   rounds, why        how often it was opened in a row, and for what
--   probes, good, probed  the probes out, those answered well, the last one's time
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local second = 1000000

-- After a halving of the rate the answers to what was asked before come in:
-- they are no reason for another one.
local settle = 10 * second
local least_share = 1 / 32

-- Trouble with so many answers, and a quarter of all, is distress; a few stray
-- ones are not, or a rate would never recover.
local distress_calls = 5
local creep = 0.05 / (60 * second)

-- The breaker opens when more than half of at least 20 answers are trouble,
-- counted over 10 seconds, or longer where there are fewer.
local window, longest_window, least_calls = 10 * second, 300 * second, 20
local first_pause, longest_pause = 30 * second, 600 * second
local probes_needed = 3

local names = {'born', 'slot', 'tokens', 'blocked', 'cut', 'share', 'share_at', 'from', 'calls', 'bad',
  'opened', 'until', 'rounds', 'probes', 'good', 'probed'}
local budget = {}
for i, value in ipairs(redis.call('HMGET', KEYS[1], unpack(names))) do
  budget[names[i]] = tonumber(value)
end

-- tostring keeps 14 digits, fewer than a time has.
local function put(field, value)
  budget[field] = value
  redis.call('HSET', KEYS[1], field, string.format('%.17g', value))
end

local function drop(...)
  for _, field in ipairs({...}) do budget[field] = nil end
  redis.call('HDEL', KEYS[1], ...)
end

local function keep(lifetime)
  if redis.call('PTTL', KEYS[1]) < tonumber(lifetime) then
    redis.call('PEXPIRE', KEYS[1], lifetime)
  end
end

-- The part of the configured rate that is in force now.
local function share()
  if not budget.share then return 1 end
  return math.min(1, budget.share + creep * math.max(0, now - budget.share_at))
end

-- Breaks the line up: whoever sleeps for a slot books another one.
local function cut()
  put('cut', now)
  put('slot', now)
  put('tokens', 0)
end

-- Returns 1 where the rate went down, and not only stays at its least.
local function halve()
  if budget.share_at and math.abs(now - budget.share_at) < settle then return 0 end
  local before = share()
  put('share', math.max(least_share, before / 2))
  put('share_at', now)
  cut()
  return budget.share < before and 1 or 0
end

-- Counts answers, begins anew when the time of the last count is over.
local function count(answers, trouble)
  local age = now - (budget.from or 0)
  if age < 0 or age > longest_window or (age > window and budget.calls >= least_calls) then
    put('from', now)
    budget.calls, budget.bad = 0, 0
  end
  put('calls', budget.calls + answers)
  put('bad', budget.bad + trouble)
end

local function open(why)
  local rounds = budget.rounds or 0
  if not budget.opened then
    put('opened', now)
    cut()
  end
  put('until', now + math.min(longest_pause, first_pause * 2 ^ rounds))
  put('rounds', rounds + 1)
  redis.call('HSET', KEYS[1], 'why', why)
  drop('probes', 'good', 'probed', 'from', 'calls', 'bad')
end

-- Closes the breaker, at half the rate at most.
local function close()
  put('share', math.min(share(), 0.5))
  put('share_at', now)
  drop('opened', 'until', 'rounds', 'why', 'probes', 'good', 'probed')
end
