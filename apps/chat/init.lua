-- SPDX-License-Identifier: MIT
--
-- A chat: rooms, nick names, private messages. It is the same with one worker and with many.
--
--     neap run apps/chat                      serves ws://localhost:9090/chat/ROOM?nick=NICK
--     neap run apps/chat --workers 4 -- 9001  the same on port 9001, in four processes
--
-- A line of text is said to everybody in the room. Everything else, and every answer, is a JSON object whose field
-- `event` says what it is; README.md lists them. Nothing that others must know is kept in a Lua variable, for those
-- belong to one worker: rooms and nick names are groups and stored connections, which all workers know.

local constraint = require "neap.constraint"
local json = require "neap.json"
local shared = require "neap.shared"
local task = require "neap.task"
local websocket = require "neap.websocket"

local LISTED, PER_SECOND, HOUR = 100, 10, 3600 -- names in an answer to "who"; messages of one client

local Name = constraint.string { minLength = 1, maxLength = 20, pattern = "[%w_-]+" }
local Text = constraint.string { minLength = 1, maxLength = 1000 }
local Entry = constraint.record { room = Name, nick = Name }

-- What a connection is called, by its id. It is renewed while the connection lives, and removed when it ends; of a
-- worker that died entries stay until their time is over, but nobody asks for them any more.
local nicks = shared.dict "chat.nicks"

local function problem(text)
  return { event = "problem", text = text }
end

local function refuse(self, caller, err)
  return problem(err.message)
end

-- Whether nobody else is called so. Each nick name is a group of one: whoever wants it joins, and then counts. Of two
-- who do so at the same time, in whatever workers, at least one sees the other. And no name stays taken, whatever
-- happens to its owner: with the connection, or with its worker, the membership ends.
local function claim(nick, caller)
  local group = "nick " .. nick
  websocket.addConnectionToGroup(group, caller)
  local size, err = websocket.groupSize(group)
  if size ~= 1 then
    websocket.removeConnectionFromGroup(group, caller)
  end
  return size == 1, err
end

local function whoIsIn(room)
  local ids, err = websocket.groupMembers("room " .. room)
  if not ids then
    return problem(err.message)
  end
  local list = json.array() -- written as [] also when it is empty
  for i = 1, math.min(#ids, LISTED) do
    table.insert(list, (nicks:get(ids[i])))
  end
  table.sort(list)
  return { event = "here", room = room, count = #ids, nicks = list }
end

-- Makes a callback that a client cannot call without end.
local function limited(callback)
  return function(self, caller, message)
    local now = os.time()
    self.sent = self.second == now and self.sent + 1 or 1
    self.second = now
    if self.sent > PER_SECOND then
      return problem "not so fast"
    end
    return callback(self, caller, message)
  end
end

local Chat = websocket.service("Chat", {
  say = function(self, event, text, options)
    local message = { event = event, room = self.room, nick = self.nick, text = text }
    return websocket.pushToGroup("room " .. self.room, message, options)
  end,

  enter = function(self, caller, room)
    self.room = room
    websocket.addConnectionToGroup("room " .. room, caller)
    self:say("joined", nil, { except = caller })
    return whoIsIn(room)
  end,

  leave = function(self, caller)
    websocket.removeConnectionFromGroup("room " .. self.room, caller)
    self:say "left"
  end,

  onOpen = function(self, caller)
    local id, key = caller:getConnectionId(), self.nick:lower()
    local free, err = claim(key, caller)
    if err then
      return websocket.CloseFrame { status = 4002, reason = err.message }
    elseif not free then
      return websocket.CloseFrame { status = 4001, reason = "somebody else is " .. self.nick }
    end
    websocket.storeConnection(key, caller) -- for private messages
    nicks:set(id, self.nick, HOUR)
    self.renewal = task.every(HOUR / 2, function() nicks:set(id, self.nick, HOUR) end)
    return self:enter(caller, self.room)
  end,

  onTextMessage = websocket.bind(Text, limited(function(self, caller, text)
    if text:find "^%s*{" then
      return problem 'send text, or {"event": "say"}, "tell", "join" or "who"'
    end
    return self:say("said", text)
  end)),

  onSay = websocket.bind(constraint.record { text = Text }, limited(function(self, caller, message)
    return self:say("said", message.text)
  end)),

  onTell = websocket.bind(constraint.record { nick = Name, text = Text }, limited(function(self, caller, message)
    local told = { event = "told", from = self.nick, to = message.nick, text = message.text }
    if not websocket.pushToConnection(message.nick:lower(), told) then
      return problem("nobody is called " .. message.nick)
    end
    return told
  end)),

  onJoin = websocket.bind(constraint.record { room = Name }, limited(function(self, caller, message)
    self:leave(caller)
    return self:enter(caller, message.room)
  end)),

  onWho = limited(function(self)
    return whoIsIn(self.room)
  end),

  onTextMessageError = refuse,
  onSayError = refuse,
  onTellError = refuse,
  onJoinError = refuse,

  onClose = function(self, caller)
    if self.renewal then
      self.renewal:cancel()
      nicks:delete(caller:getConnectionId())
      self:leave(caller)
    end
  end,
})

-- A worker that starts later than the first replaces one that died, and whose clients could not say that they leave.
if not nicks:add("started", os.time()) and os.time() - nicks:get "started" > 5 then
  task.after(1, function()
    websocket.broadcast("Chat", { event = "restarted", text = "some may be gone: ask who is here" })
  end)
end

-- A client that has vanished without a word is noticed after 40 seconds.
local config = { dispatcherKey = "event", maxMessageSize = 16384, pingInterval = 30 }

websocket.listener(arg[1] or 9090):attach("/chat/:room", config, function(request)
  if not request:isSameOrigin() then
    return nil, websocket.UpgradeError { status = 403, reason = "not from this page" }
  end
  local entry, err = Entry:validate { room = request.params.room, nick = request.query.nick }
  if not entry then
    return nil, websocket.UpgradeError { status = 400, reason = err.message }
  end
  return Chat(entry)
end)
