-- Return leased jobs of one tenant to its queue, unsigned.
--
-- KEYS[1]  queue           sorted set, job id -> due
-- KEYS[2]  claims          hash, job id -> 'attempts:fence:digests:bytes:charge (us):crashes' (see claim.lua)
-- KEYS[3]  armed           a worker waits for the doorbell
-- KEYS[4]  limiter         hash of the rate limit (see rate_limit.lua)
-- ARGV[1]  1 if the attempt counts against the job, 0 if it does not (drain, outage of a token)
-- ARGV[2]  1 if its charge is refunded, less the time since its claim (see rate_limit.lua)
-- ARGV[3]  delay (ms): 0 gives the job its old place, so that it keeps its turn
-- ARGV[4]  doorbell        channel, rung when it is armed and a job is due at once
-- ARGV[5]  tenant          content of the doorbell's message
-- ARGV[6..] per job, 3 each: job id, lease ('worker:fence'), due (Unix ms, its old place)
-- Returns  per job 1 returned, 0 lost: done, or another worker has claimed it
-- O(jobs * log(backlog)). Needs reads.lua, counters.lua and rate_limit.lua before it.

local counts, refund, delay_ms = ARGV[1] == '1', ARGV[2] == '1', tonumber(ARGV[3])
local time = redis.call('TIME')
local now_us = tonumber(time[1]) * 1000000 + tonumber(time[2])
local later_ms = math.floor(now_us / 1000) + delay_ms
local outcomes = {}
local back_us, back_digests = {}, 0  -- by fence, which is the time of the claim (us) unless the counter was set ahead

for i = 6, #ARGV, 3 do
  local id, lease, due_ms = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  local lease_key = 'arq:in-progress:' .. id
  local holder = read('GET', lease_key)
  local attempt, fence, digests, bytes, charge_us, crashes =
    string.match(history_of(KEYS[2], id), '^(%d+):(%d+):(%d+):(%d+):(%d+):?(%d*)$')
  -- A lease that ran out is still ours as long as no worker has claimed the job since.
  local ours = holder == lease or (not holder and fence ~= nil and fence == string.match(lease, ':(%d+)$'))
  if ours then
    redis.call('DEL', lease_key)
    redis.call('ZADD', KEYS[1], 'XX', delay_ms > 0 and later_ms or due_ms, id)
    if attempt then
      if refund then
        back_us[fence] = (back_us[fence] or 0) + charge_us
        if math.floor(fence / DAY_US) == math.floor(now_us / DAY_US) then back_digests = back_digests + digests end
      end
      if not counts then attempt = math.max(attempt - 1, 0) end
      local kept = string.format('%d:0:%s:%s:0:%d', attempt, digests, bytes, tonumber(crashes) or 0)
      redis.call('HSET', KEYS[2], id, kept)
    end
  end
  outcomes[#outcomes + 1] = ours and 1 or 0
end
local whole_us = 0
for fence, charge_us in pairs(back_us) do
  whole_us = whole_us + math.max(charge_us - math.max(now_us - fence, 0), 0)
end
refund_charges(KEYS[4], now_us, whole_us, back_digests)
if delay_ms == 0 and redis.call('DEL', KEYS[3]) == 1 then redis.call('PUBLISH', ARGV[4], ARGV[5]) end
return outcomes
