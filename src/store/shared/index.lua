-- The index of a tag: which responses carry it, each with the time at which it ends.
--
-- KEYS  1 the index, 2 where it is put when it is taken away
-- ARGV  1 what: 'add', 'count' (leaves it as it is) or 'take' (nobody finds it any more)
--       add          2 a response, 3 how long it is kept (milliseconds)
--       count, take  2 how many may be listed, 3 how long it is kept where it is put (milliseconds)
-- Returns the responses that have not ended; only their number if there are more than may be listed.

local index, what = KEYS[1], ARGV[1]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

if what == 'add' then
  local lasts = tonumber(ARGV[3])
  redis.call('ZADD', index, string.format('%.0f', now + lasts), ARGV[2])
  -- For each that comes, a few that have ended go: a tag that is used for ever does not grow for ever.
  local ended = redis.call('ZRANGEBYSCORE', index, '-inf', string.format('%.0f', now), 'LIMIT', 0, 4)
  if #ended > 0 then redis.call('ZREM', index, unpack(ended)) end
  -- It lasts for as long as the last of them, and never less than before.
  if redis.call('PTTL', index) < lasts then redis.call('PEXPIRE', index, ARGV[3]) end
  return {}
end

local alive = string.format('(%.0f', now)
local number = redis.call('ZCOUNT', index, alive, '+inf')
if number <= tonumber(ARGV[2]) then
  local responses = redis.call('ZRANGEBYSCORE', index, alive, '+inf')
  if what == 'take' then redis.call('UNLINK', index) end
  return responses
end
if what == 'take' then
  redis.call('RENAME', index, KEYS[2])
  redis.call('PEXPIRE', KEYS[2], ARGV[3])
end
return number
