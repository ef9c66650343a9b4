-- Takes tokens from one bucket. As `bucket.lua` has it, written out: this is the call that every request makes.
--
-- KEYS  the bucket
-- ARGV  1 the time that refills what is asked for, 2 the debt of an empty bucket (microseconds),
--       3 how long it is kept (milliseconds), 4 the debt of one that is not there (microseconds; 0)
-- Returns the debt, rounded down; if there was too little, -1 less the debt.

local call, key = redis.call, KEYS[1]
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local value, debt, back = call('GET', key), 0, false
if value and #value == 16 then
  local stored, at = struct.unpack('<dd', value)
  if now > at then stored = stored - (now - at) else back = now < at end
  if stored > 0 and stored < 1e15 then debt = stored end
elseif ARGV[4] then
  debt, back = tonumber(ARGV[4]), true
end
local after = debt + ARGV[1]
if after > tonumber(ARGV[2]) then
  if back then call('PSETEX', key, math.max(ARGV[3], math.ceil(debt / 1000)), struct.pack('<dd', debt, now)) end
  return -1 - debt
end
call('PSETEX', key, ARGV[3], struct.pack('<dd', after, now))
return after
