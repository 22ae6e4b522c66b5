-- SPDX-License-Identifier: MIT
-- websocket.bind: values instead of messages, what happens with those that do not fit, and mistakes.

package.path = "tests/spec/support/?.lua;" .. package.path
local fake = require "fakecore"
local fakeconn = require "fakeconn"
local constraint = require "neap.constraint"
local errors = require "neap.message.error"
local json = require "neap.json"
local service = require "neap.websocket.service"
local websocket = require "neap.websocket"

before_each(fake.reset)

local function noop() end

-- A callback that notes what it got.
local function recorder()
  local seen = {}
  return function(...)
    seen[#seen + 1] = { n = select("#", ...) - 2, select(3, ...) }
    return "answer", "more"
  end, seen
end

local function settings(route)
  route.validation = route.validation ~= false
  return service.settingsOf(route)
end

local function connect(callbacks, route)
  return fakeconn.open((service.resolve(callbacks, "the table", settings(route or {}))))
end

local function message(fn, ...)
  local ok, err = pcall(fn, ...)
  assert.is_false(ok)
  return (tostring(err):gsub("^tests/spec/bind_spec.lua:%d+: ", ""))
end

local Point = constraint.record { x = constraint.int {}, y = constraint.int { minValue = 5 } }

describe("a bound callback", function()
  it("of json gets the decoded value", function()
    local fn, seen = recorder()
    local conn = connect { onMessage = websocket.bind("json", fn) }
    assert.same({ "answer", "more" }, { conn:text '{"a":[1,true,null]}' })
    assert.same({ a = { 1, true, json.null } }, seen[1][1])
    assert.equal(false, seen[1][2])
    for text, value in pairs { ["false"] = false, ["0"] = 0, ['""'] = "", ["null"] = json.null } do
      conn:text(text)
      assert.equal(value, seen[#seen][1])
    end
    conn:binary "[1]"
    assert.same({ { 1 }, true, n = 2 }, seen[#seen])
    assert.is_nil(conn.failed)
  end)

  it("of string gets text, and binary messages that are UTF-8", function()
    local fn, seen = recorder()
    local conn = connect { onMessage = websocket.bind("string", fn) }
    conn:text "é"
    conn:binary "é"
    assert.same({ { "é", false, n = 2 }, { "é", true, n = 2 } }, seen)
    conn:binary "\255"
    assert.equal(2, #seen)
    assert.equal("PayloadBindingError: the message is not valid UTF-8", tostring(conn.failed.err))
  end)

  it("of bytes gets whatever came", function()
    local fn, seen = recorder()
    local conn = connect { onBinaryMessage = websocket.bind("bytes", fn), onTextMessage = websocket.bind("bytes", fn) }
    conn:binary "\255\0"
    conn:text "é"
    assert.equal("\255\0", seen[1][1])
    assert.equal("é", seen[2][1])
  end)

  it("of xml gets a table", function()
    local fn, seen = recorder()
    local conn = connect { onTextMessage = websocket.bind("xml", fn) }
    conn:text '<a b="c">d</a>'
    assert.equal("a", seen[1][1].tag)
    assert.equal("d", seen[1][1][1])
    conn:text "<a>"
    assert.equal(1003, conn.failed.status)
    assert.matches("^PayloadBindingError: the message is not XML: ", tostring(conn.failed.err))
  end)

  it("of a constraint gets the value that it made", function()
    local fn, seen = recorder()
    local conn = connect { onMessage = websocket.bind(Point, fn) }
    conn:text '{"x":1,"y":7}'
    assert.same({ x = 1, y = 7 }, seen[1][1])
  end)

  it("of a string constraint gets the text as it came", function()
    local fn, seen = recorder()
    local conn = connect { onMessage = websocket.bind(constraint.string { maxLength = 6 }, fn) }
    conn:text '"text"'
    assert.equal('"text"', seen[1][1])
    conn:binary "\255"
    assert.equal("PayloadBindingError", conn.failed.err.kind)
  end)

  it("gets no more than the callback's arguments", function()
    local fn, seen = recorder()
    connect { onTextMessage = websocket.bind("json", fn) }:text "1"
    connect { onTextMessage = fn }:text "1"
    assert.equal(1, seen[1][1])
    assert.is_nil(seen[1][2])
    assert.equal("1", seen[2][1])
  end)

  it("can be called as the function that it is", function()
    assert.equal(7, websocket.bind("json", function(_, _, value) return value end)({}, nil, 7))
  end)

  it("may be inherited", function()
    local fn, seen = recorder()
    connect(setmetatable({ onOpen = noop }, { __index = { onMessage = websocket.bind("json", fn) } })):text "5"
    assert.equal(5, seen[1][1])
  end)
end)

describe("a message that does not fit", function()
  local function failure(kind, text, route)
    local conn = connect({ onMessage = websocket.bind(kind, noop) }, route)
    assert.equal(0, select("#", conn:text(text)))
    return conn.failed
  end

  it("ends the connection with 1003", function()
    local failed = failure("json", "{")
    assert.equal(1003, failed.status)
    assert.equal("the message is not JSON: line 1, column 2: unexpected end of the text", failed.reason)
    assert.equal("PayloadBindingError", failed.err.kind)
    failed = failure(Point, '{"x":1,"y":"2"}')
    assert.equal(1003, failed.status)
    assert.equal("PayloadBindingError", failed.err.kind)
    assert.matches("$.y", failed.reason, 1, true)
    failed = failure(Point, '{"x":1,"y":2}')
    assert.equal("PayloadValidationError", failed.err.kind)
    assert.is_true(errors.isError(failed.err, "PayloadBindingError"))
    assert.equal("$.y: must be at least 5, is 2", failed.reason)
  end)

  it("has a reason that fits a close frame", function()
    local long = ("é"):rep(200)
    local failed = failure(constraint.record { [long] = constraint.int {} }, '{}')
    assert.is_true(#failed.reason <= 123 and #failed.reason > 0)
    assert.is_true(fake.core.isUtf8(failed.reason))
  end)

  it("passes when validation is off and only a limit is broken", function()
    assert.is_nil(failure(Point, '{"x":1,"y":2}', { validation = false }))
    assert.equal("PayloadBindingError", failure(Point, '{"x":1}', { validation = false }).err.kind)
  end)

  it("goes to the callback's error function, whose results are sent", function()
    for _, name in ipairs { "onMessage", "onTextMessage" } do
      local got
      local conn = connect {
        [name] = websocket.bind(Point, noop),
        [name .. "Error"] = function(self, caller, err)
          got = { self, caller, err }
          return "what?", nil
        end,
      }
      assert.same({ "what?" }, { conn:text "[" })
      assert.equal(conn.instance, got[1])
      assert.equal(conn.caller, got[2])
      assert.equal("PayloadBindingError", got[3].kind)
      assert.is_nil(conn.failed)
    end
    local conn = connect {
      onBinaryMessage = websocket.bind("json", noop),
      onBinaryMessageError = function() return "what?" end,
    }
    assert.equal("what?", conn:binary "\0")
  end)
end)

describe("mistakes of binding", function()
  local function define(callbacks)
    return message(websocket.service, "Chat", callbacks)
  end

  it("are types that there are not", function()
    assert.equal('websocket.bind(type, fn): no such type "jsn"; did you mean "json"? the types are "string", "bytes", '
      .. '"json", "xml", and constraints', message(websocket.bind, "jsn", noop))
    assert.matches('no such type "protobuf"; the types are', message(websocket.bind, "protobuf", noop))
    assert.matches('the type comes first: websocket.bind%("json", function ...%); it is a function',
      message(websocket.bind, noop))
    assert.matches("it is nil", message(websocket.bind, nil, noop))
    assert.matches("a plain table is no type; write constraint.record", message(websocket.bind, { x = 1 }, noop))
    assert.matches("^websocket.bind%(type, fn%): the type cannot be optional: only a field of a record",
      message(websocket.bind, constraint.optional(constraint.int()), noop))
  end)

  it("are functions that are none", function()
    assert.matches("fn must be a function, it is nil", message(websocket.bind, "json"))
    assert.matches("fn must be a function, it is a table", message(websocket.bind, "json", {}))
    assert.matches("is bound already", message(websocket.bind, "json", websocket.bind("string", noop)))
    assert.matches('bind first and dispatch then: websocket.dispatch%("x", websocket.bind%(type, fn%)%)',
      message(websocket.bind, "json", websocket.dispatch("x", noop)))
  end)

  it("are callbacks that get no message", function()
    for _, name in ipairs { "onOpen", "onPing", "onPong", "onIdleTimeout", "onClose", "onError", "onMessageError" } do
      assert.matches(name .. " gets no message that could be bound; write " .. name .. " = function",
        define { onMessage = websocket.bind("json", noop), [name] = websocket.bind("json", noop) })
    end
    assert.matches("helper is no callback, so nothing would call it", define { helper = websocket.bind("json", noop) })
  end)

  it("are error callbacks of nothing", function()
    assert.equal('websocket.service "Chat": onMessageError: there is no onMessage whose errors it could be told; write '
      .. "onMessage = websocket.bind(type, ...)", define { onMessageError = noop })
    assert.matches("onTextMessageError: there is no onTextMessage", define { onTextMessageError = noop,
      onBinaryMessage = noop })
    assert.matches("onPingError is never called: onPing is not bound", define { onPing = noop, onPingError = noop })
    assert.matches("onMessageError must be a function, it is 5", define { onMessage = noop, onMessageError = 5 })
    assert.matches("onMesageError: no such callback; did you mean onMessageError", define { onMesageError = noop })
  end)

  it("are warned of where an error callback's own is not bound", function()
    local got = {}
    errors.collect(function(_, _, text, level)
      got[#got + 1] = (level and level .. ": " or "") .. text
    end)
    websocket.service("Chat", { onMessage = noop, onMessageError = noop })
    errors.collect(nil)
    assert.same({ 'warning: websocket.service "Chat": onMessageError is never called: onMessage is not bound; write '
      .. "onMessage = websocket.bind(type, ...)" }, got)
  end)

  it("exclude each other as plain callbacks do", function()
    assert.matches("onMessage takes every message", define { onMessage = websocket.bind("json", noop),
      onTextMessage = websocket.bind("json", noop) })
  end)

  it("are told by the line of the function", function()
    local at = debug.getinfo(1, "l").currentline + 2
    local ok, err = pcall(websocket.service, "Chat", {
      onOpen = websocket.bind("json", function() end),
    })
    assert.is_false(ok)
    assert.matches("^tests/spec/bind_spec.lua:" .. at .. ": ", err)
  end)

  it("let neap check go on", function()
    local got = {}
    errors.collect(function(_, _, text)
      got[#got + 1] = text
    end)
    local Chat = websocket.service("Chat", {
      onMessage = websocket.bind({}, websocket.bind("jsn", 5)),
      onOpen = websocket.bind("json", noop),
      onPing = websocket.dispatch(5, websocket.dispatch("a", {})),
    })
    service.resolve(Chat, "", settings { dispatcherKey = "event" })
    errors.collect(nil)
    assert.equal(9, #got, table.concat(got, "\n"))
  end)
end)
