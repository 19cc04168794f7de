-- One request for each line of a file: the target, and after a blank the bearer token. Each thread begins at another place.
--   wrk ... -s requests.lua URL -- FILE THREADS
local count = 0

function setup(thread)
   thread:set("number", count)
   count = count + 1
end

function init(args)
   local host = wrk.headers["Host"] or (wrk.host .. ":" .. wrk.port)
   lines = {}
   for line in io.lines(args[1]) do
      local target, token = line:match("^(%S+)%s*(%S*)$")
      local head = "GET " .. target .. " HTTP/1.1\r\nHost: " .. host .. "\r\n"
      if token ~= "" then head = head .. "Authorization: Bearer " .. token .. "\r\n" end
      lines[#lines + 1] = head .. "\r\n"
   end
   at = math.floor(number * #lines / tonumber(args[2]))
end

function request()
   at = at + 1
   if at > #lines then at = 1 end
   return lines[at]
end

function done(summary, latency, requests)
   local errors = summary.errors
   io.write(string.format(
      '\nRESULT {"requests":%d,"microseconds":%d,"bytes":%d,"p50_us":%d,"p90_us":%d,"p99_us":%d,"p999_us":%d,"max_us":%d,' ..
      '"not_ok":%d,"socket_errors":%d,"timeouts":%d}\n',
      summary.requests, summary.duration, summary.bytes, latency:percentile(50), latency:percentile(90),
      latency:percentile(99), latency:percentile(99.9), latency.max, errors.status,
      errors.connect + errors.read + errors.write, errors.timeout))
end
