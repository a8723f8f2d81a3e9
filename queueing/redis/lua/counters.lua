-- numbers(key, field, ...): fields of a hash as numbers, 0 where there is none; a foreign type is removed.
-- plausible(digests, bytes, jobs): a backlog's counters, within what so many jobs can have.
--
-- Prepended to the scripts that call them. A client with write access to the tenant's keys can write any value there. O(fields).

local function numbers(key, ...)
  local values = redis.pcall('HMGET', key, ...)
  if values.err then
    redis.call('DEL', key)
    values = {}
  end
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

