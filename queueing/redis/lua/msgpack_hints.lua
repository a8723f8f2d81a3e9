-- hints_of(raw): the kwargs (field k) of a job or result in arq's form, as a table; nil where there are none.
--
-- Put before the scripts that call it. Redis' own cmsgpack reads no msgpack 'bin' (0xc4..0xc6: "Bad data
-- format"), and an envelope is one. Reads the map's fields up to 'k' and copies nothing else; integers below
-- 2^53 and strings keep their value, anything else is only stepped over. O(fields before k).

local FIXED = {  -- first byte -> bytes that follow
  [0xc0] = 0, [0xc2] = 0, [0xc3] = 0, [0xca] = 4, [0xcb] = 8, [0xcc] = 1, [0xcd] = 2, [0xce] = 4, [0xcf] = 8,
  [0xd0] = 1, [0xd1] = 2, [0xd2] = 4, [0xd3] = 8, [0xd4] = 2, [0xd5] = 3, [0xd6] = 5, [0xd7] = 9, [0xd8] = 17,
}
local LENGTH = {[0xc4] = 1, [0xc5] = 2, [0xc6] = 4, [0xd9] = 1, [0xda] = 2, [0xdb] = 4}  -- bin and str
local EXTENSION = {[0xc7] = 1, [0xc8] = 2, [0xc9] = 4}
local ITEMS = {[0xdc] = 2, [0xdd] = 4}
local PAIRS = {[0xde] = 2, [0xdf] = 4}

local function number_at(raw, at, bytes)
  local number = 0
  for i = at, at + bytes - 1 do number = number * 256 + string.byte(raw, i) end
  return number
end

local value_at

local function items_at(raw, at, count)
  for _ = 1, count do
    local _, after = value_at(raw, at)
    at = after
  end
  return nil, at
end

local function pairs_at(raw, at, count)
  local map = {}
  for _ = 1, count do
    local key, after_key = value_at(raw, at)
    local value, after = value_at(raw, after_key)
    if type(key) == 'string' then map[key] = value end
    at = after
  end
  return map, at
end

value_at = function(raw, at)
  local first = string.byte(raw, at)
  if first < 0x80 then return first, at + 1 end
  if first < 0x90 then return pairs_at(raw, at + 1, first - 0x80) end
  if first < 0xa0 then return items_at(raw, at + 1, first - 0x90) end
  if first < 0xc0 then return string.sub(raw, at + 1, at + first - 0xa0), at + 1 + first - 0xa0 end
  if first >= 0xe0 then return nil, at + 1 end
  if FIXED[first] then
    local value = nil
    if first >= 0xcc and first <= 0xcf then value = number_at(raw, at + 1, FIXED[first]) end
    return value, at + 1 + FIXED[first]
  end
  if LENGTH[first] then
    local start = at + 1 + LENGTH[first]
    local length = number_at(raw, at + 1, LENGTH[first])
    return string.sub(raw, start, start + length - 1), start + length
  end
  if EXTENSION[first] then
    return nil, at + 2 + EXTENSION[first] + number_at(raw, at + 1, EXTENSION[first])
  end
  if ITEMS[first] then
    return items_at(raw, at + 1 + ITEMS[first], number_at(raw, at + 1, ITEMS[first]))
  end
  return pairs_at(raw, at + 1 + PAIRS[first], number_at(raw, at + 1, PAIRS[first]))
end

local function read_hints(raw)
  local first = string.byte(raw, 1)
  local count, at = first - 0x80, 2
  if first == 0xde then count, at = number_at(raw, 2, 2), 4 end
  for _ = 1, count do
    local key, after_key = value_at(raw, at)
    local value, after = value_at(raw, after_key)
    if key == 'k' then return value end
    at = after
  end
end

local function hints_of(raw)
  if type(raw) ~= 'string' then return nil end
  local ok, hints = pcall(read_hints, raw)  -- damaged bytes are an arithmetic error on nil, caught here
  if ok and type(hints) == 'table' then return hints end
  return nil
end

