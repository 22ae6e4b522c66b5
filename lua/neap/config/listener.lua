-- SPDX-License-Identifier: MIT
--
-- The settings of websocket.listener.  ListenerConfig in types/config.lua has a field for each.

local make = require "neap.config.fields"
local secure = require "neap.config.secure"

local boolean, count, headerValue, line, seconds = make.boolean, make.count, make.headerValue, make.line, make.seconds
local MAX_BYTES, MAX_COUNT = make.MAX_BYTES, make.MAX_COUNT

local fields = {
  host = line("0.0.0.0", "an address or a host name"),
  timeout = seconds(120, 0),
  headerTimeout = seconds(10, 0),
  maxConnections = count(0, 0, MAX_COUNT),
  maxConnectionsPerAddress = count(0, 0, MAX_COUNT),
  backlog = count(4096, 1, 65535),
  server = headerValue(""),
  webSocketCompressionEnabled = boolean(true),
  compression = {
    fields = {
      level = count(nil, 1, 9),
      memLevel = count(5, 1, 9),
      windowBits = count(12, 9, 15),
      serverNoContextTakeover = boolean(true),
      clientNoContextTakeover = boolean(true),
      threshold = count(256, 0, MAX_BYTES),
    },
  },
  secureSocket = {
    finish = secure.finish,
    fields = secure.fields,
  },
  requestLimits = {
    fields = {
      maxUriLength = count(4096, 1, 1048576),
      maxHeaderSize = count(8192, 1, 1048576),
    },
  },
}

return {
  fields = fields,
}
