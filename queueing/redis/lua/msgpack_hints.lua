-- hints_of(raw): the kwargs (field k) of a job or result in arq's form, as a table; nil where there are none.
-- tenant_of(raw): the tenant that the envelope in a job names, as text; nil where the job holds no envelope.
--
-- Prepended to the scripts that call them. Redis' own cmsgpack reads no msgpack 'bin' (0xc4..0xc6: "Bad data
-- format"), and an envelope is one. Reads the map's fields up to the one that is looked for and copies nothing else;
-- integers below 2^53 and short texts keep their value, anything else is skipped. O(fields): a client with
-- write access to a payload can put any number of items before k, so the search ends after MOST_ITEMS of them.

-- A job has about 20 items, its kwargs included.
local MOST_ITEMS = 64
-- The longest text in hints, or name of a tenant, has 64 bytes.
local MOST_TEXT_BYTES = 64

local FIXED = {  -- first byte -> bytes that follow
  [0xc0] = 0, [0xc2] = 0, [0xc3] = 0, [0xca] = 4, [0xcb] = 8, [0xcc] = 1, [0xcd] = 2, [0xce] = 4, [0xcf] = 8,
  [0xd0] = 1, [0xd1] = 2, [0xd2] = 4, [0xd3] = 8, [0xd4] = 2, [0xd5] = 3, [0xd6] = 5, [0xd7] = 9, [0xd8] = 17,
}
local BIN = {[0xc4] = 1, [0xc5] = 2, [0xc6] = 4}
local LENGTH = {[0xc4] = 1, [0xc5] = 2, [0xc6] = 4, [0xd9] = 1, [0xda] = 2, [0xdb] = 4}  -- bin and str
local EXTENSION = {[0xc7] = 1, [0xc8] = 2, [0xc9] = 4}
local ITEMS = {[0xdc] = 2, [0xdd] = 4}
local PAIRS = {[0xde] = 2, [0xdf] = 4}

local items_left = 0

local function number_at(raw, at, bytes)
  local number = 0
  for i = at, at + bytes - 1 do number = number * 256 + string.byte(raw, i) end
  return number
end

local function text_at(raw, at, bytes)
  return bytes <= MOST_TEXT_BYTES and string.sub(raw, at, at + bytes - 1) or nil, at + bytes
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
  items_left = items_left - 1
  if items_left < 0 then error('too many items') end
  local first = string.byte(raw, at)
  if first < 0x80 then return first, at + 1 end
  if first < 0x90 then return pairs_at(raw, at + 1, first - 0x80) end
  if first < 0xa0 then return items_at(raw, at + 1, first - 0x90) end
  if first < 0xc0 then return text_at(raw, at + 1, first - 0xa0) end
  if first >= 0xe0 then return nil, at + 1 end
  if FIXED[first] then
    local value = nil
    if first >= 0xcc and first <= 0xcf then value = number_at(raw, at + 1, FIXED[first]) end
    return value, at + 1 + FIXED[first]
  end
  if LENGTH[first] then
    return text_at(raw, at + 1 + LENGTH[first], number_at(raw, at + 1, LENGTH[first]))
  end
  if EXTENSION[first] then
    return nil, at + 2 + EXTENSION[first] + number_at(raw, at + 1, EXTENSION[first])
  end
  if ITEMS[first] then
    return items_at(raw, at + 1 + ITEMS[first], number_at(raw, at + 1, ITEMS[first]))
  end
  return pairs_at(raw, at + 1 + PAIRS[first], number_at(raw, at + 1, PAIRS[first]))
end

-- Where the value of this field of the map begins; nil where the map has no such field.
local function find(raw, field)
  items_left = MOST_ITEMS
  local first = string.byte(raw, 1)
  local count, at = first - 0x80, 2
  if first == 0xde then count, at = number_at(raw, 2, 2), 4 end
  for _ = 1, count do
    local key, after_key = value_at(raw, at)
    if key == field then return after_key end
    local _, after = value_at(raw, after_key)
    at = after
  end
end

local function read_hints(raw)
  local at = find(raw, 'k')
  if at then
    local hints = value_at(raw, at)
    return hints
  end
end

-- The first byte within a bin, which holds msgpack itself.
local function inside(raw, at) return at + 1 + BIN[string.byte(raw, at)] end

-- job = {a: [sealed], ...}; sealed = [body, signature]; body = [version, audience, tenant, ...]. Both arrays and the
-- body's have one byte before their first item.
local function read_tenant(raw)
  local at = find(raw, 'a')
  if not at then return nil end
  local body = inside(raw, inside(raw, at + 1) + 1)
  local _, audience = value_at(raw, body + 1)
  local _, tenant = value_at(raw, audience)
  local name = value_at(raw, tenant)
  return name
end

local function protected(read, raw, kind)
  if type(raw) ~= 'string' then return nil end
  local ok, found = pcall(read, raw)  -- damaged bytes are an arithmetic error on nil, caught here
  if ok and type(found) == kind then return found end
  return nil
end

local function hints_of(raw) return protected(read_hints, raw, 'table') end

local function tenant_of(raw) return protected(read_tenant, raw, 'string') end

