-- Take paths whose time has come, by moving their due time to the end of the lease.
--
-- KEYS   the due sets of some partitions, in the order in which they are to be served
-- ARGV   1 how many paths at most, over all of them   2 the lease in seconds
-- reply  <domain>/<path>, token, <domain>/<path>, token, ...
--
-- The token is the new due time as this server prints it: settle compares text, so no rounding between here
-- and there can matter.
-- Why many keys: with 64 partitions asked every second, an idle daemon costs one round trip and not 64.  On a
-- Cluster the caller makes one call for each slot.

local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
local lapse = string.format('%.17g', now + ARGV[2])
now = string.format('%.17g', now)

local left = tonumber(ARGV[1])
local claims = {}
for _, due in ipairs(KEYS) do
  if left <= 0 then
    break
  end
  for _, member in ipairs(redis.call('ZRANGEBYSCORE', due, '-inf', now, 'LIMIT', 0, left)) do
    redis.call('ZADD', due, lapse, member)
    claims[#claims + 1] = member
    claims[#claims + 1] = redis.call('ZSCORE', due, member)
    left = left - 1
  end
end
return claims
