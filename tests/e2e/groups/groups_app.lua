-- SPDX-License-Identifier: MIT
--
-- What model_test.py and kills_test.py run: groups, services, stored names and neap.shared, by messages.
--
--     push 7 red e        and a line end: what follows is pushed to the group "red", except to the sender
--     A 7 3 3 0 0         the answer: its number, and the result (members delivered dropped closed)
--
-- The first message of a connection tells its worker's process id and its own: "H 1234 ...".

local shared = require "neap.shared"
local websocket = require "neap.websocket"

local counts = shared.dict "counts"
local pid = io.open("/proc/self/stat"):read "*n"

local function told(result)
  return result and ("%d %d %d %d"):format(
    result.members, result.delivered, result.dropped, result.closed) or "none"
end

local function push(to)
  return function(caller, name, except, payload, binary)
    local call = websocket["push" .. (binary and "Binary" or "Text") .. to]
    return told(call(name, payload, except ~= "" and { except = caller } or nil))
  end
end

local calls = {
  join = function(caller, name) return websocket.addConnectionToGroup(name, caller) == caller end,
  leave = function(caller, name) return websocket.removeConnectionFromGroup(name, caller) end,
  remove = function(_, name) return websocket.removeConnectionGroup(name) end,
  push = push "ToGroup",
  tell = push "ToConnection",
  broadcast = function(caller, name, except, payload, binary)
    local call = websocket[binary and "broadcastBinary" or "broadcastText"]
    return told(call(name, payload, except ~= "" and { except = caller } or nil))
  end,
  all = function(caller, _, _, payload, binary)
    return told(caller[binary and "broadcastBinary" or "broadcastText"](caller, payload))
  end,
  store = function(caller, name) return websocket.storeConnection(name, caller) == caller end,
  unstore = function(_, name) return websocket.removeStoredConnection(name) end,
  incr = function(_, name) return (assert(counts:incr(name))) end,
  size = function(_, name) return (assert(websocket.groupSize(name))) end,
  ids = function(_, name)
    local ids = assert(websocket.groupMembers(name))
    table.sort(ids)
    return table.concat(ids, " ")
  end,
}

local callbacks = {
  onOpen = function(self, caller) return ("H %d %s"):format(pid, caller:getConnectionId()) end,
  onMessage = function(self, caller, data, binary)
    local call, number, name, except, at = data:match "^(%l+) (%d+) (%S+) (%l*)\n()"
    return ("A %s %s"):format(number,
      tostring(calls[call](caller, name, except, data:sub(at), binary)))
  end,
}

local listener = websocket.listener(arg[1] or 0, { compression = { threshold = 64 } })
local config = { maxBufferedBytes = 256 * 2 ^ 20, connectionClosureTimeout = 5 }
listener:attach("/a", config, websocket.service("A", callbacks))
listener:attach("/b", config, websocket.service("B", callbacks))
