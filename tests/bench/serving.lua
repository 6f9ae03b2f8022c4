-- wrk script: GET the paths of a file, each once in its turn; threads start at different places.
local requests = {}
local counter = 0
local next_thread = 0

function setup(thread)
    thread:set("offset", next_thread)
    next_thread = next_thread + 7919
end

function init(args)
    for line in io.lines(args[1]) do
        requests[#requests + 1] = wrk.format("GET", line)
    end
    counter = offset
end

function request()
    counter = counter + 1
    return requests[counter % #requests + 1]
end

function done(summary, latency, requests)
    local failed = summary.errors.status + summary.errors.connect + summary.errors.read +
        summary.errors.write + summary.errors.timeout
    io.write(string.format("RESULT %.1f %.3f %.3f %d\n",
        summary.requests / summary.duration * 1e6,
        latency:percentile(50) / 1000, latency:percentile(99) / 1000, failed))
end
