-- SPDX-License-Identifier: MIT
--
-- Channels: values from task to task, in order. Part of neap.task (task.channel); apps do not
-- require this file.
--
--     values   what was sent and not received yet, at most `capacity` of them
--     takers   tasks that wait in receive; there are none while there are values
--     givers   tasks that wait in send, each with its value; there are none while there is room
--
-- Waiting tasks stand in a ring that is doubly linked, because a cancelled one must get out of the
-- middle: a receiver with a time limit that asks again and again would otherwise leave a trail of
-- dead entries on a quiet channel.

local core = require "neap.core"
local errors = require "neap.message.error"
local numbers = require "neap.runtime.number"
local text = require "neap.message.text"
local wait = require "neap.runtime.wait"

---@class neap.Channel
local Channel = {}
local meta = { __index = Channel, __name = "neap.Channel" }

local function ring()
  local head = {}
  head.next, head.previous = head, head
  return head
end

local function append(head, entry)
  entry.next, entry.previous = head, head.previous
  head.previous.next = entry
  head.previous = entry
end

local function unlink(entry)
  if entry.next then
    entry.previous.next, entry.next.previous = entry.next, entry.previous
    entry.next, entry.previous = nil, nil
  end
end

-- Wakes the first task of the ring that still waits; returns its entry. One that was cancelled a
-- moment ago has not had its turn to get out: core.wake tells.
local function wakeFirst(head, ...)
  while head.next ~= head do
    local entry = head.next
    unlink(entry)
    if core.wake(entry.task, ...) then
      return entry
    end
  end
  return nil
end

local function closed()
  return nil, errors.new("Closed", "the channel is closed")
end

-- Queues the running task and waits; returns what it was woken with.
local function standIn(head, value)
  wait.check()
  local entry = { task = core.current(), value = value }
  append(head, entry)
  local good, result = core.park()
  if not good then
    unlink(entry)
  end
  return wait.passed(good, result)
end

local function checkSelf(channel, call)
  if getmetatable(channel) ~= meta then
    errors.wrongSelf(call, "task.channel")
  end
end

local function checkValue(value, call)
  if value == nil then
    errors.raise(call .. ": nil cannot be sent, it is what receive returns at the end")
  end
end

-- Hands a value over at once: true, or false when nobody waits for it and there is no room.
local function give(channel, value)
  if wakeFirst(channel.takers, true, value) then
    return true
  end
  if channel.last - channel.first + 1 >= channel.capacity then
    return false
  end
  channel.last = channel.last + 1
  channel.values[channel.last] = value
  return true
end

-- Takes a value at once, and lets the next sender in; nil when there is none.
local function take(channel)
  if channel.first > channel.last then
    local giver = wakeFirst(channel.givers, true)
    return giver and giver.value
  end
  local value = channel.values[channel.first]
  channel.values[channel.first] = nil
  channel.first = channel.first + 1
  local giver = wakeFirst(channel.givers, true)
  if giver then
    channel.last = channel.last + 1
    channel.values[channel.last] = giver.value
  end
  return value
end

--- Sends a value; waits while the channel is full. Yields when it waits.
---@param value any not nil
---@return true? sent
---@return websocket.Error? err kind "Closed"; the value was not sent
function Channel:send(value)
  checkSelf(self, "channel:send")
  checkValue(value, "channel:send(value)")
  wait.enter()
  if self.closed then
    return closed()
  end
  if give(self, value) then
    return true
  end
  local good, err = standIn(self.givers, value)
  if good then
    return true
  end
  return nil, err
end

--- Sends a value if that is possible at once. Does not yield.
---@param value any not nil
---@return boolean? sent false when the channel is full, nil when it is closed
---@return websocket.Error? err kind "Closed"
function Channel:trySend(value)
  checkSelf(self, "channel:trySend")
  checkValue(value, "channel:trySend(value)")
  if self.closed then
    return closed()
  end
  return give(self, value)
end

--- Takes the oldest value; waits while there is none. What was sent before a close can still be
--- received. Yields when it waits.
---@return any value nil when there will be none any more
---@return websocket.Error? err kind "Closed"
function Channel:receive()
  checkSelf(self, "channel:receive")
  wait.enter()
  local value = take(self)
  if value ~= nil then
    return value
  end
  if self.closed then
    return closed()
  end
  local good, result = standIn(self.takers)
  if good then
    return result
  end
  return nil, result
end

--- Takes the oldest value if there is one. Does not yield.
---@return any value nil when there is none
---@return websocket.Error? err kind "Closed" when there will be none any more
function Channel:tryReceive()
  checkSelf(self, "channel:tryReceive")
  local value = take(self)
  if value == nil and self.closed then
    return closed()
  end
  return value
end

--- Closes the channel: nothing can be sent any more, waiting senders get an error, and receivers
--- get what is left and then an error. Does not yield.
---@return true? closed nil when it was closed before
---@return websocket.Error? err kind "Closed"
function Channel:close()
  checkSelf(self, "channel:close")
  if self.closed then
    return closed()
  end
  self.closed = true
  local _, err = closed()
  for _, head in ipairs { self.takers, self.givers } do
    while wakeFirst(head, false, err) do -- luacheck: ignore 542
    end
  end
  return true
end

--- Makes a channel. Does not yield.
---@param capacity? integer values that may wait in it (default 0: send waits until one is taken)
---@return neap.Channel
local function new(capacity)
  capacity = capacity or 0
  if not numbers.isWhole(capacity, 0, math.huge) then
    errors.raise("task.channel(n): n must be a whole number from 0, it is " .. text.show(capacity))
  end
  return setmetatable({
    capacity = capacity,
    closed = false,
    values = {},
    first = 1,
    last = 0,
    takers = ring(),
    givers = ring(),
  }, meta)
end

return {
  new = new,
}
