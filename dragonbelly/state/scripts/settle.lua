-- Give a claimed path its next due time, if nobody moved it since.
--
-- KEYS   1 due
-- ARGV   1 <domain>/<path>   2 the claim's token   3 due in so many seconds, "" for no more
-- reply  the new token ("" for no more), nothing if somebody moved it
--
-- Why: a path that was hastened, committed with a due time, or claimed by another daemon after the lease
-- lapsed is to be looked at when they say, not when we do.

if redis.call('ZSCORE', KEYS[1], ARGV[1]) ~= ARGV[2] then
  return false
end
if ARGV[3] == '' then
  redis.call('ZREM', KEYS[1], ARGV[1])
  return ''
end
local time = redis.call('TIME')
local due = time[1] + time[2] / 1000000 + ARGV[3]
redis.call('ZADD', KEYS[1], string.format('%.17g', due), ARGV[1])
return redis.call('ZSCORE', KEYS[1], ARGV[1])
