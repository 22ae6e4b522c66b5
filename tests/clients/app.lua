-- SPDX-License-Identifier: MIT
--
-- The app that other people's clients talk to: one path for each thing that a client can see a server do. Refusals have
-- the headers and bodies that an application would give them.

local task = require "neap.task"
local websocket = require "neap.websocket"

local MIB = 1024 * 1024

local echo = {
  onMessage = function(_, _, data) return data end,
}

-- What each /watched/ID connection was told when it ended.
local seen = {}

-- With a certificate and its key: over TLS, and whatever is sent is compressed.
local listener = websocket.listener(arg[1] or 0, {
  host = "127.0.0.1",
  server = "clients-suite",
  secureSocket = arg[3] and { key = { certFile = arg[2], keyFile = arg[3] } },
  compression = arg[3] and { threshold = 0 },
})

listener:attach("/echo", { maxFrameSize = 32 * MIB, maxMessageSize = 32 * MIB, maxFragments = 100000 }, echo)
listener:attach("/limited", { maxMessageSize = 1000, maxFragments = 4 }, echo)
listener:attach("/beat", { pingInterval = 0.1, pongTimeout = 5 }, echo)
listener:attach("/idle", { idleTimeout = 0.3 }, echo)
listener:attach("/json", {
  onTextMessage = function(_, _, text) return { got = text, list = { 1, 2, 3 } } end,
})

-- Many messages of the server's own: "COUNT SIZE" is answered by that many, each begun by its number. Writing waits for
-- the client to read.
listener:attach("/burst", { maxBufferedBytes = 65536 }, {
  onTextMessage = function(_, caller, text)
    local count, size = text:match "^(%d+) (%d+)$"
    local padding = ("x"):rep(tonumber(size))
    for i = 1, tonumber(count) do
      assert(caller:writeBinaryMessage(i .. " " .. padding))
    end
    return "done"
  end,
})

listener:attach("/slow", {
  onTextMessage = function(_, _, text)
    task.sleep(0.2)
    return text
  end,
})

-- Control frames, both ways.
listener:attach("/ping", {
  onTextMessage = function(_, caller, text) caller:ping(text) end,
  onPong = function(_, caller, data) caller:writeTextMessage("pong " .. data) end,
})
listener:attach("/own-pong", {
  onPing = function(_, _, data) return "own " .. data end,
})

-- Closing, both ways: "CODE REASON" makes the server begin.
listener:attach("/close", {
  onTextMessage = function(_, caller, text)
    local code, reason = text:match "^(%d+) ?(.*)$"
    caller:close(tonumber(code), reason)
  end,
})
listener:attach("/goodbye", {
  onOpen = function(_, caller) caller:close(1000, "bye", 0) end,
})
listener:attach("/raise", {
  onMessage = function() error("expected by the clients suite") end,
})
listener:attach("/watched/:id", function(request)
  local id = request.params.id
  return {
    onMessage = function(_, _, data) return data end,
    onClose = function(_, _, code, reason) seen[id] = code .. " " .. (reason or "") end,
  }
end)
listener:attach("/seen", {
  onTextMessage = function(_, _, id) return seen[id] or "open" end,
})

-- Handshakes.
listener:attach("/sub", { subProtocols = { "chat.v2", "chat.v1" } }, {
  onOpen = function(_, caller) return caller:getNegotiatedSubProtocol() or "none" end,
})
listener:attach("/room/:name", function(request)
  request:setResponseHeader("X-Room", request.params.name)
  return {
    onOpen = function()
      return {
        room = request.params.name,
        key = request.query.key,
        cookie = request:cookie "session",
        agent = request:header "User-Agent",
      }
    end,
  }
end)
listener:attach("/late", function()
  task.sleep(0.2)
  return echo
end)

local refusals = {
  unauthorized = {
    status = 401, reason = "who are you?", headers = { ["WWW-Authenticate"] = 'Basic realm="clients"' },
  },
  forbidden = {
    status = 403, body = '{"error":"not you"}',
    headers = { ["Content-Type"] = "application/json", ["X-Why"] = "because" },
  },
  gone = { status = 404, reason = "no such room" },
  busy = { status = 503, reason = "come back later", headers = { ["Retry-After"] = "7" } },
}
listener:attach("/refuse/:how", function(request)
  local how = refusals[request.params.how]
  if how then
    return nil, websocket.UpgradeError(how)
  end
  if request.params.how == "raise" then
    error("expected by the clients suite")
  end
  return nil
end)
