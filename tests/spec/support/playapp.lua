-- SPDX-License-Identifier: MIT
--
-- An app that does what its clients say: each text message is Lua code that runs as a callback of the client's
-- connection, with `caller`, `self`, `websocket`, `task` and `kept` (a table for all) within reach. What it returns
-- comes back as one message, `= value, value …`; what it raises as `! message`. A binary message is code as well, whose
-- results are returned from the callback as they are.
--
--      /play, /other, /drop, /close     services of these names; the last two for slow clients, with each policy
--      /plain, /plain/two               plain tables

local websocket = require "neap.websocket"
local task = require "neap.task"
local log = require "neap.log"

local kept = { notes = {} }
local world = setmetatable({ websocket = websocket, task = task, log = log, kept = kept }, { __index = _G })

-- What has happened to connections that have a name, for those who look later.
local function note(self, what)
  if self.name then
    table.insert(kept.notes, self.name .. " " .. what)
  end
end

local function show(ok, ...)
  local out = {}
  for i = 1, select("#", ...) do
    out[i] = tostring((select(i, ...)))
  end
  return (ok and "= " or "! ") .. table.concat(out, ", ")
end

local function compile(source, self, caller)
  local fn = assert(loadstring(source, "=play"))
  return setfenv(fn, setmetatable({ self = self, caller = caller }, { __index = world, __newindex = kept }))
end

local callbacks = {
  onTextMessage = function(self, caller, text)
    local fn = compile(text, self, caller)
    local answer = show(pcall(fn))
    if caller:isOpen() then
      caller:writeTextMessage(answer)
    end
  end,
  onBinaryMessage = function(self, caller, data)
    return compile(data, self, caller)()
  end,
  onClose = function(self, caller, code)
    note(self, "closed " .. code)
    if self.onEnd then
      local _, said = pcall(self.onEnd, caller)
      note(self, tostring(said))
    end
  end,
  onError = function(self, _, err)
    note(self, "error " .. tostring(err))
  end,
}

local function named(name)
  return websocket.service(name, callbacks)
end

local listener = websocket.listener(arg[1])
local slow = { maxBufferedBytes = 20000, slowConsumer = "drop" }
local Play = named "Play"
listener:attach("/play", Play)
listener:attach("/again", named "Play")
listener:attach("/other", named "Other")
listener:attach("/drop", slow, named "Drop")
listener:attach("/close", { maxBufferedBytes = 20000, slowConsumer = "close" }, named "Close")
listener:attach("/plain", callbacks)
listener:attach("/plain/two", callbacks)
listener:attach("/" .. ("long"):rep(80), callbacks)
listener:attach("/" .. ("long"):rep(80) .. "er", callbacks)
listener:attach("/upgrading", function(request)
  kept.upgraded = show(pcall(compile(request.query.code, kept)))
  return Play {}
end)
listener:attach("/dispatched", { dispatcherKey = "event" }, {
  onPush = function(_, _, message)
    return websocket.pushTextToGroup(message.group, message.text)
  end,
})
listener:attach("/sidebyside", { dispatcherKey = "event", dispatcherStreamId = "id" }, {
  onPush = function(_, _, message)
    return websocket.pushTextToGroup(message.group, message.text)
  end,
})

kept.atLoad = show(true, websocket.pushTextToGroup("load", "x"), websocket.groupSize "load",
  websocket.removeConnectionGroup "load", websocket.broadcast("Play", { 1 }),
  select(2, websocket.pushTextToConnection("load", "x")))
