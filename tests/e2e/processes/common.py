# SPDX-License-Identifier: MIT
"""What the tests of processes share: two apps, and whether they answer.
"""
import os

from neaptest import APPS, TEXT, Failed, Raw

ECHO = os.path.join(APPS, "echo")

BUSY = """
local websocket = require "neap.websocket"
local task = require "neap.task"
local log = require "neap.log"
local listener = websocket.listener(arg[1])
local function attach(path, callbacks) listener:attach(path, callbacks) end
attach("/echo", { onMessage = function(self, caller, data) return data end })
attach("/slow", { onMessage = function(self, caller, data)
  caller:writeMessage("begun") task.sleep(tonumber(data)) return "done" end })
attach("/flood", { onMessage = function(self, caller, data)
  local piece = ("x"):rep(16384)
  for _ = 1, 1000 do caller:writeMessage(piece) end end })
attach("/log", { onMessage = function(self, caller, data)
  log.info("said", { text = data }) return "logged" end })
"""


def echoes(client, text="still here"):
    """Whether the connection still answers."""
    try:
        client.text(text)
        client.expect(TEXT, text)
        return True
    except (Failed, OSError):
        return False


def answers(port):
    """Whether a new connection is upgraded and answered."""
    try:
        with Raw(port, "/echo") as client:
            return echoes(client)
    except (Failed, OSError):
        return False


def close_all(clients):
    for client in clients:
        (client[0] if isinstance(client, tuple) else client).close()
