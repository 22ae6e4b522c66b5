-- SPDX-License-Identifier: MIT
--
-- An app that does everything at random, as badly as an app can: chaos.py has clients for it and says what must hold.
--
--      /chaos, /side, /fn, /spare      whatever comes, a few acts by chance; also on opening, closing, errors, pings
--      /echo                           well behaved, for the clients that must not notice
--      /told                           how often each act was taken in this worker, as JSON
--
-- arg: port, seed, certificate, key, acts to leave out. What is kept is kept in pools of fixed size, so that everything
-- becomes garbage sooner or later, and is finalized wherever the collector happens to run.

local chaos = require "chaos_acts"
local constraint = require "neap.constraint"
local shared = require "neap.shared"
local websocket = require "neap.websocket"

local port, seed, cert, key = tonumber(arg[1]) or 0, tonumber(arg[2]) or 1, arg[3], arg[4]

-- Each worker does something else.
math.randomseed(seed * 1000 + assert(shared.dict("chaos.workers"):incr "count"))
-- Small steps, all the time: the collector gets into every place that allocates.
collectgarbage("setpause", 100)
collectgarbage("setstepmul", 150)

local function answer(self, caller)
  return chaos.act(caller)
end

local Point = constraint.record { x = constraint.int { minValue = 0, maxValue = 5 } }

local Chaos = websocket.service("Chaos", {
  onOpen = function(self, caller)
    chaos.met(caller)
    return chaos.act(caller)
  end,
  onTextMessage = answer,
  onBinaryMessage = answer,
  onPing = answer,
  onPong = answer,
  onIdleTimeout = answer,
  onClose = answer,
  onError = answer,
})

local Side = websocket.service("Side", {
  onGo = answer,
  onSpot = websocket.bind(Point, answer),
  onSpotError = answer,
  onMessage = websocket.bind("json", answer),
  onError = answer,
  onClose = answer,
})

local plain = { onMessage = answer, onClose = answer }

local Echo = websocket.service("Echo", {
  onMessage = function(self, caller, data)
    return data
  end,
})

local Told = websocket.service("Told", {
  onMessage = function()
    return chaos.taken
  end,
})

local function upgrade(request)
  return chaos.upgrade(request, Chaos)
end

local function serve(listener)
  local config = { idleTimeout = 0.5, pingInterval = 0.3, pongTimeout = 5, maxBufferedBytes = 100000,
    connectionClosureTimeout = 1 }
  listener:attach("/chaos", config, Chaos)
  listener:attach("/fn", config, upgrade)
  listener:attach("/side", { dispatcherKey = "event", dispatcherStreamId = "id" }, Side)
  listener:attach("/spare", { slowConsumer = "drop" }, plain)
  listener:attach("/echo", Echo)
  listener:attach("/told", Told)
  chaos.spare(listener, plain)
end

serve(websocket.listener(port, { host = "127.0.0.1" }))
serve(websocket.listener(port, { host = "127.0.0.1", secureSocket = { key = { certFile = cert, keyFile = key } },
  compression = { threshold = 0, serverNoContextTakeover = false, clientNoContextTakeover = false } }))
