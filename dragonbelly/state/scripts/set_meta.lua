-- Set a field of the store's own settings, if it is still what the caller read.
--
-- KEYS   1 meta
-- ARGV   1 field   2 new value   3 old value; left out when there was none
-- reply  1 if it was done, 0 if it is something else by now
--
-- Why a script: WATCH would need a connection that nobody else writes to.

if redis.call('HGET', KEYS[1], ARGV[1]) ~= (ARGV[3] or false) then
  return 0
end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
return 1
