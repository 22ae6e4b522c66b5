-- SPDX-License-Identifier: MIT
--
-- Sends every message back to the client that sent it.
--
--     neap run apps/echo              serves ws://localhost:9090/echo
--     neap run apps/echo -- 9001      the same on port 9001

local websocket = require "neap.websocket"

local MIB = 1024 * 1024

-- A service is a table of callbacks; Neap calls them when something happens on a connection. What a
-- callback returns is sent: text in answer to text, binary in answer to binary.
local Echo = websocket.service("Echo", {
  onMessage = function(self, caller, data)
    return data
  end,
})

-- Messages of up to 1 MiB, in frames of up to 64 KiB, are the default. An echo server is there to be
-- tried with anything, so this one takes more.
local config = {
  maxFrameSize = 16 * MIB,
  maxMessageSize = 16 * MIB,
  maxFragments = 1000000,
}

-- What follows `--` on the command line is in `arg`.
local listener = websocket.listener(arg[1] or 9090)
listener:attach("/echo", config, Echo)
