-- For wrk: requests for files by number, see benchmarks/paths.py, and at the end what came of it as a line of JSON.
--
-- After "--":  METHOD random FIRST SIZE 0 0        any of the SIZE files from FIRST on, at random
--              METHOD walk   FIRST SIZE STEP SKIP  each of them once, one that is STEP further each time; SKIP were asked
--                                                  for before
-- A PUT announces an empty file.

local method, how, first, size, step, at, tail
local floor, random, format = math.floor, math.random, string.format

function init(args)
  method, how = args[1], args[2]
  first, size, step = tonumber(args[3]), tonumber(args[4]), tonumber(args[5])
  at = step * tonumber(args[6]) % size
  math.randomseed(20240229)
  local host = format("Host: %s:%s\r\n", wrk.host, wrk.port)
  local body = method == "PUT" and "Content-Length: 0\r\n" or ""
  tail = " HTTP/1.1\r\n" .. host .. body .. "\r\n"
end

function request()
  local n
  if how == "random" then
    n = first + random(0, size - 1)
  else
    n = first + at
    at = (at + step) % size
  end
  return method .. format(" /%04d/%040d.jpg", floor(n / 1000), n) .. tail
end

function done(summary, latency, requests)
  local errors = summary.errors
  io.write(format(
    '\n{"requests": %d, "seconds": %.6f, "bytes": %d, "failed": %d}\n',
    summary.requests, summary.duration / 1e6, summary.bytes,
    errors.connect + errors.read + errors.write + errors.timeout + errors.status))
end
