# SPDX-License-Identifier: MIT
"""What the tests of streams share: which of them are alive, how much they have made, how connections end."""
import json

from neaptest import CLOSE, Raw, close_payload, frame, wait_until

MOST = 32           # streams of a connection

WATCHED = r"""
-- Streams that are alive, as the collector sees it.
local live = setmetatable({}, { __mode = "k" })
local function watched(fn)
  live[fn] = true
  return fn
end
listener:attach("/live", { onTextMessage = function()
  jit.flush() -- a trace keeps the function that it was made for
  collectgarbage()
  collectgarbage()
  local count = 0
  for _ in pairs(live) do count = count + 1 end
  return { streams = count, kilobytes = math.floor(collectgarbage "count") }
end })

-- Endless ones; /made tells how many values there were.
local made = {}
local function endless(size)
  return function(self, _, data)
    if data == "echo" then
      return data
    end
    made[self.id] = made[self.id] or 0
    local value = ("x"):rep(size)
    return watched(function()
      made[self.id] = made[self.id] + 1
      return value
    end)
  end
end
recorded("endless", { maxBufferedBytes = 200000 }, { onMessage = endless(10000) })
recorded("fast", {}, { onMessage = endless(20) })
recorded("large", {}, { onMessage = endless(2 ^ 20) })
listener:attach("/made", { onTextMessage = function(_, _, id) return made[id] or 0 end })
"""

ENDS = {
    "reset": (lambda c: c.reset(), "close 1006"),
    "fin": (lambda c: c.close(), "close 1006"),
    "close": (lambda c: c.send(frame(CLOSE, close_payload(1000))), "close 1000"),
    "protocol": (lambda c: c.send(frame(3)), "close 1002*"),
    "own": (lambda c: c.text("close"), "close 1006"),
    "failed": (lambda c: c.text("raise"), "close 1011*"),
}


def asked(app, name, text=""):
    with Raw(app.port, "/" + name) as c:
        c.text(text)
        return c.recv_message()[1].decode()


def live(app):
    return json.loads(asked(app, "live"))


def none_left(app, seconds=None):
    wait_until(lambda: live(app)["streams"] == 0, seconds, "streams are collected")
