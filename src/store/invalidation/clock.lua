-- An invalidation: numbers it, enters it and tells everybody, in one step. Returns the message.
--
-- ARGV  5 channel, 6 'h' or 's' for everything, hard or soft, else '', 7 tags (8 bytes each)

local h = current(now)
local previous = h.s
local n = math.max(previous + 1, now)
h.s = n
if ARGV[6] == 'h' then h.floor = n end
if ARGV[6] == 's' then h.soft = n end

local tags = ARGV[7]
local entry = struct.pack('>I8', n)
for at = 1, #tags, 8 do
  local a, b, c = string.byte(tags, at, at + 2)
  local bucket = math.floor((a * 65536 + b * 256 + c) / 2 ^ (24 - h.k))
  redis.call('SETRANGE', clock, FRONT + 8 * bucket, entry)
end
redis.call('SETRANGE', clock, 0, front_of(h))

local message = struct.pack('>c4BBBBc8I8I8I8I8', 'lrms', 1, h.k, 1, 0, h.epoch, previous, n, h.floor, h.soft) .. tags
-- A user who may not publish has still invalidated: whoever missed it finds out with the next beat.
redis.pcall('PUBLISH', ARGV[5], message)
return message
