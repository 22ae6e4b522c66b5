-- SPDX-License-Identifier: MIT
-- neap.app.check: all problems of an app at once, each with its place.

package.path = "tests/spec/support/?.lua;" .. package.path
local fake = require "fakecore"
local folder = require "appfolder"
local check = require "neap.app.check"

before_each(function()
  fake.reset()
  fake.core.mode = "check"
end)
after_each(folder.remove)

-- Exit status, and the lines printed, the app's folder cut off.
local function run(files, ...)
  local root = folder.write(files)
  local lines = {}
  local out = {
    write = function(_, ...)
      lines[#lines + 1] = table.concat { ... }
    end,
  }
  local status = fake.run(check.run, root, { ... }, out)
  local text = table.concat(lines):gsub(root:gsub("%W", "%%%0") .. "/?", "")
  local split = {}
  for line in text:gmatch "[^\n]+" do
    split[#split + 1] = line
  end
  return status, split
end

describe("neap check", function()
  it("finds nothing wrong with a good app", function()
    local status, lines = run({
      ["init.lua"] = [[
        local websocket = require "neap.websocket"
        local Chat = websocket.service("Chat", { onOpen = function() end })
        websocket.listener(tonumber(arg[1])):attach("/chat", { idleTimeout = 1 }, Chat)
      ]],
    }, "9001")
    assert.equal(0, status)
    assert.same({ ": no problems" }, lines)
    assert.equal("0.0.0.0:9001", fake.listeners[1].bound)
  end)

  it("tells every mistake, in order, with file and line", function()
    local status, lines = run {
      ["init.lua"] = [[
local websocket = require "neap.websocket"
require "rooms"
local Chat = websocket.service("Chat", {
  onMesage = function() end,
  onOpen = 5,
})
local listener = websocket.listener(9090, {
  host = "127.0.0.1",
  backlgo = 5,
})
listener:attach("/chat", { idleTimeout = "x" }, Chat)
listener:attach("/chat/", Chat)
]],
      ["rooms.lua"] = [[
local websocket = require "neap.websocket"
return websocket.CloseFrame { status = 1005 }
]],
    }
    assert.equal(1, status)
    assert.same({
      'init.lua:4: websocket.service "Chat": onMesage: no such callback; did you mean onMessage?',
      'init.lua:5: websocket.service "Chat": onOpen must be a function, it is 5',
      "init.lua:9: websocket.listener: backlgo: no such key; did you mean backlog?",
      'init.lua:11: listener:attach("/chat"): idleTimeout must be a number of seconds, 0 or more; it is "x"',
      'init.lua:12: listener:attach("/chat/"): the path is attached already',
      "rooms.lua:2: websocket.CloseFrame: status 1005 cannot be sent; use 1000 to 1003, 1007 to 1011 or 3000 to 4999",
      "6 problems",
    }, lines)
  end)

  it("tells the syntax errors of all files, also of those that only handlers load", function()
    local status, lines = run {
      ["init.lua"] = "local function later() require('a') end\nreturn require \"b\", later",
      ["a.lua"] = "require 'deep.c'\nx x",
      ["b.lua"] = "\n\ny y",
      ["deep/c.lua"] = "return }",
      ["unused.lua"] = "not lua",
    }
    assert.equal(1, status)
    assert.equal(4, #lines)
    assert.matches("^a%.lua:2: .* near 'x'$", lines[1])
    assert.matches("^b%.lua:3: .* near 'y'$", lines[2])
    assert.matches("^deep/c%.lua:1: unexpected symbol near '}'$", lines[3])
    assert.equal("3 problems", lines[4])
  end)

  it("tells a syntax error of the entry file, and goes on to its modules", function()
    local status, lines = run { ["init.lua"] = "require 'a'\n)", ["a.lua"] = "(" }
    assert.equal(1, status)
    assert.equal(3, #lines)
    assert.matches("^a%.lua:1: ", lines[1])
    assert.matches("^init%.lua:2: ", lines[2])
  end)

  it("tells what the top level raises, after what was found before", function()
    local status, lines = run {
      ["init.lua"] = [[
local websocket = require "neap.websocket"
websocket.service("Chat", { onMesage = function() end })
local t
print(t.x)
]],
    }
    assert.equal(1, status)
    assert.matches("^init%.lua:2: ", lines[1])
    assert.equal("init.lua:4: attempt to index local 't' (a nil value)", lines[2])
    assert.equal("2 problems", lines[3])
  end)

  it("finds the place of errors that do not name it", function()
    local _, lines = run { ["init.lua"] = "\n\nerror('plain', 0)" }
    assert.equal("init.lua:3: plain", lines[1])
    _, lines = run { ["init.lua"] = "\nerror(require('neap.websocket').Error('Timeout', 'late'))" }
    assert.equal("init.lua:2: Timeout: late", lines[1])
    _, lines = run { ["init.lua"] = "\nerror()" }
    assert.equal("init.lua:2: nil", lines[1])
  end)

  it("warns, which is no problem", function()
    local status, lines = run {
      ["init.lua"] = [[
require("neap.websocket").service("Chat", {
  onSubscribe = function() end,
})
]],
    }
    assert.equal(0, status)
    assert.same({
      'init.lua:2: warning: websocket.service "Chat": onSubscribe is never called: no route has a dispatcherKey',
      "0 problems, 1 warning",
    }, lines)
  end)

  it("does not warn of callbacks of dispatch when a route, also a later one, has a dispatcherKey", function()
    local status, lines = run {
      ["init.lua"] = [[
local websocket = require "neap.websocket"
local Chat = websocket.service("Chat", { onSubscribe = function() end })
websocket.listener(9090):attach("/chat", { dispatcherKey = "event" }, Chat)
]],
    }
    assert.equal(0, status)
    assert.same({ ": no problems" }, lines)
    assert.equal(0, (run { ["init.lua"] = "require('neap.websocket').service('A', { onGo = print })" }))
  end)

  it("tells the mistakes of binding and dispatch, all at once", function()
    local status, lines = run {
      ["init.lua"] = [[
local websocket = require "neap.websocket"
local Chat = websocket.service("Chat", {
  onOpen = websocket.bind("json", function() end),
  onMessage = websocket.bind("jsn", function() end),
  onBinaryMessage = function() end,
  onPingError = function() end,
  onGo = websocket.bind("json", function() end),
  onGone = websocket.dispatch("go", function() end),
  onLeaveError = function() end,
  onPost = function() end,
  onEnter = websocket.bind("json", websocket.dispatch("x", function() end)),
  onNumber = websocket.dispatch(5, function() end),
})
websocket.listener(9090):attach("/chat", { dispatcherStreamId = "id" }, Chat)
]],
    }
    assert.equal(1, status)
    local text = table.concat(lines, "\n")
    for _, part in ipairs {
      'init.lua:3: websocket.service "Chat": onOpen gets no message that could be bound; write onOpen = function',
      'init.lua:4: websocket.bind(type, fn): no such type "jsn"; did you mean "json"?',
      'init.lua:5: websocket.service "Chat": onMessage takes every message: write either',
      'init.lua:6: websocket.service "Chat": onPingError is never called: onPing is not bound',
      'init.lua:8: websocket.service "Chat": onGo and onGone are both for the value "go"',
      'init.lua:9: websocket.service "Chat": onLeaveError: there is no onLeave',
      'init.lua:10: websocket.service "Chat": onPost: no such callback; did you mean onPong?',
      "init.lua:11: websocket.bind(type, fn): bind first and dispatch then",
      "init.lua:12: websocket.dispatch(value, fn): value must be a string",
      'init.lua:14: listener:attach("/chat"): dispatcherStreamId is for messages that are dispatched: set',
      "10 problems",
    } do
      assert.is_truthy(text:find(part, 1, true), part .. "\nis not in\n" .. text)
    end
  end)

  it("tells the same only once", function()
    local _, lines = run {
      ["init.lua"] = [[
local websocket = require "neap.websocket"
for _ = 1, 3 do websocket.service("Chat", { onMesage = print }) end
]],
    }
    assert.equal(2, #lines)
    assert.equal("1 problem", lines[2])
  end)

  it("says when there is no app", function()
    local said = {}
    local stderr = io.stderr
    io.stderr = { write = function(_, ...) said[#said + 1] = table.concat { ... } end } -- luacheck: ignore 122
    local status = check.run "/no/such/app"
    io.stderr = stderr -- luacheck: ignore 122
    assert.equal(2, status)
    assert.equal("neap: /no/such/app: no such file or folder\n", table.concat(said))
  end)
end)
