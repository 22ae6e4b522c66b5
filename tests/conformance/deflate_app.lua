-- SPDX-License-Identifier: MIT
--
-- The app of the compression suite: one listener for each setting, in the order in which deflate.py names them. Each
-- echoes at /echo, with small limits at /small, and has large frames at /big.

local websocket = require "neap.websocket"

local echo = {
  onMessage = function(_, _, data) return data end,
}

local settings = {
  { compression = { threshold = 0 } },
  { compression = { threshold = 0, serverNoContextTakeover = false, clientNoContextTakeover = false } },
  { compression = {
    threshold = 0, serverNoContextTakeover = false, clientNoContextTakeover = false, windowBits = 15, memLevel = 9,
    level = 9,
  } },
  { compression = { threshold = 100 } },
  { webSocketCompressionEnabled = false },
}

for _, config in ipairs(settings) do
  config.host = "127.0.0.1"
  local listener = websocket.listener(0, config)
  listener:attach("/echo", echo)
  listener:attach("/small", { maxFrameSize = 100, maxMessageSize = 250, maxFragments = 4 }, echo)
  listener:attach("/big", { maxFrameSize = 4194304, maxMessageSize = 4194304 }, echo)
end
