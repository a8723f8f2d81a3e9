-- numbers(key, field, ...): fields of a hash as numbers, 0 where there is none; a foreign type, and a field longer than any number
--   of ours, is removed unread.
-- plausible(digests, bytes, jobs): a backlog's counters, within what so many jobs can have.
--
-- Prepended to the scripts that call them. A client with write access to the tenant's keys can write any value there, and
-- Redis runs nothing else while it copies one of 512 MB. O(fields).

local MOST_NUMBER_BYTES = 32

local function numbers(key, ...)
  for i = 1, select('#', ...) do
    local field = select(i, ...)
    local bytes = redis.pcall('HSTRLEN', key, field)
    if type(bytes) == 'table' then
      redis.call('UNLINK', key)
      break
    end
    if bytes > MOST_NUMBER_BYTES then redis.pcall('HDEL', key, field) end
  end
  local values = redis.call('HMGET', key, ...)
  for i = 1, select('#', ...) do
    local value = tonumber(values[i] or 0) or 0
    values[i] = value == value and math.min(math.max(value, -2 ^ 53), 2 ^ 53) or 0
  end
  return values
end

-- As queueing.protocol.envelope has them: no job has more.
local MOST_JOB_DIGESTS, MOST_JOB_BYTES = 1024, 262144

local function plausible(digests, bytes, jobs)
  return math.min(math.max(digests, 0), jobs * MOST_JOB_DIGESTS), math.min(math.max(bytes, 0), jobs * MOST_JOB_BYTES)
end

