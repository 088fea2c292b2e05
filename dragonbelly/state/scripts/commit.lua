-- Replace a record if it is still what the caller read, and with it everything that is kept about it.
--
-- KEYS   1 record   2 ls   3 due   4 thin   5 damaged   6 use            (one partition: one slot)
-- ARGV   1 the value that was read, "" for none
--        2 the new value, "" to remove the record
--        3 <domain>/<path>
--        4 "1" if it is to be listed, else "0"
--        5 since when it is thin (unix s), "" if it is not
--        6 "1" if no good copy of it is known any more, else "0"
--        7 due in so many seconds, "" to leave the due time as it is
--        8, 9, ... pairs: field of use, what to add to it
-- reply  1 if it was done, else the current value, "" for none
--
-- Why the whole old value: it needs no version counter beside the record, and a record that came back to the
-- same bytes is the same record.
-- Why the record is written first: a script is not rolled back.  A server that is out of memory, read-only
-- or unable to save refuses the first write of a script or none; and a DEL, which needs no memory, is let
-- through where a counter would not be.

local current = redis.call('GET', KEYS[1]) or ''
if current ~= ARGV[1] then
  return current
end

if ARGV[2] == '' then
  redis.call('DEL', KEYS[1])
else
  redis.call('SET', KEYS[1], ARGV[2])
end

if ARGV[4] == '1' then
  redis.call('ZADD', KEYS[2], 0, ARGV[3])
else
  redis.call('ZREM', KEYS[2], ARGV[3])
end

if ARGV[5] ~= '' then
  redis.call('ZADD', KEYS[4], ARGV[5], ARGV[3])
else
  redis.call('ZREM', KEYS[4], ARGV[3])
end

if ARGV[6] == '1' then
  redis.call('SADD', KEYS[5], ARGV[3])
else
  redis.call('SREM', KEYS[5], ARGV[3])
end

if ARGV[7] ~= '' then
  local time = redis.call('TIME')
  local due = time[1] + time[2] / 1000000 + ARGV[7]
  redis.call('ZADD', KEYS[3], string.format('%.17g', due), ARGV[3])
elseif ARGV[2] == '' then
  redis.call('ZREM', KEYS[3], ARGV[3])
end

for i = 8, #ARGV, 2 do
  -- A backend that nothing lies on any more leaves no field behind.
  if redis.call('HINCRBY', KEYS[6], ARGV[i], ARGV[i + 1]) == 0 then
    redis.call('HDEL', KEYS[6], ARGV[i])
  end
end

return 1
