-- Says how a budget stands: {exists, share, opened, until, why}, the share of
-- the configured rate in millionths.
return {redis.call('EXISTS', KEYS[1]), math.floor(share() * 1000000), budget.opened or 0,
  budget['until'] or 0, redis.call('HGET', KEYS[1], 'why') or ''}
