-- Remove jobs of one tenant that no worker has claimed, and store a result `job.cancelled`.
--
-- KEYS[1]  queue           sorted set, job id -> due
-- KEYS[2]  claims          hash, job id -> 'attempts:fence:digests:bytes:charge:crashes'; fence 0: not claimed
-- KEYS[3]  backlog         hash: digests and bytes that were accepted and have not ended (see submit.lua)
-- KEYS[4..] per job, 2 each: its job key, its result key
-- ARGV[1]  result retention (ms)
-- ARGV[2..] per job, 4 each: job id, its lease key, the job as the caller read it, the result to leave
--                          The lease key is only read. A key in KEYS must be writable for the caller (ACL); this
--                          one is not for a tenant's own user.
-- Returns  per job 1 removed, 0 claimed: a worker has it, or had it and may have signed; 2 gone or replaced since it was read
-- O(jobs * log(backlog)). Needs reads.lua and counters.lua before it.

local retention_ms = tonumber(ARGV[1])
local outcomes = {}
local gone_digests, gone_bytes = 0, 0

for i = 2, #ARGV, 4 do
  local id, lease_key, payload, result = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3]
  local place = 4 + (i - 2) / 2
  local job_key, result_key = KEYS[place], KEYS[place + 1]
  local fence, digests, bytes = string.match(history_of(KEYS[2], id), '^%d+:(%d+):(%d+):(%d+)')
  local outcome = 1
  if redis.call('EXISTS', lease_key) == 1 or (fence and fence ~= '0') then
    outcome = 0
  elseif read('STRLEN', job_key) ~= #payload or read('GET', job_key) ~= payload then
    outcome = 2
  else
    redis.call('DEL', job_key)
    redis.pcall('ZREM', KEYS[1], id)
    redis.pcall('HDEL', KEYS[2], id)
    redis.call('SET', result_key, result, 'PX', retention_ms)
    if digests and bytes ~= '0' then
      gone_digests, gone_bytes = gone_digests + digests, gone_bytes + bytes
    end
  end
  outcomes[#outcomes + 1] = outcome
end

if gone_digests > 0 then
  local kept = numbers(KEYS[3], 'digests', 'bytes')
  redis.call(
    'HSET', KEYS[3],
    'digests', string.format('%.0f', math.max(kept[1] - gone_digests, 0)),
    'bytes', string.format('%.0f', math.max(kept[2] - gone_bytes, 0))
  )
end
return outcomes
