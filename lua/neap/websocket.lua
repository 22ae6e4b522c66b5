-- SPDX-License-Identifier: MIT
--
-- neap.websocket, the module that apps require: listeners, services, groups, close frames, errors.  The parts are in
-- neap/websocket/; the methods of a Caller are C's (neap/types/caller.lua describes them).

local bind = require "neap.websocket.bind"
local closeframe = require "neap.websocket.closeframe"
local convert = require "neap.websocket.convert"
local dispatch = require "neap.websocket.dispatch"
local errors = require "neap.message.error"
local group = require "neap.websocket.group"
local listener = require "neap.websocket.listener"
local service = require "neap.websocket.service"
local stream = require "neap.websocket.stream"
local upgrade = require "neap.websocket.upgrade"

local frames = closeframe.predefined

return {
  listener = listener.listener,
  service = service.service,
  bind = bind.bind,
  dispatch = dispatch.dispatch,
  bytes = convert.bytes,
  xml = convert.xml,
  stream = stream.stream,
  addConnectionToGroup = group.addConnectionToGroup,
  removeConnectionFromGroup = group.removeConnectionFromGroup,
  removeConnectionGroup = group.removeConnectionGroup,
  pushTextToGroup = group.pushTextToGroup,
  pushBinaryToGroup = group.pushBinaryToGroup,
  pushToGroup = group.pushToGroup,
  groupMembers = group.groupMembers,
  groupSize = group.groupSize,
  storeConnection = group.storeConnection,
  removeStoredConnection = group.removeStoredConnection,
  pushTextToConnection = group.pushTextToConnection,
  pushBinaryToConnection = group.pushBinaryToConnection,
  pushToConnection = group.pushToConnection,
  broadcast = group.broadcast,
  broadcastText = group.broadcastText,
  broadcastBinary = group.broadcastBinary,
  UpgradeError = upgrade.UpgradeError,
  Error = errors.Error,
  isError = errors.isError,
  CloseFrame = closeframe.CloseFrame,
  NORMAL_CLOSURE = frames.NORMAL_CLOSURE,
  GOING_AWAY = frames.GOING_AWAY,
  PROTOCOL_ERROR = frames.PROTOCOL_ERROR,
  UNSUPPORTED_DATA = frames.UNSUPPORTED_DATA,
  INVALID_PAYLOAD = frames.INVALID_PAYLOAD,
  POLICY_VIOLATION = frames.POLICY_VIOLATION,
  MESSAGE_TOO_BIG = frames.MESSAGE_TOO_BIG,
  INTERNAL_SERVER_ERROR = frames.INTERNAL_SERVER_ERROR,
}
