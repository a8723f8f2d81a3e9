-- read(command, key, ...): the answer, or the error of a foreign type under the key; any other error ends the script.
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

