-- Register a live worker, and remove workers that have not registered for too long.
--
-- KEYS[1]  seen            sorted set, worker -> when it was last seen (Unix ms)
-- KEYS[2]  facts           hash, worker -> its report (queueing/coordination/worker_registry.py)
-- ARGV[1]  worker
-- ARGV[2]  facts           '' at a clean shutdown
-- ARGV[3]  keep (ms)       how long a silent worker is kept
-- ARGV[4]  most            most workers kept
-- Returns  1
-- O(log(workers) + workers removed); at most a hundred are removed at a time.

local time = redis.call('TIME')
local now_ms = math.floor(tonumber(time[1]) * 1000 + tonumber(time[2]) / 1000)
local seen, facts = KEYS[1], KEYS[2]

local function forget(workers)
  if #workers > 0 then
    redis.call('ZREM', seen, unpack(workers))
    redis.call('HDEL', facts, unpack(workers))
  end
end

if ARGV[2] == '' then
  forget({ARGV[1]})
else
  redis.call('ZADD', seen, now_ms, ARGV[1])
  redis.call('HSET', facts, ARGV[1], ARGV[2])
end
-- Seen in the future: the clock was set back since, and a dead worker would look alive until it is there again.
for _, worker in ipairs(redis.call('ZRANGEBYSCORE', seen, string.format('(%.0f', now_ms), '+inf', 'LIMIT', 0, 100)) do
  redis.call('ZADD', seen, now_ms, worker)
end
forget(redis.call('ZRANGEBYSCORE', seen, '-inf', now_ms - tonumber(ARGV[3]), 'LIMIT', 0, 100))
local over = redis.call('ZCARD', seen) - tonumber(ARGV[4])
if over > 0 then forget(redis.call('ZRANGE', seen, 0, math.min(over, 100) - 1)) end
redis.call('PEXPIRE', seen, 2 * tonumber(ARGV[3]))
redis.call('PEXPIRE', facts, 2 * tonumber(ARGV[3]))
return 1
