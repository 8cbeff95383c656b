-- Says how a budget stands: {share, opened, until, why}, the share of the
-- configured rate in millionths.
return {math.floor(share() * 1000000), budget.opened or 0, budget['until'] or 0,
  redis.call('HGET', KEYS[1], 'why') or ''}
