-- SPDX-License-Identifier: MIT
--
-- What compressing clients talk to: the default settings, and contexts that are kept, in this order.

local websocket = require "neap.websocket"

local echo = {
  onMessage = function(_, _, data) return data end,
}

for _, compression in ipairs {
  { threshold = 0 },
  { threshold = 0, serverNoContextTakeover = false, clientNoContextTakeover = false },
} do
  local listener = websocket.listener(0, { host = "127.0.0.1", compression = compression })
  listener:attach("/echo", { maxFrameSize = 4194304, maxMessageSize = 4194304 }, echo)
end
