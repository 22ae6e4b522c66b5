# SPDX-License-Identifier: MIT
"""Lua that the tests of bound and dispatched messages share: callbacks that are served as they are."""
import json

from neaptest import Failed

SERVED = r"""
local constraint = require "neap.constraint"

-- Serves /name/:id with these callbacks as they are; notes how the connection begins and ends.
local function served(name, config, callbacks)
  listener:attach("/" .. name .. "/:id", config, function(request)
    local id = request.params.id
    local self = { id = id, note = function(text) note(id, text) end }
    for key, callback in pairs(callbacks) do
      self[key] = callback
    end
    function self.onOpen(_, caller)
      callers[id] = caller
      note(id, "open")
    end
    function self.onError(_, caller, err)
      note(id, "error " .. tostring(err))
      result(self, "write", caller:writeMessage "late")
    end
    function self.onClose(_, _, code, reason)
      note(id, "close " .. code .. (reason == "" and "" or " " .. reason))
    end
    return self
  end)
end

local Point = constraint.record { x = constraint.int {}, y = constraint.int { minValue = 5 } }
local function named(name)
  return function(_, _, request) return { [name] = request } end
end
"""


def refused(c, code, reason=None):
    c.expect_close(code, reason, reply=True)
    c.close()


def ask(c, text, expected):
    c.text(text if isinstance(text, str) else json.dumps(text))
    got = json.loads(c.recv_message()[1])
    if got != expected:
        raise Failed("%r was answered with %r, not %r" % (text, got, expected))
