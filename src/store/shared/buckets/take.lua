-- Takes from several buckets, from all of them or from none.
--
-- KEYS  the buckets, in one slot
-- ARGV  1 how many times what is asked for, 2 how few will do: as many for all or nothing, 1 for as many as
--       there are. Of nothing, the debts alone are told. Then for each bucket: the time that refills what is
--       asked for once, the debt of an empty bucket (microseconds), how long it is kept (milliseconds), the debt
--       of one that is not there (microseconds)
-- Returns how many times it was granted, and the debt of each bucket afterwards, rounded down.

local asked, least = tonumber(ARGV[1]), tonumber(ARGV[2])
local granted = asked
local values, debts, answer = call('MGET', unpack(KEYS)), {}, {}
for i, key in ipairs(KEYS) do
  local increment, tolerance, back = tonumber(ARGV[4 * i - 1]), tonumber(ARGV[4 * i]), false
  debts[i], back = debt_of(values[i], ARGV[4 * i + 2])
  if back and (values[i] or asked > 0) then keep(key, debts[i], ARGV[4 * i + 1]) end
  if increment > 0 then granted = math.min(granted, math.floor((tolerance - debts[i]) / increment)) end
end
if granted < least or granted < 0 then granted = 0 end
answer[1] = granted
for i, key in ipairs(KEYS) do
  local after = debts[i] + granted * ARGV[4 * i - 1]
  if after > debts[i] then keep(key, after, ARGV[4 * i + 1]) end
  answer[i + 1] = after
end
return answer
