-- SPDX-License-Identifier: MIT
--
-- The echo of tests/bench/deflate, with compression as it is by default: a service of a class, an
-- upgrade function that makes an instance for each connection, and writes through the Caller. The
-- first argument is the port; none, or 0, takes any free one.

local websocket = require "neap.websocket"

local Echo = websocket.service("Echo", {
  onTextMessage = function(self, caller, text)
    caller:writeTextMessage(text)
  end,
  onBinaryMessage = function(self, caller, data)
    caller:writeBinaryMessage(data)
  end,
})

local listener = websocket.listener(tonumber(arg[1] or 0), { host = "127.0.0.1" })

listener:attach("/echo", function(request)
  return Echo {}
end)
