-- Books the next free slot of one budget: a token bucket that lives on the
-- time line of its own slots, so that the slots are in order and a new rate
-- counts from the last booked slot on. All times are UNIX microseconds of the
-- clock of Redis, which is the one clock that all workers share.
--
-- KEYS[1]  the budget: hash of slot (the last booked one), tokens (left right
--          after it) and blocked (nobody gets a slot before it)
-- ARGV     tokens per second, burst, longest wait (microseconds), 1 where the
--          caller knows that the budget existed, lifetime (milliseconds)
-- returns  {1, wait, slot} for a booked slot, {0, wait, slot} for a refusal
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local rate = tonumber(ARGV[1]) / 1000000
local burst = tonumber(ARGV[2])
local max_wait = tonumber(ARGV[3])

local function save(slot, tokens)
  -- tostring keeps 14 digits, fewer than the time has.
  redis.call('HSET', KEYS[1], 'slot', string.format('%.0f', slot), 'tokens', string.format('%.17g', tokens))
  if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[5]) then
    redis.call('PEXPIRE', KEYS[1], ARGV[5])
  end
end

local budget = redis.call('HMGET', KEYS[1], 'slot', 'tokens', 'blocked')
local slot, tokens = tonumber(budget[1]), tonumber(budget[2])
local horizon = now + max_wait
if not slot and ARGV[4] == '0' then
  slot, tokens = now, burst
elseif not slot or slot > horizon then
  -- Redis was emptied, or its clock jumped back as another server's may after
  -- a failover. Slots may be booked up to the horizon, so the budget starts
  -- behind the last of them, and with nothing saved up.
  slot, tokens = horizon, 0
  save(slot, tokens)
end

local next_slot = math.max(now, slot, tonumber(budget[3]) or 0)
tokens = math.min(burst, tokens + (next_slot - slot) * rate)
if tokens < 1 then
  local pause = math.ceil((1 - tokens) / rate)
  next_slot = next_slot + pause
  tokens = math.max(1, tokens + pause * rate)
end
if next_slot - now > max_wait then
  return {0, next_slot - now, next_slot}
end
save(next_slot, tokens - 1)
return {1, next_slot - now, next_slot}
