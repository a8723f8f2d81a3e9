-- Lease jobs of one tenant that are due, within its limits.
--
-- KEYS[1]  queue           sorted set, job id -> due (Unix ms); a leased job is moved to its lease's end
-- KEYS[2]  fence           string, the last fence given out
-- KEYS[3]  claims          hash, job id -> 'attempts:fence:digests:bytes:charge (us):crashes'; fence 0: not claimed;
--                          bytes 0: not in the backlog; crashes: claims whose lease ran out
-- KEYS[4]  armed           set when nothing is due that is free: the next submit rings the doorbell
-- KEYS[5]  backlog         hash: digests, bytes, refused (see submit.lua)
-- KEYS[6]  limiter         hash of the rate limit and the daily budget (see rate_limit.lua)
-- ARGV[1]  owner           the worker's id, without ':'
-- ARGV[2]  lease (ms)
-- ARGV[3]  most jobs
-- ARGV[4]  most digests: no further job is taken once this many are (a job is never split)
-- ARGV[5]  rate            milli-units of cost per second; 0: no limit. All limits come from the caller's
-- ARGV[6]  burst           milli-units                           configuration, none is read from Redis
-- ARGV[7]  budget          digests per UTC day; 0: none
-- ARGV[8]  backlog cap     digests; 0: none
-- ARGV[9]  backlog cap     bytes; 0: none
-- ARGV[10] owed            milli-units that earlier claims were charged too little
-- ARGV[11] owed            digests, likewise
-- ARGV[12] credit          milli-units that earlier claims were charged too much (see rate_limit.lua)
-- ARGV[13] credit          digests, likewise
-- ARGV[14] credit at       Unix ms, by the clock of this Redis: the time for which the credit is
-- ARGV[15] cost of a digest where the job names no algorithm of those that follow (milli-units)
-- ARGV[16] suspect at      crashes from which a job is claimed alone; 0: never
-- ARGV[17] alone           1: the caller has no other job of this tenant
-- ARGV[18..] per algorithm, 2 each: name, cost of a digest (milli-units)
-- Returns  {now (ms), fence, more (1 if due jobs were left), jobs, excess, wait (ms), limited, budget left,
--           backlog digests, backlog bytes, refused, replaced, isolated}
--            jobs: each {id, due before (ms), attempt (from 1), payload or false where the job's key is gone,
--            digests charged, milli-units charged, crashes}; the last `excess` of them are the newest of a backlog far over its cap: not
--            charged, and to be refused
--            wait: when the next job may be taken, 0 where no limit holds it; limited: '', 'rate' or 'budget'
--            budget left: -1 without a budget; refused: submits refused so far, as the backlog's hash says
--            replaced: keys of ours that held a foreign type, and members of the queue that are no job of this tenant;
--            they were removed
--            isolated: 1 the one job is a suspect; 2 a suspect is next, and waits until the caller has no other; else 0
-- O(jobs * log(backlog)). The job's keys are derived from its id; arq's in-progress key is set in the
-- same step, so stock workers do not run a leased job. Needs reads.lua, msgpack_hints.lua, counters.lua and rate_limit.lua before it.

local time = redis.call('TIME')
local now_us = tonumber(time[1]) * 1000000 + tonumber(time[2])
local now_ms = math.floor(now_us / 1000)
local owner, lease_ms = ARGV[1], tonumber(ARGV[2])
local most_jobs, most_digests = tonumber(ARGV[3]), tonumber(ARGV[4])
local limits = {
  rate = tonumber(ARGV[5]), burst = tonumber(ARGV[6]), budget = tonumber(ARGV[7]), dearest = tonumber(ARGV[15]),
  owed_cost = tonumber(ARGV[10]), owed_digests = tonumber(ARGV[11]),
  credit_cost = tonumber(ARGV[12]), credit_digests = tonumber(ARGV[13]), credit_at_us = tonumber(ARGV[14]) * 1000,
}

-- A backlog may grow to this many times its cap (scripts other than submit.lua can write) before it is cut.
local EXCESS = 2
-- 32 bytes and their header: a job that names no count has at most so many digests, and about 200 bytes of other fields.
local BYTES_PER_DIGEST, BYTES_BESIDE = 34, 200

-- Never a fence twice, even if the counter was deleted or set back: it is at least the time.
local last = redis.pcall('GET', KEYS[2])
local replaced = 0
local fence = now_us
if type(last) == 'string' and tonumber(last) and tonumber(last) < 2 ^ 52 and tonumber(last) >= fence then
  fence = tonumber(last) + 1
end
local fence_text = string.format('%.0f', fence)

-- Foreign types are replaced before anything else, also by a claim that finds no job: it is the one that counts them.
if type(last) == 'table' and last.err then
  redis.call('SET', KEYS[2], fence_text)
  replaced = 1
end
local tries = redis.pcall('TYPE', KEYS[3]).ok
if tries ~= 'hash' and tries ~= 'none' then
  redis.call('UNLINK', KEYS[3])
  replaced = replaced + 1
end

