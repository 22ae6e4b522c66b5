-- SPDX-License-Identifier: MIT
--
-- Groups of connections, stored connections and broadcasts, over all workers (src/group/group.h).  Values become
-- messages once, however many clients get them; the rest is C's.
--
--      JOINED    addConnectionToGroup, pushToGroup …         any number of members
--      SERVICE   broadcast …                                 all clients of the services of that name
--      STORED    storeConnection, pushToConnection …         one member
--
-- The arguments' checks are in pushing.lua.

local core = require "neap.core"
local errors = require "neap.message.error"
local pushing = require "neap.websocket.pushing"
local text = require "neap.message.text"
local wait = require "neap.runtime.wait"

local groupJoin, groupLeave, groupDissolve = core.groupJoin, core.groupLeave, core.groupDissolve
local groupPush, groupAsk = core.groupPush, core.groupAsk

local checkCaller, checkGroup, checkService = pushing.checkCaller, pushing.checkGroup, pushing.checkService
local checkStored, checkString, exceptOf = pushing.checkStored, pushing.checkString, pushing.exceptOf
local pushValue = pushing.pushValue

local JOINED, SERVICE, STORED = 0, 1, 2

-- --- Groups -----------------------------------------------------------------------------------------------------

--- Puts a connection into a group, in which it stays until it is taken out or closes. Again, it changes nothing. Does
--- not yield.
---@param group string 1 to 255 bytes
---@param caller websocket.Caller
---@return websocket.Caller? caller
---@return websocket.Error? err the connection is closed, or in 10,000 groups
local function addConnectionToGroup(group, caller)
  checkGroup("addConnectionToGroup(group, caller)", group)
  checkCaller("addConnectionToGroup(group, caller)", caller)
  local joined, err = groupJoin(JOINED, group, caller)
  if not joined then
    return nil, err
  end
  return caller
end

--- Takes a connection out of a group. Does not yield.
---@param group string 1 to 255 bytes
---@param caller websocket.Caller
---@return boolean was whether it was in
local function removeConnectionFromGroup(group, caller)
  checkGroup("removeConnectionFromGroup(group, caller)", group)
  checkCaller("removeConnectionFromGroup(group, caller)", caller)
  return groupLeave(group, caller)
end

--- Takes all connections out of a group, in all workers. They stay open. Does not yield.
---@param group string 1 to 255 bytes
---@return boolean was whether it had members, as far as this worker knows
local function removeConnectionGroup(group)
  checkGroup("removeConnectionGroup(group)", group)
  return groupDissolve(JOINED, group)
end

--- Sends a text message to all members of a group. Never waits.
---@param group string 1 to 255 bytes
---@param message string valid UTF-8
---@param options? websocket.PushOptions
---@return websocket.PushResult? result
---@return websocket.Error? err the text is not valid UTF-8
local function pushTextToGroup(group, message, options)
  checkGroup("pushTextToGroup(group, text, options)", group)
  checkString("pushTextToGroup(group, text, options)", "text", message)
  return groupPush(JOINED, group, message, false, exceptOf("pushTextToGroup(group, text, options)", options))
end

--- Sends a binary message to all members of a group. Never waits.
---@param group string 1 to 255 bytes
---@param bytes string
---@param options? websocket.PushOptions
---@return websocket.PushResult result
local function pushBinaryToGroup(group, bytes, options)
  checkGroup("pushBinaryToGroup(group, bytes, options)", group)
  checkString("pushBinaryToGroup(group, bytes, options)", "bytes", bytes)
  return groupPush(JOINED, group, bytes, true, exceptOf("pushBinaryToGroup(group, bytes, options)", options))
end

--- Sends a value to all members of a group, converted once, as caller:writeMessage does. Never waits.
---@param group string 1 to 255 bytes
---@param value string|number|boolean|table|websocket.Bytes|websocket.Xml
---@param options? websocket.PushOptions
---@return websocket.PushResult? result
---@return websocket.Error? err the value cannot be sent
local function pushToGroup(group, value, options)
  checkGroup("pushToGroup(group, value, options)", group)
  return pushValue(JOINED, group, value, exceptOf("pushToGroup(group, value, options)", options))
end

--- The number of members in all workers, each of which is asked. Yields.
---@param group string 1 to 255 bytes
---@return integer? size
---@return websocket.Error? err a worker did not answer in time
local function groupSize(group)
  checkGroup("groupSize(group)", group)
  return wait.passed(groupAsk(group, false))
end

--- The connection ids of all members, in no certain order; all workers are asked. Yields.
---@param group string 1 to 255 bytes
---@return string[]? ids
---@return websocket.Error? err a worker did not answer in time
local function groupMembers(group)
  checkGroup("groupMembers(group)", group)
  return wait.passed(groupAsk(group, true))
end

-- --- Stored connections -----------------------------------------------------------------------------------------

