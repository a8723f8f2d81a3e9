-- Publish the results of jobs of one tenant, if the lease is still ours.
--
-- KEYS[1]  queue           sorted set, job id -> due
-- KEYS[2]  claims          hash, job id -> 'attempts:fence:digests:bytes:charge:crashes'; bytes 0: not in the backlog
-- KEYS[3]  backlog         hash: digests, bytes, ended, since_ms, ended_ms (see submit.lua)
-- KEYS[4]  dead            hash, job id -> dead letter; one of a job that ends otherwise now is removed
-- ARGV[1]  reply prefix    of this tenant's reply streams
-- ARGV[2]  result retention (ms)
-- ARGV[3]  reply retention (ms)
-- ARGV[4..] per job, 5 each: job id, lease ('worker:fence'), result, reply id ('' for none), dead letter ('' for none)
-- Returns  per job 1 committed, 2 was committed before with the same bytes, 0 fenced: another worker has claimed it
-- O(jobs * log(backlog)). One stream entry per waiting client, with all its results: id, result, ...
-- Needs reads.lua and counters.lua before it.

local retention_ms, reply_retention_ms = tonumber(ARGV[2]), tonumber(ARGV[3])
local outcomes, entries = {}, {}
local drained, ended_digests, ended_bytes = 0, 0, 0

-- Over how long the rate at which jobs end is averaged: some rounds of a busy worker, and a client's patience.
local WINDOW_MS = 30000

-- unpack() takes less than 8,000 values (LUAI_MAXCSTACK), and a reader likes entries of some size.
local MOST_FIELDS = 1000

local dead = tonumber(redis.pcall('HLEN', KEYS[4])) or 0

local function push(reply_id)
  local stream = ARGV[1] .. reply_id
  -- A foreign type under the stream's key only costs the push: the client also looks at the result keys.
  redis.pcall('XADD', stream, 'MAXLEN', '~', 10000, '*', unpack(entries[reply_id]))
  redis.pcall('PEXPIRE', stream, reply_retention_ms)
  entries[reply_id] = nil
end

-- Beyond this many a dead letter is not kept: its result says what happened, and the log has its envelope.
local MOST_DEAD = 10000

for i = 4, #ARGV, 5 do
  local id, lease, result, reply_id, letter = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3], ARGV[i + 4]
  local lease_key, result_key = 'arq:in-progress:' .. id, 'arq:result:' .. id
  local holder = read('GET', lease_key)
  local claimed = history_of(KEYS[2], id)
  local ours = holder == lease
  if not holder then
    -- The lease ran out, but no worker has claimed the job since: our fence is still the last one.
    local fence = string.match(lease, ':(%d+)$')
    ours = string.match(claimed, '^%d+:(%d+)') == fence
  end
  local outcome = 0
  if ours then
    redis.call('SET', result_key, result, 'PX', retention_ms)
    redis.call('DEL', 'arq:job:' .. id, lease_key, 'arq:retry:' .. id)
    redis.pcall('ZREM', KEYS[1], id)  -- a foreign type there must not hold back a result
    redis.pcall('HDEL', KEYS[2], id)
    if letter ~= '' then
      if dead < MOST_DEAD then
        redis.pcall('HSET', KEYS[4], id, letter)
        dead = dead + 1
      end
    elseif dead > 0 then
      redis.pcall('HDEL', KEYS[4], id)  -- it was a dead letter before, and has a result now
    end
    local digests, bytes = string.match(claimed, '^%d+:%d+:(%d+):(%d+)')
    if digests then
      drained = drained + digests
      if bytes ~= '0' then
        ended_digests, ended_bytes = ended_digests + digests, ended_bytes + bytes
      end
    end
    outcome = 1
  elseif read('STRLEN', result_key) == #result and read('GET', result_key) == result then
    outcome = 2  -- our own commit, whose answer was lost on the way
  end
  if outcome > 0 and reply_id ~= '' then
    local entry = entries[reply_id]
    if not entry then
      entry = {}
      entries[reply_id] = entry
    end
    entry[#entry + 1] = id
    entry[#entry + 1] = result
    if #entry >= MOST_FIELDS then push(reply_id) end
  end
  outcomes[#outcomes + 1] = outcome
end

for reply_id in pairs(entries) do push(reply_id) end

if drained > 0 then
  local time = redis.call('TIME')
  local now_ms = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
  local kept = numbers(KEYS[3], 'digests', 'bytes', 'ended', 'since_ms', 'ended_ms')
  local ended, since_ms = kept[3], kept[4]
  if now_ms - kept[5] > WINDOW_MS or since_ms > now_ms or ended < 0 then
    ended, since_ms = 0, now_ms  -- a new window after a pause
  elseif now_ms - since_ms > WINDOW_MS then
    ended, since_ms = ended / 2, now_ms - (now_ms - since_ms) / 2  -- the older half goes
  end
  redis.call(
    'HSET', KEYS[3],
    'digests', string.format('%.0f', math.max(kept[1] - ended_digests, 0)),
    'bytes', string.format('%.0f', math.max(kept[2] - ended_bytes, 0)),
    'ended', string.format('%.0f', ended + drained),
    'since_ms', string.format('%.0f', since_ms), 'ended_ms', string.format('%.0f', now_ms)
  )
end
return outcomes
