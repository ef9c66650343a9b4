-- Takes tokens from one bucket for several who ask, one after the other: each gets what it asked for or
-- nothing, and who asks for less may pass where one before could not.
--
-- KEYS  the bucket
-- ARGV  1 how long it is kept (milliseconds), 2 the debt that is given back before, 3 the debt of a bucket that
--       is not there (microseconds), then for each run of those who ask for the same: the time that refills it, the debt of an empty bucket
--       (microseconds), how many they are
-- Returns the debt before, rounded down, and of each run how many were granted.

local debt, back = debt_of(call('GET', KEYS[1]), ARGV[3])
local given = tonumber(ARGV[2])
if given > 0 then debt, back = math.max(debt - given, 0), true end
local answer, before = { debt }, debt
for i = 4, #ARGV, 3 do
  local increment, tolerance, number = tonumber(ARGV[i]), tonumber(ARGV[i + 1]), tonumber(ARGV[i + 2])
  local granted = math.max(math.min(number, math.floor((tolerance - debt) / increment)), 0)
  debt = debt + granted * increment
  answer[#answer + 1] = granted
end
if back or debt > before then keep(KEYS[1], debt, ARGV[1]) end
return answer
