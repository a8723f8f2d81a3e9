-- Extend leases on jobs of one tenant.
--
-- KEYS[1]  queue           sorted set, job id -> due
-- KEYS[2]  claims          hash, job id -> 'attempts:fence:…'
-- ARGV[1]  lease (ms)
-- ARGV[2..] per job, 2 each: job id, lease ('worker:fence')
-- Returns  per job 1 extended, 0 lost: done, or another worker has claimed it
-- O(jobs * log(backlog)). Needs reads.lua before it.

local time = redis.call('TIME')
local lease_ms = tonumber(ARGV[1])
local lease_end_ms = math.floor(tonumber(time[1]) * 1000 + tonumber(time[2]) / 1000) + lease_ms
local outcomes = {}

for i = 2, #ARGV, 2 do
  local id, lease = ARGV[i], ARGV[i + 1]
  local lease_key = 'arq:in-progress:' .. id
  local holder = read('GET', lease_key)
  local ours = holder == lease
  if not holder then
    ours = string.match(history_of(KEYS[2], id), '^%d+:(%d+)') == string.match(lease, ':(%d+)$')
  end
  if ours then
    redis.call('SET', lease_key, lease, 'PX', lease_ms)
    redis.call('ZADD', KEYS[1], 'XX', lease_end_ms, id)
  end
  outcomes[#outcomes + 1] = ours and 1 or 0
end
return outcomes
