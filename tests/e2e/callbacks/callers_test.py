#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Callers: what they tell of their connection, and that they are safe when it has gone.
"""
import os
import sys

sys.path.insert(0, os.path.abspath(__file__ + "/../../../support"))
from neaptest import TEXT, Raw, Suite, over  # noqa: E402
from neaptest.behaviour import App  # noqa: E402

suite = Suite("callers")
app = App(r"""
local kept = {}
recorded("kept", {}, { onOpen = function(self, caller)
  kept[self.id] = caller
  caller:setAttribute("colour", "blue"):setAttribute("n", 1)
end, onMessage = function(_, caller, data)
  if data == "attributes" then
    local removed = caller:removeAttribute "n"
    return ("%s %s %s"):format(caller:getAttribute "colour", removed, caller:getAttribute "n")
  end
  return tostring(caller:isOpen()) .. " " .. #caller:getConnectionId() .. " " ..
    tostring(caller:getNegotiatedSubProtocol()) .. " " .. tostring(caller:isSecure()) .. " " ..
    tostring(caller:remoteAddress()) .. " " .. caller:request().path
end, onClose = function(self, caller)
  local same = caller == kept[self.id]
  self.note("after close: caller " .. tostring(same) .. " " .. tostring(caller:getAttribute "colour"))
end })
listener:attach("/use", { onTextMessage = function(_, _, id)
  local caller = kept[id]
  local out = {}
  for _, call in ipairs { { "writeMessage", "x" }, { "writeMessage", { 1 } }, { "writeTextMessage", "x" },
    { "writeBinaryMessage", "x" }, { "pushText", "x" }, { "ping" }, { "pong" }, { "close" },
    { "setAttribute", "k", 1 }, { "getAttribute", "k" }, { "removeAttribute", "k" }, { "getConnectionId" },
    { "getNegotiatedSubProtocol" }, { "isSecure" }, { "remoteAddress" }, { "request" }, { "bufferedAmount" } } do
    local value, err = caller[call[1]](caller, call[2], call[3])
    local kind = call[1] == "close" and "ConnectionClosureError" or "ConnectionError"
    out[#out + 1] = value == nil and websocket.isError(err, kind) and "gone" or call[1] .. " is not"
  end
  collectgarbage()
  return table.concat(out, " ") .. " " .. tostring(caller:isOpen()) .. " " .. tostring(caller)
end })
listener:attach("/forget", { onTextMessage = function(_, _, id)
  kept[id] = nil
  callers[id] = nil
  collectgarbage()
  collectgarbage()
  return "forgotten"
end })
""")


@suite.case("caller.fields", "what a Caller tells; attributes")
def _():
    with app.open("kept") as c:
        c.text("?")
        c.expect(TEXT, "true 16 nil %s 127.0.0.1 /kept/%s" % (str(over.TLS).lower(), c.id))
        c.text("attributes")
        c.expect(TEXT, "blue 1 nil")
        app.finish(c)
    app.told(c.id, "open", "message ?", "message attributes", "close 1000", "after close: caller true blue")


@suite.case("caller.gone", "a Caller in a global is safe after its connection has gone")
def _():
    with app.open("kept") as c, Raw(app.port, "/use") as control, Raw(app.port, "/forget") as forget:
        c.reset()
        app.noted(c.id, "close 1006")
        for _ in range(3):
            control.text(c.id)
            control.expect(TEXT, "gone " * 17 + "false Caller (gone)")
        forget.text(c.id)
        forget.expect(TEXT, "forgotten")


app.add_finals(suite, r"expected")

if __name__ == "__main__":
    suite.main()
