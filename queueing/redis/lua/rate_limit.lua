-- Rate limit (GCRA) and daily budget of one tenant: charge of a job at its claim, refund at its nack.
--
-- claim.lua charges each job that it takes by the job's unsigned hints, and takes none beyond the limits; nack.lua refunds
-- a job that goes back unsigned. The limits come from the worker's configuration, none is read from Redis. The worker owes
-- the difference to the true cost, and adds it to its next claim (workers/limits/rate_limiter.py).
--
-- What is given back (a refund, or a credit of the worker) is less by the time since the claim: without that charge the
-- bucket may have been full meanwhile, and a full bucket saves up nothing. Given back whole, it would undo charges of
-- later jobs, and more than burst + rate * time would be signed.
--
-- Limiter  hash: tat (Unix us, GCRA's theoretical arrival time), day (UTC, since 1970), spent (digests of that day),
--          at (Unix us, when tat was written)
-- open_limiter(key, now_us, limits): the limiter of these limits, read from Redis
-- charge(limiter, cost, digests): charges a job; or charges nothing, and returns 'rate' or 'budget' and the wait (us)
-- save(limiter): writes it
-- refund_charges(key, now_us, charge_us, digests): gives charges back; charge_us is the cost at the rate that it was charged at,
--   less the time since
--
-- Prepended to the scripts that call them. O(1). Needs counters.lua before it.

local DAY_US = 86400e6
-- A claim every 20 ms is enough to follow a rate; a wait for each next digest would be a poll.
local LEAST_WAIT_US = 20000

local function save(limiter)
  local tat = string.format('%.0f', limiter.now_us + limiter.ahead_us)
  local at, spent = string.format('%.0f', limiter.now_us), string.format('%.0f', limiter.spent)
  redis.call('HSET', limiter.key, 'tat', tat, 'day', limiter.today, 'spent', spent, 'at', at)
  limiter.charged = false
end

-- limits: rate (milli-units per second), burst (milli-units), budget (digests per day), each 0 for none; dearest
-- (milli-units, cost of a digest of the dearest algorithm); owed_cost (milli-units), owed_digests: charged too little;
-- credit_cost (milli-units), credit_digests: charged too much, as it was at credit_at_us, by Redis' clock.
local function open_limiter(key, now_us, limits)
  local us_per_unit = limits.rate > 0 and 1000000 / limits.rate or 0
  local limiter = {
    key = key, now_us = now_us, today = math.floor(now_us / DAY_US),
    on = limits.rate > 0 or limits.budget > 0,
    has_rate = limits.rate > 0, us_per_unit = us_per_unit, burst_us = limits.burst * us_per_unit, budget = limits.budget,
    ahead_us = 0,  -- how far the arrival time is ahead of now
    spent = 0, charged = false,
  }
  if not limiter.on then return limiter end
  local kept = numbers(key, 'tat', 'day', 'spent', 'at')
  -- Written by a clock that was set back since: what was ahead then is ahead now, and not the step as well.
  local set_back = kept[4] > now_us
  -- No arrival time is further ahead than a full burst and the largest job of the dearest algorithm on top of it: one that
  -- is was planted, or written before the clock was set back.
  local most_us = math.min(limiter.burst_us + MOST_JOB_DIGESTS * limits.dearest * us_per_unit, DAY_US)
  limiter.ahead_us = math.min(math.max(kept[1] - (set_back and kept[4] or now_us), 0), most_us)
  if kept[2] == limiter.today then limiter.spent = math.max(kept[3], 0) end
  local change_us, change_digests = limits.owed_cost * us_per_unit, limits.owed_digests
  if limits.credit_at_us <= now_us then
    change_us = change_us - math.max(limits.credit_cost * us_per_unit - (now_us - limits.credit_at_us), 0)
    -- Digests of yesterday are no part of today's budget.
    if math.floor(limits.credit_at_us / DAY_US) == limiter.today then
      change_digests = change_digests - limits.credit_digests
    end
  end
  if change_us ~= 0 or change_digests ~= 0 then
    limiter.ahead_us = math.max(limiter.ahead_us + change_us, 0)
    limiter.spent = math.max(limiter.spent + change_digests, 0)
    save(limiter)
  elseif set_back then
    save(limiter)
  end
  return limiter
end

local function charge(limiter, cost, digests)
  if not limiter.on then return '', 0 end
  local budget, burst_us = limiter.budget, limiter.burst_us
  local charge_us = cost * limiter.us_per_unit
  -- A job larger than the burst, or the budget, needs an untouched one, and leaves it overdrawn.
  if budget > 0 and limiter.spent + math.min(digests, budget) > budget then
    return 'budget', (limiter.today + 1) * DAY_US - limiter.now_us
  end
  local over_us = limiter.has_rate and limiter.ahead_us + math.min(charge_us, burst_us) - burst_us or 0
  if over_us > 0.5 then  -- half a microsecond: a bucket that fills in floating point is full
    return 'rate', math.max(over_us, math.min(LEAST_WAIT_US, burst_us / 2))
  end
  limiter.ahead_us, limiter.spent = limiter.ahead_us + charge_us, limiter.spent + digests
  limiter.charged = limiter.charged or charge_us > 0 or digests > 0
  return '', 0
end

local function refund_charges(key, now_us, charge_us, digests)
  if (digests <= 0 and charge_us <= 0) or redis.call('EXISTS', key) == 0 then return end
  local kept = numbers(key, 'tat', 'day', 'spent')
  redis.call('HSET', key, 'tat', string.format('%.0f', math.max(kept[1] - charge_us, 0)))
  if kept[2] == math.floor(now_us / DAY_US) then
    redis.call('HSET', key, 'spent', string.format('%.0f', math.max(kept[3] - digests, 0)))
  end
end

