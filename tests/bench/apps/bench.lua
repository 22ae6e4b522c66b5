-- SPDX-License-Identifier: MIT
--
-- What the benchmarks measure, written as an app would write it. The echo: a service of a class, an
-- upgrade function that makes an instance for each connection, and writes through the Caller. Fanning
-- out: all clients of /fan are in one group, and what one of them sends goes to all others. The first
-- argument is the port; none, or 0, takes any free one. The second is `tls`, with a certificate and
-- its key behind it, or `deflate` for compression as it is by default.

local websocket = require "neap.websocket"

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

local mode = arg[2]

local listener = websocket.listener(tonumber(arg[1] or 0), {
  host = "127.0.0.1",
  webSocketCompressionEnabled = mode == "deflate",
  secureSocket = mode == "tls" and { key = { certFile = arg[3], keyFile = arg[4] } } or nil,
})

listener:attach("/echo", function(request)
  return Echo {}
end)

listener:attach("/fan", function(request)
  return Fan {}
end)
