-- SPDX-License-Identifier: MIT
--
-- What tests/guard/run measures. A client begins and ends a measure by a message on /measure; in between it sends
-- what is measured. The first argument is the port, the second `tls`, with a certificate and its key after it, or
-- `deflate`.
--
-- What would differ from run to run, or with every constant that somebody adds to the library, is taken out:
--
--   - The compiler is off. What it compiles, and when it gives up, hangs on the addresses of the code.
--   - The collector stands still in a measure. Where in its cycle it is would matter more than what is measured; what
--     it will have to do shows in the bytes that were allocated for Lua.
--   - Neither LuaJIT's table of strings nor its heap grows in a measure. How long its allocator looks for a place is
--     luck, so there are several measures, and the best one counts.

jit.off()

local ffi = require "ffi"
local constraint = require "neap.constraint"
local websocket = require "neap.websocket"

ffi.cdef [[
void guard_begin(void);
void guard_end(const char *name);
]]

local function strings(count, size)
  local made = {}
  for i = 1, count do
    made[i] = ("%d "):format(i) .. ("x"):rep(size)
  end
  return made
end

-- Kept for good: the table of strings has room for thousands more, and nothing is left of the holes that loading made.
local held = { strings(6000, 10), strings(150, 16000), strings(500, 4000), strings(2000, 1000), strings(6000, 250) }

-- What is free now lies in one piece, but for what is kept here and there: so each measure finds another heap.
local function makeRoom()
  local sizes = {}
  for i = 1, 40 do
    sizes[i] = math.random(20, 3000)
  end
  strings(1600, 1100) -- of a size that is not held
  for _, size in ipairs(sizes) do
    held[#held + 1] = ("y"):rep(size) .. #held
  end
end

local before

local measures = {
  begin = function()
    makeRoom()
    collectgarbage()
    collectgarbage "stop"
    before = collectgarbage "count"
    ffi.C.guard_begin()
    return 0
  end,
  ["end"] = function(name)
    ffi.C.guard_end(name)
    local bytes = (collectgarbage "count" - before) * 1024
    collectgarbage "restart"
    return bytes
  end,
}

local Measure = websocket.service("Measure", {
  onTextMessage = function(self, caller, text)
    local what, name = text:match "^(%S+) ?(.*)$"
    return ("%d of %d"):format(measures[what](name), #held)
  end,
})

local Echo = websocket.service("Echo", {
  onTextMessage = function(self, caller, text)
    caller:writeTextMessage(text)
  end,
  onBinaryMessage = function(self, caller, data)
    caller:writeBinaryMessage(data)
  end,
})

local Fan = websocket.service("Fan", {
  onOpen = function(self, caller)
    websocket.addConnectionToGroup("fan", caller)
  end,
  onTextMessage = function(self, caller, text)
    websocket.pushTextToGroup("fan", text, { except = caller })
  end,
})

local Order = constraint.record {
  event = constraint.string {},
  id = constraint.int { minValue = 1 },
  customer = constraint.record {
    name = constraint.string { minLength = 1, maxLength = 40 },
    age = constraint.int { minValue = 0, maxValue = 150 },
  },
  items = constraint.array(constraint.string { maxLength = 20 }, { maxLength = 10 }),
  paid = constraint.boolean(),
}

local Shop = websocket.service("Shop", {
  onPlaceOrder = websocket.bind(Order, function(self, caller, order)
    return order.customer.name
  end),
})

local mode = arg[2]

local listener = websocket.listener(tonumber(arg[1] or 0), {
  host = "127.0.0.1",
  webSocketCompressionEnabled = mode == "deflate",
  secureSocket = mode == "tls" and { key = { certFile = arg[3], keyFile = arg[4] } } or nil,
})

listener:attach("/measure", Measure)
listener:attach("/echo", function(request)
  return Echo {}
end)
listener:attach("/fan", function(request)
  return Fan {}
end)
listener:attach("/shop", { dispatcherKey = "event" }, Shop)
