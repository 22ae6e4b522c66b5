# SPDX-License-Identifier: MIT
"""What the behaviour tests share: an app that notes every callback, and questions about its notes.

A route of `recorded` notes what happens on each of its connections, under the id that stands in
the path:

    open   message hi   close 1000 bye   error Error: no luck   ...

`told` waits until a connection's notes are exactly as expected; patterns are fnmatch's. Whatever
a case is about, `add_finals` asserts in the end: each connection that opened was closed exactly
once, closing came last, no two callbacks of one connection overlapped, nothing else was harmed.
"""
import fnmatch
import itertools
import json
import re

from .basics import SECONDS, Failed, wait_until
from .client import Bystander, Raw
from .server import Once, Server
from .wire import CLOSE, close_payload

PRELUDE = r"""
local json = require "neap.json"
local task = require "neap.task"
local websocket = require "neap.websocket"

local listener = websocket.listener(0, { host = "127.0.0.1" })
local seen, callers, channels = {}, {}, {}

local function note(id, text)
  seen[id] = seen[id] or json.array {}
  text = text:sub(1, 100)
  table.insert(seen[id], json.encode(text) and text or (text:gsub("[\128-\255]", "?")))
end

listener:attach("/echo", { pingInterval = 0 }, { onMessage = function(_, _, data) return data end })
listener:attach("/seen", { pingInterval = 0 }, {
  onTextMessage = function(_, _, id) return seen[id] or json.array {} end,
})
listener:attach("/all", { pingInterval = 0 }, { onTextMessage = function() return seen end })

-- Serves /name/:id with these callbacks, each noted when it begins and, after a wait, when it ends.
local function recorded(name, config, callbacks)
  listener:attach("/" .. name .. "/:id", config, function(request)
    local id, inside = request.params.id, 0
    local self = { id = id, note = function(text) note(id, text) end }
    function self.leave() inside = inside - 1 end -- for a handler that is given up while it runs
    local function wrap(fn, what, text)
      return function(...)
        note(id, text and text(...) or what)
        inside = inside + 1
        if inside > 1 then
          note(id, "OVERLAP in " .. what)
        end
        return (function(ok, ...)
          inside = inside - 1
          if not ok then
            error((...), 0)
          end
          return ...
        end)(pcall(fn, ...))
      end
    end
    local function nothing() end
    for key, fn in pairs(callbacks) do
      local what = key:sub(3):gsub("^%u", string.lower)
      self[key] = wrap(fn, what, function(_, _, data)
        return data and what .. " " .. data or what
      end)
    end
    self.onOpen = wrap(function(_, caller)
      callers[id] = caller
      return (callbacks.onOpen or nothing)(self, caller)
    end, "open")
    self.onClose = wrap(callbacks.onClose or nothing, "close", function(_, _, code, reason)
      return "close " .. code .. (reason == "" and "" or " " .. reason)
    end)
    self.onError = wrap(callbacks.onError or nothing, "error", function(_, _, err)
      return "error " .. tostring(err)
    end)
    return self
  end)
end

local function result(self, what, value, err)
  self.note(what .. ": " .. (err and tostring(err) or type(value)))
end

-- A channel that a handler waits on until the test sends to /go.
local function gate(id)
  channels[id] = channels[id] or task.channel(1)
  return channels[id]
end
listener:attach("/go", { pingInterval = 0 }, { onTextMessage = function(_, _, id)
  gate(id):send(true)
  return "went"
end })

local function echo(_, _, data) return data end

-- luacheck: push ignore
local _ = { result, callers, echo, json }
-- luacheck: pop
"""


