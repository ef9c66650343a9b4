-- A lease: who may make a response while the others wait.
--
-- KEYS  the lease
-- ARGV  1 'take', 'renew' or 'release', 2 token, 3 milliseconds
-- Returns 1 when it is (or was) the caller's, else the milliseconds that are left of somebody else's,
-- negated.

local lease, token = KEYS[1], ARGV[2]

if ARGV[1] == 'take' and redis.call('SET', lease, token, 'NX', 'PX', ARGV[3]) then return 1 end
if redis.call('GET', lease) ~= token then return -math.max(redis.call('PTTL', lease), 1) end
if ARGV[1] == 'release' then
  redis.call('DEL', lease)
else
  redis.call('PEXPIRE', lease, ARGV[3])
end
return 1
