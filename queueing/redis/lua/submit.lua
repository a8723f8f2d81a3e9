-- Accept jobs of one tenant, each at most once, within its backlog caps.
--
-- KEYS[1]  queue           sorted set, job id -> due (Unix ms, fraction keeps the order within a batch)
-- KEYS[2]  armed           set by a claim that found no due job: a worker waits for the doorbell
-- KEYS[3]  claims          hash, job id -> 'attempts:fence:digests:bytes:charge:crashes'; written here: what was counted
-- KEYS[4]  backlog         hash: digests and bytes that were accepted and have not ended; refused (jobs, ever); accepted (digests, ever);
--                          ended: digests that ended since_ms, the last of them ended_ms (commit.lua)
-- ARGV[1]  doorbell        channel, rung when it is armed; once, for all subscribers
-- ARGV[2]  tenant          content of the doorbell's message
-- ARGV[3]  caps            hash, written by workers: digests, bytes, budget; none or 0: no cap
-- ARGV[4]  limiter         hash: day, spent (see claim.lua)
--                          Only read. A key in KEYS must be writable for the caller (ACL); these two are not
--                          for a tenant's own user.
-- ARGV[5..] per job, 6 each: job id, payload (arq's job, msgpack), content hash (16 bytes), time to live (ms),
--            digests, head start (ms, its place in the queue lies so far in the past)
-- Returns  {replies, room digests, room bytes, budget left}; the last three are -1 where there is no cap.
--          Per job one of
--            {'accepted'}           new, or renewed after it expired unsigned
--            {'queued'}             the same job is waiting or being worked on; a later envelope of its client replaced it
--            {'done', result}       the same job is done: its result
--            {'conflict'}           this id was used for other content; nothing was changed
--            {'refused', reason, retry after (ms)}   no room; so is every new job behind it, to keep the order
-- O(jobs * log(backlog)); reads a payload only where the id exists already. Needs msgpack_hints.lua and counters.lua
-- before it.

local time = redis.call('TIME')
local now_us = tonumber(time[1]) * 1000000 + tonumber(time[2])
local now_ms = now_us / 1000

-- Sooner, and a thousand refused clients are a load of their own; later, and workers idle after the queue is empty.
local LEAST_WAIT_MS, MOST_WAIT_MS = 500, 60000
local LATELY_MS, UNKNOWN_WAIT_MS = 30000, 5000
local DAY_MS = 86400000

-- Above the largest job, and the largest result (1,024 signatures of 512 bytes, or as many errors with their text).
local MOST_PAYLOAD_BYTES, MOST_RESULT_BYTES = 256 * 1024, 4 * 1024 * 1024

-- STRLEN first: a value of 512 MB is not copied.
local function read(key, most_bytes)
  local bytes = redis.pcall('STRLEN', key)
  if type(bytes) == 'number' and bytes <= most_bytes then return redis.call('GET', key) or nil end
  redis.call('UNLINK', key)  -- a foreign type, or no value of ours
  return nil
end

local caps = numbers(ARGV[3], 'digests', 'bytes', 'budget')
local digest_cap, byte_cap, budget = caps[1], caps[2], caps[3]
local queued = redis.call('ZCARD', KEYS[1])
local stock = numbers(KEYS[4], 'digests', 'bytes', 'refused', 'ended', 'since_ms', 'ended_ms', 'accepted')
local digests, bytes = plausible(stock[1], stock[2], queued)
local spent, today = 0, math.floor(now_ms / DAY_MS)
if budget > 0 then
  local kept = numbers(ARGV[4], 'day', 'spent')
  if kept[1] == today then spent = kept[2] end
end
local tries = redis.pcall('TYPE', KEYS[3]).ok
if tries ~= 'hash' and tries ~= 'none' then redis.call('UNLINK', KEYS[3]) end

local replies, refusal = {}, nil
local added, refused, accepted = 0, 0, 0

-- Reason why the backlog cannot take a job of this size; nil if it can. A job larger than the whole cap needs
-- an empty backlog.
local function why_not(job_digests, job_bytes)
  if budget > 0 and spent >= budget then
    return {'refused', 'limit.budget', (today + 1) * DAY_MS - math.floor(now_ms)}
  end
  local over = 0
  if digest_cap > 0 and digests > 0 then over = digests + job_digests - digest_cap end
  if byte_cap > 0 and bytes > 0 and bytes + job_bytes > byte_cap then
    over = math.max(over, (bytes + job_bytes - byte_cap) * digests / bytes)
  end
  if over <= 0 then return nil end
  -- Retry time from the recent rate at which workers finish digests.
  local wait_ms = UNKNOWN_WAIT_MS
  if stock[4] > 0 and now_ms - stock[6] < LATELY_MS then
    wait_ms = over * math.max(now_ms - stock[5], 1) / stock[4]
  end
  return {'refused', 'limit.backlog', math.floor(math.min(math.max(wait_ms, LEAST_WAIT_MS), MOST_WAIT_MS))}
end

local function enqueue(id, head_start_ms, job_digests, job_bytes)
  redis.call('ZADD', KEYS[1], string.format('%.3f', now_ms - head_start_ms + added / 1000), id)
  added = added + 1
  if redis.call('HSETNX', KEYS[3], id, string.format('0:0:%d:%d:0:0', job_digests, job_bytes)) == 1 then
    digests, bytes = digests + job_digests, bytes + job_bytes
  end
end

for i = 5, #ARGV, 6 do
  local id, payload, content, ttl_ms = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3]
  local job_digests, head_start_ms = tonumber(ARGV[i + 4]), tonumber(ARGV[i + 5])
  local reply = nil
  local result_key = 'arq:result:' .. id
  local job_key = 'arq:job:' .. id
  local again = false

  local raw = read(result_key, MOST_RESULT_BYTES)
  if raw then
    local hints = hints_of(raw) or {}
    if hints.again == 1 and (hints.h == nil or hints.h == content) then
      again = true  -- nothing was released; without a hash, no worker could read the job
    elseif hints.h ~= nil and hints.h ~= content then
      reply = {'conflict'}
    else
      reply = {'done', raw}
    end
  end

  if not reply then
    local waiting = read(job_key, MOST_PAYLOAD_BYTES)
    if waiting then
      local hints = hints_of(waiting) or {}
      if hints.h ~= nil and hints.h ~= content then
        reply = {'conflict'}
      else
        -- Nothing is verified here: another client, whose key may be revoked, does not replace the envelope.
        if hints.c == nil or hints.c == (hints_of(payload) or {}).c then
          redis.call('SET', job_key, payload, 'PX', ttl_ms)
        end
        if not redis.call('ZSCORE', KEYS[1], id) then enqueue(id, head_start_ms, job_digests, #payload) end
        reply = {'queued'}
      end
    end
  end

  if not reply then
    refusal = refusal or why_not(job_digests, #payload)
    if refusal then
      reply = refusal
      refused = refused + 1
    else
      redis.call('SET', job_key, payload, 'PX', ttl_ms)
      enqueue(id, head_start_ms, job_digests, #payload)
      reply = {'accepted'}
      accepted = accepted + job_digests
    end
  end
  if again and reply ~= refusal then redis.call('DEL', result_key) end
  replies[#replies + 1] = reply
end

-- HSET, not HINCRBY: it replaces a field that is no number, and no other script runs meanwhile.
if digests ~= stock[1] or bytes ~= stock[2] then
  redis.call('HSET', KEYS[4], 'digests', string.format('%.0f', digests), 'bytes', string.format('%.0f', bytes))
end
if accepted > 0 then redis.call('HSET', KEYS[4], 'accepted', string.format('%.0f', stock[7] + accepted)) end
if refused > 0 then redis.call('HSET', KEYS[4], 'refused', string.format('%.0f', stock[3] + refused)) end
if added > 0 and redis.call('DEL', KEYS[2]) == 1 then redis.call('PUBLISH', ARGV[1], ARGV[2]) end
return {
  replies,
  digest_cap > 0 and math.max(digest_cap - digests, 0) or -1,
  byte_cap > 0 and math.max(byte_cap - bytes, 0) or -1,
  budget > 0 and math.max(budget - spent, 0) or -1,
}
