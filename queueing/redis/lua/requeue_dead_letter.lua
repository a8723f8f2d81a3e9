-- Put a dead letter's job back into its queue, as if it had just been submitted.
--
-- KEYS[1]  queue           sorted set, job id -> due (Unix ms)
-- KEYS[2]  claims          hash, job id -> 'attempts:fence:digests:bytes:charge:crashes' (see claim.lua)
-- KEYS[3]  dead            hash, job id -> dead letter
-- KEYS[4]  armed           a worker waits for the doorbell
-- KEYS[5]  backlog         hash: digests and bytes that were accepted and have not ended (see submit.lua)
-- ARGV[1]  doorbell        channel, rung when it is armed
-- ARGV[2]  tenant          content of the doorbell's message
-- ARGV[3]  job id
-- ARGV[4]  the dead letter as it was read
-- ARGV[5]  payload         the job in it (arq's form, msgpack)
-- ARGV[6]  time to live (ms)
-- ARGV[7]  digests
-- Returns  1 queued; 2 the same job was submitted again meanwhile, and the dead letter is gone; 0 no such letter
-- O(log(backlog)). Needs counters.lua before it.

local id, payload = ARGV[3], ARGV[5]
if redis.pcall('HGET', KEYS[3], id) ~= ARGV[4] then return 0 end
redis.call('HDEL', KEYS[3], id)
if redis.call('EXISTS', 'arq:job:' .. id) == 1 then return 2 end

local time = redis.call('TIME')
redis.call('DEL', 'arq:result:' .. id)
redis.call('SET', 'arq:job:' .. id, payload, 'PX', ARGV[6])
redis.call('ZADD', KEYS[1], string.format('%.3f', tonumber(time[1]) * 1000 + tonumber(time[2]) / 1000), id)
redis.call('HSET', KEYS[2], id, string.format('0:0:%d:%d:0:0', ARGV[7], #payload))
local stock = numbers(KEYS[5], 'digests', 'bytes')
redis.call(
  'HSET', KEYS[5],
  'digests', string.format('%.0f', stock[1] + tonumber(ARGV[7])), 'bytes', string.format('%.0f', stock[2] + #payload)
)
if redis.call('DEL', KEYS[4]) == 1 then redis.call('PUBLISH', ARGV[1], ARGV[2]) end
return 1
