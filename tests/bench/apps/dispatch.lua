-- SPDX-License-Identifier: MIT
-- What tests/bench/dispatch measures: the same small answer to the same messages, with more and more done to each
-- before.

local constraint = require "neap.constraint"
local websocket = require "neap.websocket"

local Order = constraint.record {
  event = constraint.string {},
  id = constraint.int { minValue = 1 },
  customer = constraint.record {
    name = constraint.string { minLength = 1, maxLength = 40 },
    age = constraint.int { minValue = 0, maxValue = 150 },
  },
  items = constraint.array(constraint.string { maxLength = 20 }, { maxLength = 10 }),
  price = constraint.float { minValueExclusive = 0 },
  paid = constraint.boolean(),
  note = constraint.string { maxLength = 60 },
}

local function answer()
  return "ok"
end

local listener = websocket.listener(tonumber(arg[1]) or 0, { host = "127.0.0.1" })
listener:attach("/plain", websocket.service("Plain", { onTextMessage = answer }))
listener:attach("/json", websocket.service("Json", { onTextMessage = websocket.bind("json", answer) }))
listener:attach("/bound", websocket.service("Bound", { onTextMessage = websocket.bind(Order, answer) }))

local Dispatched = websocket.service("Dispatched", { onPlaceOrder = websocket.bind(Order, answer) })
listener:attach("/dispatch", { dispatcherKey = "event" }, Dispatched)
listener:attach("/side", { dispatcherKey = "event", dispatcherStreamId = "id" }, Dispatched)
