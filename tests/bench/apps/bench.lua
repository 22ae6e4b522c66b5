-- SPDX-License-Identifier: MIT
--
-- The echo that the benchmarks measure, written as an app would write it: a service of a class, an
-- upgrade function that makes an instance for each connection, and writes through the Caller. The
-- first argument is the port; none, or 0, takes any free one. Two more are a certificate and its key, for TLS.

local websocket = require "neap.websocket"

local Echo = websocket.service("Echo", {
  onTextMessage = function(self, caller, text)
    caller:writeTextMessage(text)
  end,
  onBinaryMessage = function(self, caller, data)
    caller:writeBinaryMessage(data)
  end,
})

local listener = websocket.listener(tonumber(arg[1] or 0), {
  host = "127.0.0.1",
  webSocketCompressionEnabled = false,
  secureSocket = arg[2] and { key = { certFile = arg[2], keyFile = arg[3] } } or nil,
})

listener:attach("/echo", function(request)
  return Echo {}
end)
