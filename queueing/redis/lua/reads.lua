-- read(command, key, ...): the answer, or the error of a foreign type under the key; any other error ends the script.
-- history_of(claims, id): what claim.lua keeps of a job there; '' where there is nothing, a foreign type, or more than it ever keeps.
--
-- While a slot is moved between nodes of a cluster, a key that is not declared may be on the other node already. That it
-- cannot be read here must not look as if it were gone. O(1), and the command.

local function read(...)
  local answer = redis.pcall(...)
  if type(answer) == 'table' and answer.err and not string.find(answer.err, 'WRONGTYPE', 1, true) then
    return redis.call(...)
  end
  return answer
end

-- Six numbers: 'attempts:fence:digests:bytes:charge (us):crashes'. A client with write access can write any value there, and
-- Redis runs nothing else while it copies one of 512 MB.
local MOST_HISTORY_BYTES = 6 * 32

local function history_of(claims, id)
  local bytes = read('HSTRLEN', claims, id)
  if type(bytes) ~= 'number' or bytes > MOST_HISTORY_BYTES then return '' end
  return read('HGET', claims, id) or ''
end