--- Gives a connection a name, in place of the one that had it, until it closes. Does not yield.
---@param name string 1 to 255 bytes
---@param caller websocket.Caller
---@return websocket.Caller? caller
---@return websocket.Error? err the connection is closed, or has 10,000 names and groups
local function storeConnection(name, caller)
  checkStored("storeConnection(name, caller)", name)
  checkCaller("storeConnection(name, caller)", caller)
  local stored, err = groupJoin(STORED, name, caller)
  if not stored then
    return nil, err
  end
  return caller
end

--- Frees a name. The connection stays open. Does not yield.
---@param name string 1 to 255 bytes
---@return boolean was whether a connection had it, as far as this worker knows
local function removeStoredConnection(name)
  checkStored("removeStoredConnection(name)", name)
  return groupDissolve(STORED, name)
end

local function told(name, result, err)
  if result then
    return result
  end
  return nil, err or errors.new("Error", "no connection is stored under " .. text.quote(name))
end

--- Sends a text message to the connection of that name. Never waits.
---@param name string 1 to 255 bytes
---@param message string valid UTF-8
---@return websocket.PushResult? result
---@return websocket.Error? err there is no such connection, or the text is not valid UTF-8
local function pushTextToConnection(name, message)
  checkStored("pushTextToConnection(name, text)", name)
  checkString("pushTextToConnection(name, text)", "text", message)
  return told(name, groupPush(STORED, name, message, false))
end

--- Sends a binary message to the connection of that name. Never waits.
---@param name string 1 to 255 bytes
---@param bytes string
---@return websocket.PushResult? result
---@return websocket.Error? err there is no such connection
local function pushBinaryToConnection(name, bytes)
  checkStored("pushBinaryToConnection(name, bytes)", name)
  checkString("pushBinaryToConnection(name, bytes)", "bytes", bytes)
  return told(name, groupPush(STORED, name, bytes, true))
end

--- Sends a value to the connection of that name, converted as caller:writeMessage does. Never waits.
---@param name string 1 to 255 bytes
---@param value string|number|boolean|table|websocket.Bytes|websocket.Xml
---@return websocket.PushResult? result
---@return websocket.Error? err there is no such connection, or the value cannot be sent
local function pushToConnection(name, value)
  checkStored("pushToConnection(name, value)", name)
  return told(name, pushValue(STORED, name, value))
end

-- --- Services ---------------------------------------------------------------------------------------------------

--- Sends a text message to all clients of the services with that name. Never waits.
---@param serviceName string
---@param message string valid UTF-8
---@param options? websocket.PushOptions
---@return websocket.PushResult? result
---@return websocket.Error? err the text is not valid UTF-8
local function broadcastText(serviceName, message, options)
  checkService("broadcastText(serviceName, text, options)", serviceName)
  checkString("broadcastText(serviceName, text, options)", "text", message)
  return groupPush(SERVICE, serviceName, message, false, exceptOf("broadcastText(serviceName, text, options)", options))
end

--- Sends a binary message to all clients of the services with that name. Never waits.
---@param serviceName string
---@param bytes string
---@param options? websocket.PushOptions
---@return websocket.PushResult result
local function broadcastBinary(serviceName, bytes, options)
  checkService("broadcastBinary(serviceName, bytes, options)", serviceName)
  checkString("broadcastBinary(serviceName, bytes, options)", "bytes", bytes)
  return groupPush(SERVICE, serviceName, bytes, true, exceptOf("broadcastBinary(serviceName, bytes, options)", options))
end

--- Sends a value to all clients of the services with that name, converted once, as caller:writeMessage does. Never
--- waits.
---@param serviceName string
---@param value string|number|boolean|table|websocket.Bytes|websocket.Xml
---@param options? websocket.PushOptions
---@return websocket.PushResult? result
---@return websocket.Error? err the value cannot be sent
local function broadcast(serviceName, value, options)
  checkService("broadcast(serviceName, value, options)", serviceName)
  return pushValue(SERVICE, serviceName, value, exceptOf("broadcast(serviceName, value, options)", options))
end

return {
  addConnectionToGroup = addConnectionToGroup,
  broadcast = broadcast,
  broadcastBinary = broadcastBinary,
  broadcastText = broadcastText,
  groupMembers = groupMembers,
  groupSize = groupSize,
  pushBinaryToConnection = pushBinaryToConnection,
  pushBinaryToGroup = pushBinaryToGroup,
  pushTextToConnection = pushTextToConnection,
  pushTextToGroup = pushTextToGroup,
  pushToConnection = pushToConnection,
  pushToGroup = pushToGroup,
  removeConnectionFromGroup = removeConnectionFromGroup,
  removeConnectionGroup = removeConnectionGroup,
  removeStoredConnection = removeStoredConnection,
  storeConnection = storeConnection,
}
