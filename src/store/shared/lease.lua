-- A lease: who may make a response while the others wait.
--
-- KEYS  the lease
-- ARGV  1 what: 'take', 'renew', 'stored' (released, and there is a response now) or 'free' (released)
--       2 token, 3 how long it lasts, 4 how long ago the caller looked for the response (milliseconds),
--       5 the channel on which its end is told
-- Returns 1 when it is (or was) the caller's, 0 when a response was stored since the caller looked, else
-- the milliseconds that are left of somebody else's, negated.

local lease, what, token, lasts, looked, channel = KEYS[1], ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4]), ARGV[5]
-- That a response was stored is remembered for so long, in place of the lease. (Whether one lies there
-- does not tell: it may be purged or stale, and then it has to be made again.)
local STORED, REMEMBERED = 'stored', 1000

local holder, left = redis.call('GET', lease), redis.call('PTTL', lease)

if what == 'take' then
  if holder == STORED and REMEMBERED - left <= looked then return 0 end
  if holder and holder ~= STORED then return -math.max(left, 1) end
  redis.call('SET', lease, token, 'PX', lasts)
  return 1
end

if holder ~= token then return -math.max(left, 1) end

if what == 'renew' then
  redis.call('PEXPIRE', lease, lasts)
  return 1
end

redis.call('DEL', lease)
-- A server that is full may not take this, and a user may not be allowed to publish: the lease has ended
-- all the same, and whoever waits finds out with the next poll.
if what == 'stored' then redis.pcall('SET', lease, STORED, 'PX', REMEMBERED) end
redis.pcall('PUBLISH', channel, what .. ' ' .. lease)
return 1