class App(Once):
    """A server with an app of PRELUDE and `lua`, started by the first case that needs it."""

    def __init__(self, lua, options=("--workers", "1"), **settings):
        super().__init__()
        self.lua, self.options, self.settings = PRELUDE + lua, options, settings
        self.numbers, self.control = itertools.count(1), None

    def _start(self):
        self.server = Server(lua=self.lua, options=self.options, args=(), **self.settings)
        self.control = {name: Raw(self.server.port, "/" + name) for name in ("seen", "all", "go")}
        self.bystander = Bystander(self.server.port)
        self.workers = self.server.workers()
        self.descriptors = self.server.fds()

    def ask(self, name, text, seconds=None):
        self.get()
        with self.lock:
            control = self.control[name]
            control.text(text)
            return control.recv_message(seconds)[1].decode()

    def seen(self, ident):
        return json.loads(self.ask("seen", ident))

    def go(self, ident):
        """Lets a handler go on that waits at gate(ident)."""
        self.ask("go", ident)

    def barrier(self):
        """Returns when the worker has read all that was sent before."""
        self.get()
        with self.lock:
            self.bystander.check(SECONDS * 4)

    def open(self, name, ident=None, **options):
        """A new connection to a recorded route, with its id in `.id`."""
        ident = ident or "%s-%d" % (name, next(self.numbers))
        c = Raw(self.port, "/%s/%s" % (name, ident), **options)
        c.id = ident
        return c

    def told(self, ident, *expected, seconds=None):
        """The notes of a connection must become exactly these."""
        got = []

        def same():
            got[:] = self.seen(ident)
            return len(got) == len(expected) and \
                all(fnmatch.fnmatchcase(g, e) for g, e in zip(got, expected))
        try:
            wait_until(same, seconds)
        except Failed:
            raise Failed("notes of %s\n     expected %r\n     got      %r"
                         % (ident, list(expected), got)) from None

    def noted(self, ident, pattern, seconds=None):
        """Waits for a note that fits the pattern; returns it."""
        try:
            return wait_until(lambda: fnmatch.filter(self.seen(ident), pattern), seconds)[0]
        except Failed:
            raise Failed("no note %r of %s: %r" % (pattern, ident, self.seen(ident))) from None

    def finish(self, c, *notes):
        """The client closes; with notes, they must be these, and then that it has closed."""
        c.send_frame(CLOSE, close_payload(1000))
        c.expect_close(1000, skip=True)
        if notes:
            self.told(c.id, *notes, "close 1000")

    def add_finals(self, suite, errors="expected"):
        """What must hold after all cases of a file; `errors` is a regex of what may stand in the log."""
        @suite.final("end.once", "each connection was opened and closed once, in this order")
        def _():
            self.get()

            def wrong():
                found = {}
                for ident, notes in json.loads(self.ask("all", "")).items():
                    if ident.startswith(("forever", "no connection")):
                        continue        # its handler never ends
                    closes = [n for n in notes if n.startswith("close ") or n == "close"]
                    if notes[:1] != ["open"] or notes.count("open") != 1 or len(closes) != 1 or \
                            notes[-1] != closes[0] and "after close" not in notes[-1] or \
                            any("OVERLAP" in n for n in notes):
                        found[ident] = notes
                return found
            try:
                wait_until(lambda: not wrong(), SECONDS * 2)
            except Failed:
                raise Failed("wrong notes: %r" % wrong()) from None

        @suite.final("end.unharmed", "same worker, descriptors back, others answered quickly")
        def _():
            self.get()
            wait_until(lambda: self.server.fds() <= self.descriptors, SECONDS * 2,
                       "descriptors back to %d, now %d" % (self.descriptors, self.server.fds()))
            if self.server.workers() != self.workers:
                raise Failed("worker changed")
            for _ in range(5):
                self.bystander.check()

        @suite.final("end.log", "no error in the log but those that were asked for")
        def _():
            self.get()
            bad = [r for r in self.server.records("error") + self.server.records("warn")
                   if not re.search(errors, r.message)]
            if bad:
                raise Failed("%d unexpected lines, first %r" % (len(bad), bad[0]))

        @suite.final("end.stop", "the server ends in order, without a sanitizer report")
        def _():
            self.get()
            for c in [*self.control.values(), self.bystander]:
                c.close()
            status = self.server.stop()
            if status != 0:
                raise Failed("ended with %d" % status)
