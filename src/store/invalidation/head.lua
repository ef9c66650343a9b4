#!lua flags=allow-oom
-- What both scripts share; they are sent as this text followed by their own. The layout is drawn in
-- wire.rs. Epochs are random 64 bits and stay strings: a Lua number would round them.
--
-- KEYS  the clock
-- ARGV  1 bucket bits of a new clock, 2 epoch of a new clock,
--       3 epoch the caller knows, 4 highest number it saw in that epoch (8 bytes)

local HOUR = 3600000000
local FRONT = 80
local clock = KEYS[1]

local function microseconds()
  local t = redis.call('TIME')
  return tonumber(t[1]) * 1000000 + tonumber(t[2])
end

-- Which server this is: a replica that takes over, and a server that starts again, are others.
-- Needs the command INFO; without it nobody may believe the clock, so the error goes out.
local function run_id()
  return string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')
end

-- The header as it stands; nil where the clock is lost, foreign, broken or ahead of time.
local function read(now)
  if redis.call('TYPE', clock).ok ~= 'string' then return nil end
  local front = redis.call('GETRANGE', clock, 0, FRONT - 1)
  if #front < FRONT or string.sub(front, 1, 4) ~= 'lrck' then return nil end
  local layout, k, hash, flags = struct.unpack('>BBBB', front, 5)
  if layout ~= 1 or hash ~= 1 or flags ~= 0 then
    error({err = 'LARDER the clock is of another version'})
  end
  local s, floor, soft = struct.unpack('>I8I8I8', front, 17)
  if k < 10 or k > 20 or redis.call('STRLEN', clock) ~= FRONT + 8 * 2 ^ k then return nil end
  if s == 0 or s > now + HOUR or floor > s or soft > s then return nil end
  return {k = k, epoch = string.sub(front, 9, 16), s = s, floor = floor, soft = soft,
          server = string.sub(front, 41, 80)}
end

local function front_of(h)
  return struct.pack('>c4BBBBc8I8I8I8c40', 'lrck', 1, h.k, 1, 0, h.epoch, h.s, h.floor, h.soft, h.server)
end

-- The header; a new life of the clock where the old one may have forgotten something: it is lost,
-- another server holds it now, or the caller has seen a higher number. Numbers grow from life to life,
-- so a higher one in another life says that this one is over: a replaced master is back.
local function current(now)
  local server = run_id()
  local h = read(now)
  local seen = struct.unpack('>I8', ARGV[4])
  -- Of another life, a number ahead of time says only that somebody's time was wrong.
  local believed = seen < now + HOUR
  local ahead = h and h.s < seen and (believed or h.epoch == ARGV[3])
  if h and h.server == server and not ahead then return h end
  local n = now
  if h and h.s >= n then n = h.s + 1 end
  if believed and seen >= n then n = seen + 1 end
  h = {k = h and h.k or tonumber(ARGV[1]), epoch = ARGV[2], s = n, floor = n, soft = 0, server = server}
  redis.call('UNLINK', clock)
  -- At full length, so that no invalidation ever needs memory.
  redis.call('SET', clock, front_of(h) .. string.rep('\0', 8 * 2 ^ h.k))
  return h
end

local now = microseconds()
