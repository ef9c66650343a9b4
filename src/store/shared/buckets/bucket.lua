-- What the scripts share: reading a bucket, and keeping it.
--
-- A bucket is two doubles: what it lacks to be full, as the time (microseconds) that refills it, and
-- when that was so. So the debt keeps its precision, whatever the year is, and a clock that was set back
-- is known as such: then nothing is refilled, and the debt counts from the new time on. What is not a
-- bucket is a new one: full, or of the debt that is said.

local call = redis.call
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]

-- The debt, and whether the bucket is new and not full, or the clock went back since: then it must be kept, or it
-- would not drain.
local function debt_of(value, initial)
  initial = tonumber(initial)
  if not value or #value ~= 16 then return initial, initial > 0 end
  local debt, at = struct.unpack('<dd', value)
  if now > at then debt = debt - (now - at) end
  if debt > 0 and debt < 1e15 then return debt, now < at end
  return 0, false
end

-- Keeps a bucket for as long as it would take to refill, and never for less than its debt.
local function keep(key, debt, kept)
  local longest = math.max(tonumber(kept), math.ceil(debt / 1000) + 1000)
  call('PSETEX', key, string.format('%.0f', longest), struct.pack('<dd', debt, now))
end

