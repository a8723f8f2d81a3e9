-- Replace the newest signed head of a log, if it is still the one that the caller has compared with its own.
--
-- KEYS[1]  head            string, checkpoint and origin statement (queueing/transparency/signed_heads.py)
-- ARGV[1]  new head
-- ARGV[2]  seen            SHA-1 (hex) of the value that the caller has seen: of its first bytes, or of '' if there was none
-- ARGV[3]  most (bytes)    how many of its first bytes
-- ARGV[4]  keep (ms)       how long a head is kept that is not replaced
-- Returns  1 if it was replaced, 0 if there is another value than the caller has seen
-- O(1)
--
-- Redis cannot verify a signature: that a head never goes back is decided by the caller, about the value that it has seen.

local there = read('GETRANGE', KEYS[1], 0, tonumber(ARGV[3]) - 1)
if type(there) == 'table' then there = '\193' end  -- a foreign type: as the caller reads it
if redis.sha1hex(there) ~= ARGV[2] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[4])
return 1