local limiter = open_limiter(KEYS[6], now_us, limits)
local stock = numbers(KEYS[5], 'digests', 'bytes', 'refused', 'accepted')  -- the last for the exporter, which reads it
local isolated = 0
local function answer(more, jobs, excess, wait_us, limited)
  local left = limits.budget > 0 and math.max(limits.budget - limiter.spent, 0) or -1
  return {
    now_ms, fence_text, more, jobs, excess, math.ceil(wait_us / 1000), limited, left, stock[1], stock[2], stock[3],
    replaced, isolated,
  }
end

-- Longer ids are removed: each claim would copy them, and each log line and record about the job repeat them.
local MOST_ID_BYTES = 512
local function too_long(id)
  if #id <= MOST_ID_BYTES then return false end
  redis.call('ZREM', KEYS[1], id)
  replaced = replaced + 1
  return true
end

-- After the clock was set back, what was accepted or leased before has times that this clock reaches only after the step.
-- Further ahead than a lease and a nack's delay a job of ours is due now, and a lease runs for no longer than from now on.
-- What a stock producer deferred has no entry in the claims and keeps its time.
local MOST_DELAY_MS = 60000
local horizon = string.format('(%.3f', now_us / 1000 + lease_ms + MOST_DELAY_MS)
local function pull_back(skip)
  local pulled = 0
  local late = redis.call('ZRANGE', KEYS[1], horizon, '+inf', 'BYSCORE', 'LIMIT', skip, most_jobs)
  for i, id in ipairs(late) do
    local holder = not too_long(id) and string.match(history_of(KEYS[3], id), '^%d+:(%d+)')
    local remaining_ms = holder and redis.call('PTTL', 'arq:in-progress:' .. id) or 0
    local due_ms = now_us / 1000 + i / 1000
    if remaining_ms > 0 then
      -- Twice: a worker whose lease_s is a little longer than ours keeps its lease.
      due_ms = holder ~= '0' and remaining_ms > 2 * lease_ms and now_ms + lease_ms
      if due_ms then redis.call('PEXPIRE', 'arq:in-progress:' .. id, lease_ms) end
    end
    if holder and due_ms then
      redis.call('ZADD', KEYS[1], 'XX', string.format('%.3f', due_ms), id)
      pulled = pulled + 1
    end
  end
  return pulled
end
local late = redis.call('ZCOUNT', KEYS[1], horizon, '+inf')
if late > 0 and pull_back(0) == 0 and late > most_jobs then pull_back(now_us % late) end

-- A job of this very millisecond is due: its place has a fraction, for the order within a batch.
local latest = string.format('%.3f', now_us / 1000 + 1)
local due = redis.call('ZRANGE', KEYS[1], '-inf', latest, 'BYSCORE', 'LIMIT', 0, most_jobs + 1, 'WITHSCORES')
local queued = redis.call('ZCARD', KEYS[1])
if #due == 0 then
  redis.call('SET', KEYS[4], 1)
  if queued == 0 then
    -- Nothing is accepted and unfinished: jobs that stock workers removed without counting are corrected here.
    redis.call('UNLINK', KEYS[3])
    redis.call('HDEL', KEYS[5], 'digests', 'bytes')
    stock[1], stock[2] = 0, 0
  end
  return answer(0, {}, 0, 0, '')
end
redis.call('SET', KEYS[2], fence_text)
stock[1], stock[2] = plausible(stock[1], stock[2], queued)

local lease_end_ms = now_ms + lease_ms
local value = owner .. ':' .. fence_text
local jobs = {}

