-- Changes buckets whatever they hold: gives back, charges, or lets nobody pass for a while.
--
-- KEYS  the buckets, in one slot
-- ARGV  for each: what is added to its debt (negative: given back, but no more than makes it full), how large
--       it may become by that, how large it is at least afterwards, how large it is where there is no bucket
--       (microseconds), how long it is kept (milliseconds)
-- Returns the debt of each, rounded down.

local answer = {}
for i, key in ipairs(KEYS) do
  local change, most, least = tonumber(ARGV[5 * i - 4]), tonumber(ARGV[5 * i - 3]), tonumber(ARGV[5 * i - 2])
  local value = call('GET', key)
  local debt, back = debt_of(value, ARGV[5 * i - 1])
  local after = debt + change
  if change > 0 then after = math.max(math.min(after, most), debt) end
  after = math.max(after, least)
  if (value and back) or after ~= debt then keep(key, after, ARGV[5 * i]) end
  answer[i] = after
end
return answer
