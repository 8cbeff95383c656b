-- Takes what was heard of one call, and judges: the breaker may open or close,
-- and the rate go down.
--
-- ARGV     signal, why in one word, the slot's probe as book.lua gave it,
--          lifetime (milliseconds), good answers since the last call
-- returns  {event, wait, halved, since, until}: the event is 'opened', 'closed'
--          or none; wait (microseconds) is 0 unless the breaker is open, else
--          until it is worth to ask; it was opened at since, until until
local signal, why, good = ARGV[1], ARGV[2], tonumber(ARGV[5])
local bad = signal == 'distress' or signal == 'malformed'
local since, event, halved = budget.opened or 0, '', 0

local function judge_probe()
  if bad then
    open(why)
  elseif signal == 'answered' then
    put('good', (budget.good or 0) + 1)
    if budget.good >= probes_needed then
      event = 'closed'
      close()
    end
  else
    put('probes', math.max(0, (budget.probes or 1) - 1)) -- another one is asked
  end
end

local function judge()
  count(good + ((bad or signal == 'answered') and 1 or 0), bad and 1 or 0)
  if signal == 'distress' and budget.bad >= distress_calls and budget.bad * 4 >= budget.calls then
    halved = halve()
  end
  if budget.calls >= least_calls and budget.bad * 2 > budget.calls then
    event, since = 'opened', now
    open(why)
  end
end

if signal == 'limited' then halved = halve() end
if not budget.opened then
  judge()
elseif tonumber(ARGV[3]) == budget['until'] then -- a probe, and of this round
  judge_probe()
end
keep(ARGV[4])
local wait = 0
if budget.opened then wait = math.max(settle, budget['until'] - now) end
return {event, wait, halved, since, budget['until'] or 0}
