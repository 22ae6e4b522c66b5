-- SPDX-License-Identifier: MIT
--
-- The app that the conformance suite talks to: one path for each setting that a group of cases
-- needs. Most of them echo; what differs is the limits, the sub-protocols, and how the upgrade
-- is answered. The second listener has short deadlines, so that those cases do not take long.

local task = require "neap.task"
local websocket = require "neap.websocket"

local firstPort = tonumber(arg and arg[1]) or 0
local MIB = 1024 * 1024

local echo = {
  onMessage = function(_, _, data) return data end,
}

-- Over TLS, the suite says where the certificate is.
local secure = arg and arg[2] and { key = { certFile = arg[2], keyFile = arg[3] } } or nil

-- compressed.py runs the same cases with every reply compressed.
local threshold = tonumber(os.getenv "CONFORMANCE_THRESHOLD")

local listener = websocket.listener(firstPort, {
  host = "127.0.0.1",
  secureSocket = secure,
  compression = threshold and { threshold = threshold },
})

-- Limits.

listener:attach("/echo", echo)
listener:attach("/big", { maxFrameSize = 32 * MIB, maxMessageSize = 32 * MIB, maxFragments = 100000 }, echo)
listener:attach("/small", { maxFrameSize = 100, maxMessageSize = 250, maxFragments = 4 }, echo)
listener:attach("/zero", { maxFrameSize = 0 }, echo)
listener:attach("/negative", { maxFrameSize = -1 }, echo)
listener:attach("/hurry", { messageTimeout = 1 }, echo)
listener:attach("/idle", { idleTimeout = 1 }, echo)

-- Upgrades: sub-protocols, paths, and every answer that an upgrade function can give.

local protocolOf = {
  onTextMessage = function(_, caller)
    local name = caller:getNegotiatedSubProtocol()
    return name and "chose " .. name or "chose none"
  end,
}
listener:attach("/sub", { subProtocols = { "chat.v2", "chat.v1", "json" } }, protocolOf)
listener:attach("/nosub", protocolOf)

local function says(text)
  return {
    onTextMessage = function() return text end,
  }
end

listener:attach("/", says "root")
listener:attach("/room/lobby", says "the lobby")
listener:attach("/room/:name", function(request) return says("room " .. request.params.name) end)
listener:attach("/room/:name/:seat", function(request)
  return says("seat " .. request.params.name .. "|" .. request.params.seat)
end)
listener:attach("/rest/*tail", function(request) return says("rest " .. request.params.tail) end)
listener:attach("/query", function(request)
  return says("k is " .. tostring(request.query.k) .. ", l is " .. tostring(request.query.l))
end)
listener:attach("/header", function(request)
  return says(tostring(request:header "X-Probe"))
end)

local upgrades = {
  accept = function(request)
    request:setResponseHeader("X-Conformance", "yes")
    return echo
  end,
  refuse = function()
    return nil, websocket.UpgradeError {
      status = 403, reason = "not you", headers = { ["X-Why"] = "because" },
    }
  end,
  body = function()
    return nil, websocket.UpgradeError { status = 422, reason = "no", body = "a body of its own" }
  end,
  none = function() return nil end,
  raise = function() error("expected by the conformance suite") end,
  wait = function()
    task.sleep(0.05)
    return echo
  end,
}
listener:attach("/upgrade/:how", function(request) return upgrades[request.params.how](request) end)

-- Closing, as the app begins it and as the app sees it.

listener:attach("/close", { connectionClosureTimeout = 1 }, {
  onTextMessage = function(_, caller, text)
    local code, reason = text:match "^(%d+) ?(.*)$"
    local ok, err = caller:close(tonumber(code), reason)
    if not ok then
      caller:writeTextMessage("refused: " .. err.message)
    end
  end,
})

local returns = {
  normal = function() return websocket.NORMAL_CLOSURE { reason = "bye" } end,
  custom = function() return websocket.CloseFrame { status = 4444, reason = "Invalid User" } end,
  raise = function() error("expected by the conformance suite") end,
  fails = function() return nil, "no luck" end,
}
listener:attach("/returns", {
  onTextMessage = function(_, _, text) return returns[text]() end,
})

local seen = {}
listener:attach("/watched/:id", function(request)
  local id = request.params.id
  return {
    onMessage = function(_, _, data) return data end,
    onClose = function(_, _, code, reason)
      seen[id] = (seen[id] and seen[id] .. ", then " or "") .. code .. " " .. (reason or "")
    end,
  }
end)
listener:attach("/closing/:id", function(request)
  local id = request.params.id
  return {
    onTextMessage = function(_, caller) caller:close(1000, "bye") end,
    onClose = function(_, _, code, reason) seen[id] = code .. " " .. (reason or "") end,
  }
end)
listener:attach("/seen", {
  onTextMessage = function(_, _, id) return seen[id] or "open" end,
})

-- Control frames that the app sees, and a handler that takes its time.

listener:attach("/controls", {
  onPing = function(_, _, data) return "answer to " .. data end,
  onPong = function(_, caller, data) caller:writeTextMessage("pong was " .. data) end,
  onTextMessage = function(_, caller, text) caller:ping(text) end,
})
listener:attach("/slow", {
  onMessage = function(_, _, data)
    task.sleep(0.1)
    return data
  end,
})
listener:attach("/beat", { pingInterval = 0.2 }, echo)

-- Short deadlines and small requests.

local strict = websocket.listener(0, {
  host = "127.0.0.1",
  headerTimeout = 1,
  secureSocket = secure,
  requestLimits = { maxUriLength = 200, maxHeaderSize = 400 },
})
strict:attach("/echo", echo)
