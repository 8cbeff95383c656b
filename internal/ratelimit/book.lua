-- Books the next free slots of one budget: a token bucket that lives on the
-- time line of its own slots, so that the slots are in order and a new rate
-- counts from the last booked slot on. While the breaker is open only a probe
-- gets one.
--
-- ARGV     tokens per second, burst, longest wait (microseconds), 1 where the
--          caller knows that the budget existed, lifetime (milliseconds), good
--          answers since the last call, patience with a probe (microseconds),
--          how many slots
-- returns  six numbers for each slot: 1, wait, slot, cut, probe, born for one
--          that is booked, where probe is 0 for an ordinary one; 0, wait and
--          zeros where the next is too far away; 2, wait and zeros where the
--          breaker is open
local rate = tonumber(ARGV[1]) / second * share()
local burst = tonumber(ARGV[2])
local max_wait = tonumber(ARGV[3])
local good = tonumber(ARGV[6])

if good > 0 and not budget.opened then count(good, 0) end

local function begin()
  if not budget.born then put('born', now) end
  local horizon = now + max_wait
  if not budget.slot and ARGV[4] == '0' then
    budget.slot, budget.tokens = now, burst
  elseif not budget.slot or budget.slot > horizon then
    -- Redis was emptied, or its clock jumped back as another server's may after
    -- a failover. Slots may be booked up to the horizon, so the budget starts
    -- behind the last of them, and with nothing saved up.
    put('slot', horizon)
    put('tokens', 0)
    keep(ARGV[5])
  end
end

local function book()
  local probe = 0
  if budget.opened then
    if now < budget['until'] then
      return 2, budget['until'] - now
    end
    local probes = budget.probes or 0
    if probes > 0 and now - budget.probed > tonumber(ARGV[7]) then
      probes = budget.good or 0 -- those of workers that are gone
    end
    if probes >= probes_needed then
      return 2, settle
    end
    budget.probes, probe = probes, budget['until']
  end
  begin()
  local slot, tokens = budget.slot, budget.tokens
  local next_slot = math.max(now, slot, budget.blocked or 0)
  tokens = math.min(burst, tokens + (next_slot - slot) * rate)
  if tokens < 1 then
    local pause = math.ceil((1 - tokens) / rate)
    next_slot = next_slot + pause
    tokens = math.max(1, tokens + pause * rate)
  end
  if next_slot - now > max_wait then
    keep(ARGV[5])
    return 0, next_slot - now
  end
  budget.slot, budget.tokens = next_slot, tokens - 1
  if probe > 0 then
    put('probes', budget.probes + 1)
    put('probed', next_slot)
  end
  return 1, next_slot - now, next_slot, budget.cut or 0, probe, budget.born
end

local reply, booked = {}, false
for _ = 1, tonumber(ARGV[8]) do
  local state, wait, slot, cut, probe, born = book()
  booked = booked or state == 1
  for _, number in ipairs({state, wait, slot or 0, cut or 0, probe or 0, born or 0}) do
    table.insert(reply, number)
  end
end
if booked then
  put('slot', budget.slot)
  put('tokens', budget.tokens)
  keep(ARGV[5])
end
return reply
