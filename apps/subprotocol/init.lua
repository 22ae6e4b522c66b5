-- SPDX-License-Identifier: MIT
--
-- One path, two ways to talk: the sub-protocol that the client asks for decides (RFC 6455 §1.9).
--
--     neap run apps/subprotocol              serves ws://localhost:9090/clock
--     neap run apps/subprotocol -- 9001      the same on port 9001

local websocket = require "neap.websocket"

-- A returned string is sent as it is, a returned table as JSON.
local speak = {
  ["clock.text"] = function(now) return os.date("!%H:%M:%S", now) end,
  ["clock.json"] = function(now) return { unix = now } end,
}

local Clock = websocket.service("Clock", {
  onOpen = function(self, caller)
    return "we speak " .. caller:getNegotiatedSubProtocol()
  end,

  -- Any message is a question for the time.
  onTextMessage = function(self, caller)
    return speak[caller:getNegotiatedSubProtocol()](os.time())
  end,
})

-- The first of the client's list that stands here is chosen. When none does, the connection would be
-- accepted without one; this server cannot talk then, so it refuses.
local config = { subProtocols = { "clock.json", "clock.text" } }

websocket.listener(arg[1] or 9090):attach("/clock", config, function(request)
  for _, name in ipairs(request.subProtocols) do
    if speak[name] then return Clock {} end
  end
  return nil, websocket.UpgradeError { status = 400, reason = "ask for clock.json or clock.text" }
end)