-- A writer to the queue can add any job id, and the job would be claimed with this caller's rights. So an id with the tag of
-- another tenant is removed. An id without a tag (stock arq's own) may be any tenant's, or that of an ordinary job on arq's
-- queue: it is this tenant's if its envelope, which a tenant's user cannot write there, says so.
local tag = string.match(KEYS[1], '{[^}]*}')
local tenant = string.sub(tag, 2, -2)

-- Above the largest job (an envelope of 192 KiB): a larger value is no job.
local MOST_PAYLOAD_BYTES = 256 * 1024

-- The payload; '' where it is larger than any job, false where there is none. STRLEN first: a value of 512 MB is not copied.
local function payload_of(id)
  local bytes = redis.pcall('STRLEN', 'arq:job:' .. id)
  if type(bytes) == 'number' then
    if bytes > MOST_PAYLOAD_BYTES then return '' end
    return redis.call('GET', 'arq:job:' .. id)
  end
  if string.sub(id, 1, #tag) == tag then
    redis.call('UNLINK', 'arq:job:' .. id)
    replaced = replaced + 1
  end
  return false
end

local function belongs(id)
  if string.sub(id, 1, #tag) == tag then return true end
  return string.sub(id, 1, 1) ~= '{' and tenant_of(payload_of(id)) == tenant
end

local function foreign(id)
  if too_long(id) then return true end
  if belongs(id) then return false end
  redis.call('ZREM', KEYS[1], id)
  replaced = replaced + 1
  return true
end

-- Hundreds of full jobs (1,024 digests of 32 bytes), and some ten milliseconds of Redis' time, in which it runs nothing else.
local MOST_CLAIM_BYTES = 8 * 1024 * 1024

-- Above any that is counted; a planted counter is no number that a string can be made of.
local MOST_ATTEMPTS = 1000000

-- History of a job: its attempts, its crashes (a lease that ran out is one more), and its counted digests and bytes.
local function history(id)
  local claimed = history_of(KEYS[3], id)
  local attempts, holder, digests, bytes = string.match(claimed, '^(%d+):(%d+):?(%d*):?(%d*)')
  local crashes = tonumber(string.match(claimed, '^%d+:%d+:%d+:%d+:%d+:(%d+)') or 0)
  if holder and holder ~= '0' then crashes = crashes + 1 end
  return math.min(tonumber(attempts) or 0, MOST_ATTEMPTS) + 1, math.min(crashes, MOST_ATTEMPTS),
    digests ~= '' and digests or nil, bytes ~= '' and bytes or nil
end

local function take(id, score, payload, digests, cost)
  local attempt, crashes, counted, bytes = history(id)
  redis.call(
    'HSET', KEYS[3], id,
    string.format(
      '%d:%s:%s:%s:%.0f:%d', attempt, fence_text, counted or digests, bytes or 0, cost * limiter.us_per_unit,
      crashes
    )
  )
  redis.call('SET', 'arq:in-progress:' .. id, value, 'PX', lease_ms)
  redis.call('ZADD', KEYS[1], 'XX', lease_end_ms, id)
  jobs[#jobs + 1] = {id, score, attempt, payload, digests, cost, crashes}
end

-- Whether the job has to be claimed alone, so that no other job is lost with the worker that it may crash.
local suspect_at, alone = tonumber(ARGV[16]), ARGV[17] == '1'
local function is_suspect(id)
  if suspect_at == 0 then return false end
  local _, crashes = history(id)
  return crashes >= suspect_at
end

-- A job that a stock worker has leased: moved to the end of that lease, so that not every claim meets it.
local function held_elsewhere(id)
  local remaining_ms = redis.call('PTTL', 'arq:in-progress:' .. id)
  if remaining_ms > 0 then redis.call('ZADD', KEYS[1], 'XX', now_ms + remaining_ms, id) end
  return remaining_ms > 0
end

local costs = {}
if limits.rate > 0 then
  for i = 18, #ARGV, 2 do costs[ARGV[i]] = tonumber(ARGV[i + 1]) end
end
local taken, taken_bytes, more, wait_us, limited = 0, 0, 0, 0, ''

for i = 1, #due, 2 do
  local id, score = due[i], due[i + 1]
  if #jobs >= most_jobs or taken >= most_digests or taken_bytes >= MOST_CLAIM_BYTES then
    more = 1
    break
  end
  if not foreign(id) and not held_elsewhere(id) then
    local suspect = is_suspect(id)
    if suspect and not (alone and #jobs == 0) then
      more, isolated = 1, 2
      break
    end
    local payload = payload_of(id)
    local digests, cost = 0, 0
    if payload then
      local hints = hints_of(payload)
      digests = hints and type(hints.n) == 'number' and hints.n
      if not digests or digests < 1 then
        digests = math.max(math.floor((#payload - BYTES_BESIDE) / BYTES_PER_DIGEST), 1)
      end
      digests = math.min(digests, MOST_JOB_DIGESTS)
      if limits.rate > 0 then cost = digests * (hints and costs[hints.alg] or limits.dearest) end
    end
    limited, wait_us = charge(limiter, cost, digests)
    if limited ~= '' then
      more = 1
      break
    end
    take(id, score, payload, digests, cost)
    taken = taken + math.max(digests, 1)
    taken_bytes = taken_bytes + #id + (payload and #payload or 0)
    if suspect then
      more, isolated = 1, 1
      break
    end
  end
end
if limiter.charged then save(limiter) end
if #jobs == 0 and more == 0 then
  -- All that was due is held elsewhere, and has just been moved to the end of its lease.
  if #due > 2 * most_jobs then
    more = 1  -- later jobs were not looked at
  else
    redis.call('SET', KEYS[4], 1)
  end
end

local digest_cap, byte_cap = tonumber(ARGV[8]) * EXCESS, tonumber(ARGV[9]) * EXCESS
local excess = 0
if
  (digest_cap > 0 and (queued > digest_cap or stock[1] > digest_cap)) or (byte_cap > 0 and stock[2] > byte_cap)
then
  local newest = redis.call('ZRANGE', KEYS[1], latest, '-inf', 'BYSCORE', 'REV', 'LIMIT', 0, most_jobs, 'WITHSCORES')
  for i = 1, #newest, 2 do
    if taken_bytes >= MOST_CLAIM_BYTES then break end
    if not foreign(newest[i]) and not held_elsewhere(newest[i]) then
      local payload = payload_of(newest[i])
      take(newest[i], newest[i + 1], payload, 0, 0)
      excess = excess + 1
      taken_bytes = taken_bytes + #newest[i] + (payload and #payload or 0)
    end
  end
end
return answer(more, jobs, excess, wait_us, limited)
