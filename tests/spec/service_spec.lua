-- SPDX-License-Identifier: MIT
-- neap.websocket: service classes and plain tables, close frames, conversion of values, listeners.

package.path = "tests/spec/support/?.lua;" .. package.path
local fake = require "fakecore"
local closeframe = require "neap.websocket.closeframe"
local convert = require("neap.websocket.convert").convert
local errors = require "neap.message.error"
local listeners = require "neap.websocket.listener"
local service = require "neap.websocket.service"
local websocket = require "neap.websocket"

before_each(fake.reset)

local function noop() end

local settings = service.settingsOf { validation = true }

local function resolve(v, what)
  return service.resolve(v, what or "x", settings)
end

local function message(fn, ...)
  local ok, err = pcall(fn, ...)
  assert.is_false(ok)
  return (tostring(err):gsub("^tests/spec/service_spec.lua:%d+: ", ""))
end

-- What neap check would tell.
local function collected(fn)
  local got = {}
  errors.collect(function(_, _, text, level)
    got[#got + 1] = (level and level .. ": " or "") .. text
  end)
  local ok, result = pcall(fn)
  errors.collect(nil)
  assert.is_true(ok, result)
  return got, result
end

describe("a service class", function()
  it("makes instances of the given table", function()
    local Chat = websocket.service("Chat", {
      onMessage = function(self)
        return self:helper()
      end,
      helper = function(self)
        return "hello " .. self.room
      end,
      limit = 10,
    })
    local fields = { room = "blue" }
    local instance = Chat(fields)
    assert.equal(fields, instance)
    assert.equal("hello blue", instance:onMessage())
    assert.equal(10, instance.limit)
    assert.is_nil(rawget(instance, "helper"))
    assert.is_true(service.isInstance(instance))
    assert.is_false(service.isClass(instance))
    assert.is_true(service.isClass(Chat))
    assert.is_table(Chat())
    assert.equal("websocket.Service: Chat", tostring(Chat))
  end)

  it("hands its callbacks to the core once", function()
    local callbacks = { onOpen = noop, onTextMessage = noop, onBinaryMessage = noop, onClose = noop, other = noop }
    local Chat = websocket.service("Chat", callbacks)
    local handle = resolve(Chat {})
    assert.equal("Chat", handle.name)
    assert.same({ onOpen = noop, onTextMessage = noop, onBinaryMessage = noop, onClose = noop }, handle.callbacks)
    assert.equal(handle, (resolve(Chat {})))
    local same, fresh = resolve(Chat)
    assert.equal(handle, same)
    assert.is_true(service.isInstance(fresh))
    assert.are_not.equal(fresh, select(2, resolve(Chat)))
  end)

  it("takes helper functions later, callbacks not", function()
    local Chat = websocket.service("Chat", { onOpen = noop })
    function Chat:later()
      return self.room
    end
    assert.equal("blue", Chat({ room = "blue" }):later())
    assert.matches("onMessage: put it into the table", message(function()
      Chat.onMessage = noop
    end))
  end)

  it("inherits", function()
    local base = { onOpen = noop, hello = function() return "base" end }
    local Chat = websocket.service("Chat", setmetatable({ onClose = noop }, { __index = base }))
    assert.same({ onOpen = noop, onClose = noop }, resolve(Chat).callbacks)
    assert.equal("base", Chat({}).hello())
  end)

  it("inherits by a function", function()
    local Chat = websocket.service("Chat", setmetatable({}, { __index = function(_, key)
      return key == "onOpen" and noop or nil
    end }))
    assert.same({ onOpen = noop }, resolve(Chat).callbacks)
    assert.is_true(service.hasCallbacks(setmetatable({}, { __index = { onOpen = noop } })))
    assert.is_false(service.hasCallbacks { online = true })
  end)

  it("does not take over a table that has a metatable, nor what is no table", function()
    local Chat = websocket.service("Chat", {})
    assert.equal("Chat { ... }: the table has a metatable already; give a table of its own",
      message(Chat, setmetatable({}, {})))
    assert.matches("an instance is made of a table, not of \"blue\"", message(Chat, "blue"))
    assert.matches("metatable already", message(Chat, Chat {}))
  end)
end)

describe("callback names", function()
  local function define(callbacks)
    return message(websocket.service, "Chat", callbacks)
  end

  it("within two letters of one are misspelt", function()
    assert.equal('websocket.service "Chat": onMesage: no such callback; did you mean onMessage?',
      define { onMesage = noop })
    assert.matches("onmessage: no such callback; did you mean onMessage", define { onmessage = noop })
    assert.matches("OnOpen: no such callback; did you mean onOpen", define { OnOpen = noop })
    assert.matches("onClosed: no such callback; did you mean onClose", define { onClosed = noop })
    assert.matches("onTextMesages: no such callback; did you mean onTextMessage", define { onTextMesages = noop })
  end)

  it("further away are the app's own, with a warning in neap check", function()
    assert.has_no.errors(function()
      websocket.service("Chat", { onSubscribe = noop, online = true, only = noop })
    end)
    assert.same({ 'warning: websocket.service "Chat": onSubscribe is never called: no route has a dispatcherKey' },
      collected(function()
        websocket.service("Chat", { onSubscribe = noop, online = true })
      end))
  end)

  it("have functions as values", function()
    assert.matches("onMessage must be a function, it is \"x\"", define { onMessage = "x" })
    assert.matches("onMessage must be a function, it is a table", define { onMessage = {} })
    assert.matches("onSubscribe must be a function, it is 5", define { onSubscribe = 5 })
  end)

  it("exclude each other", function()
    assert.matches("onMessage takes every message", define { onMessage = noop, onTextMessage = noop })
    assert.matches("onMessage takes every message", define { onMessage = noop, onBinaryMessage = noop })
  end)

  it("are names", function()
    assert.matches("the callbacks need names", define { noop })
    assert.matches("the callbacks must be a table", message(websocket.service, "Chat", noop))
    assert.matches("name must be a short text", message(websocket.service, { onOpen = noop }))
    assert.matches("name must be a short text", message(websocket.service, "", {}))
    assert.matches("name must be a short text", message(websocket.service, "a\nb", {}))
    assert.matches("messages: no such key", message(websocket.service, "Chat", {}, { messages = "view" }))
  end)

  it("are told by the line of the function", function()
    local at = debug.getinfo(1, "l").currentline + 3
    local ok, err = pcall(websocket.service, "Chat", {
      onOpen = noop,
      onMesage = function() end,
    })
    assert.is_false(ok)
    assert.matches("^tests/spec/service_spec.lua:" .. at .. ": ", err)
  end)

  it("are all collected by neap check, which gets a class to go on with", function()
    local got, Chat = collected(function()
      return websocket.service(nil, { onMesage = noop, onPing = 1, onOpen = noop }, { x = 1 })
    end)
    assert.equal(4, #got)
    assert.is_true(service.isInstance(Chat {}))
  end)
end)

describe("a plain table", function()
  it("is compiled once while it is used, and is self", function()
    local plain = { onMessage = noop, count = 0 }
    local handle, self = resolve(plain)
    assert.equal(plain, self)
    assert.same({ onMessage = noop }, handle.callbacks)
    assert.is_nil(handle.name)
    assert.equal(handle, (resolve(plain)))
  end)

  it("is not kept alive by its own callbacks", function()
    local seen = setmetatable({}, { __mode = "k" })
    for _ = 1, 10 do
      local plain = {}
      function plain.onMessage()
        return plain
      end
      resolve(plain)
      seen[plain] = true
    end
    collectgarbage()
    collectgarbage()
    assert.is_nil(next(seen))
  end)

  it("is checked as a class is", function()
    assert.equal("x: onMesage: no such callback; did you mean onMessage?",
      message(resolve, { onMesage = noop }, "x"))
  end)
end)

describe("close frames", function()
  it("are predefined", function()
    local codes = {}
    for name, frame in pairs(closeframe.predefined) do
      assert.equal(frame, websocket[name])
      codes[#codes + 1] = frame.status
      assert.equal(frame.status > 1001, #frame.reason > 0)
    end
    table.sort(codes)
    assert.same({ 1000, 1001, 1002, 1003, 1007, 1008, 1009, 1011 }, codes)
  end)

  it("take another reason", function()
    local frame = websocket.NORMAL_CLOSURE { reason = "bye" }
    assert.equal(1000, frame.status)
    assert.equal("bye", frame.reason)
    assert.equal('CloseFrame 1000 "bye"', tostring(frame))
    assert.equal("", websocket.NORMAL_CLOSURE.reason)
    assert.equal("", websocket.GOING_AWAY.reason)
    assert.is_true(frame == websocket.CloseFrame { status = 1000, reason = "bye" })
  end)

  it("have codes that may be sent", function()
    for _, good in ipairs { 1000, 1003, 1007, 1011, 3000, 3999, 4000, 4999 } do
      assert.equal(good, websocket.CloseFrame({ status = good }).status)
    end
    for _, bad in ipairs { 0, 999, 1004, 1005, 1006, 1012, 1015, 2999, 5000, 65536, -1, 1000.5, 0 / 0, "1000" } do
      assert.matches("cannot be sent; use 1000 to 1003", message(websocket.CloseFrame, { status = bad }))
    end
    assert.matches("status nil cannot be sent", message(websocket.CloseFrame, {}))
  end)

  it("have reasons that fit", function()
    local long = ("x"):rep(123)
    assert.equal(long, websocket.CloseFrame({ status = 4000, reason = long }).reason)
    assert.matches("at most 123 bytes, it has 124",
      message(websocket.CloseFrame, { status = 4000, reason = long .. "x" }))
    assert.matches("CR, LF or NUL", message(websocket.GOING_AWAY, { reason = "a\r\nb" }))
    assert.matches("CR, LF or NUL", message(websocket.GOING_AWAY, { reason = "a\0b" }))
    assert.matches("valid UTF%-8", message(websocket.GOING_AWAY, { reason = "\255" }))
    assert.matches("must be a string, it is 5", message(websocket.GOING_AWAY, { reason = 5 }))
    assert.matches("text: no such key; the keys are reason", message(websocket.GOING_AWAY, { text = "x" }))
    assert.matches("the keys are status, reason", message(websocket.CloseFrame, { status = 4000, code = 1 }))
    assert.matches("the argument must be a table", message(websocket.CloseFrame, 4000))
  end)
end)

describe("conversion", function()
  it("of strings keeps the kind of what they answer", function()
    assert.same({ "x", "text" }, { convert("x", false) })
    assert.same({ "x", "binary" }, { convert("x", true) })
    assert.same({ "", "text" }, { convert("", false) })
  end)

  it("of bytes is binary", function()
    assert.same({ "\0x", "binary" }, { convert(websocket.bytes "\0x", false) })
    assert.equal("abc", tostring(websocket.bytes "abc"))
    assert.matches("websocket.bytes%(s%): s must be a string, it is 5", message(websocket.bytes, 5))
  end)

  it("of numbers, booleans, tables and null is JSON text", function()
    assert.same({ "5", "text" }, { convert(5, true) })
    assert.same({ "false", "text" }, { convert(false, false) })
    assert.same({ '{"a":1}', "text" }, { convert({ a = 1 }, false) })
    assert.same({ "null", "text" }, { convert(fake.core.jsonNull, false) })
  end)

  it("of close frames is a close", function()
    assert.same({ "bye", "close", 4000 }, { convert(websocket.CloseFrame { status = 4000, reason = "bye" }, false) })
  end)

  it("of a Caller is nothing", function()
    assert.same({ n = 2 }, { n = select("#", convert(fake.caller(), false)), convert(fake.caller(), false) })
  end)

  it("of XML is text, or why it cannot be written", function()
    local document = { tag = "a", attr = {}, "x < y" }
    assert.same({ "<a>x &lt; y</a>", "text" }, { convert(websocket.xml(document), true) })
    local bytes, err = convert(websocket.xml { tag = "a b", attr = {} }, false)
    assert.is_nil(bytes)
    assert.is_true(errors.isError(err))
    assert.matches("websocket.xml%(document%): document must be a table { tag = \"...\", ... }, it is \"<a/>\"",
      message(websocket.xml, "<a/>"))
  end)

  it("of functions, coroutines and streams is a stream", function()
    for _, source in ipairs { noop, coroutine.create(noop), websocket.stream {} } do
      assert.same({ source, "stream" }, { convert(source, false) })
    end
  end)

  it("of anything else is an error", function()
    local function why(value)
      local bytes, err = convert(value, false)
      assert.is_nil(bytes)
      assert.is_true(errors.isError(err))
      return err.message
    end
    local Chat = websocket.service("Chat", {})
    assert.equal("a service cannot be sent", why(Chat))
    assert.equal("a service cannot be sent", why(Chat {}))
    assert.equal("a userdata cannot be sent", why(newproxy()))
    assert.equal("nil cannot be sent", why(nil))
    assert.matches("has no JSON form", why { a = noop })
    assert.equal("broken", why(websocket.Error("Error", "broken")))
  end)
end)

describe("addresses", function()
  local read = listeners._test.readAddress

  it("are ports, pairs and paths", function()
    assert.equal("0.0.0.0:9090", read(9090, "0.0.0.0"))
    assert.equal("127.0.0.1:0", read(0, "127.0.0.1"))
    assert.equal("[::1]:9090", read(9090, "::1"))
    assert.equal("[::1]:9090", read(9090, "[::1]"))
    assert.equal("0.0.0.0:9090", read("9090", "0.0.0.0"))
    assert.equal("127.0.0.1:9090", read("127.0.0.1:9090", "0.0.0.0"))
    assert.equal("localhost:1", read("localhost:1", "0.0.0.0"))
    assert.equal("[::1]:9090", read("[::1]:9090", "0.0.0.0"))
    assert.equal("[fe80::1%eth0]:1", read("[fe80::1%eth0]:1", "0.0.0.0"))
    assert.equal("unix:/run/app.sock", read("unix:/run/app.sock", "0.0.0.0"))
  end)

  it("are nothing else", function()
    for _, bad in ipairs { -1, 65536, 1.5, 0 / 0, "", "x", ":9090", "a:", "a:b", "a:65536", "65536", "::1:9090",
      "[::1]", "[x]:1", "a b:1", "a/b:1", "unix:", "unix:" .. ("x"):rep(108), "unix:a\0b", {}, noop, true, "\n:1" } do
      assert.is_nil((read(bad, "0.0.0.0")), tostring(bad))
    end
    assert.is_nil((read(1, "a b")))
    assert.is_nil((read(1, "unix:/x")))
  end)

  it("raise what was expected", function()
    local expected = 'expected a port (0 to 65535), "host:port", "[v6 address]:port" or "unix:/path"'
    assert.equal('websocket.listener: no address: "nonsense"; ' .. expected, message(websocket.listener, "nonsense"))
    assert.equal('websocket.listener: an IPv6 address stands in brackets: "[fe80::1:2]:9090"; ' .. expected,
      message(websocket.listener, "fe80::1:2"))
    assert.matches('in brackets: "%[::1%]:9090";', message(websocket.listener, "::1:9090"))
    for _, host in ipairs { "a b", "unix:/x", "1:2:x", "1.2.3.4:", ":5", "[::1" } do
      assert.equal(('websocket.listener: host "%s" is no address and no host name; write host = "127.0.0.1", "::1" or '
        .. '"localhost"'):format(host), message(websocket.listener, 1, { host = host }))
    end
    for _, host in ipairs { "1.2.3.4", "localhost" } do
      assert.equal(('websocket.listener: host "%s:5" has a port in it; write websocket.listener("%s:5") without host, '
        .. 'or host = "%s"'):format(host, host, host), message(websocket.listener, 1, { host = host .. ":5" }))
    end
    assert.matches("no address: nil", message(websocket.listener))
  end)
end)

describe("a listener", function()
  local listener, handle
  before_each(function()
    listener = websocket.listener(9090, { host = "127.0.0.1", timeout = 5 })
    handle = fake.listeners[1]
  end)

  it("is bound at once, with complete settings", function()
    assert.equal(9090, listener.port)
    assert.equal("127.0.0.1:9090", listener.address)
    assert.equal("websocket.Listener: 127.0.0.1:9090", tostring(listener))
    assert.equal(5, handle.config.timeout)
    assert.equal(8192, handle.config.requestLimits.maxHeaderSize)
    assert.is_true(handle.config.webSocketCompressionEnabled)
  end)

  it("raises when it cannot be bound", function()
    fake.listenError = "cannot listen on 0.0.0.0:80: address already in use"
    assert.equal("websocket.listener: cannot listen on 0.0.0.0:80: address already in use",
      message(websocket.listener, 80))
  end)

  it("attaches functions with and without settings", function()
    assert.equal(listener, listener:attach("/a", noop):attach("/b", { idleTimeout = 5 }, noop))
    assert.equal(noop, handle.routes["/a"].upgrade)
    assert.equal(60, handle.routes["/a"].connectionClosureTimeout)
    assert.equal(5, handle.routes["/b"].idleTimeout)
    assert.is_nil(handle.routes["/a"].sameOrigin)
  end)

  it("attaches classes and plain tables, for pages of the same origin", function()
    listener:attach("/class", websocket.service("Chat", {}))
    listener:attach("/plain", { onMessage = noop })
    assert.is_true(handle.routes["/class"].sameOrigin)
    assert.is_true(handle.routes["/plain"].sameOrigin)
  end)

  it("raises when a path is attached twice or is not there", function()
    listener:attach("/chat", noop)
    assert.equal('listener:attach("/chat/"): the path is attached already',
      message(listener.attach, listener, "/chat/", noop))
    assert.equal(listener, listener:detach "/chat/")
    assert.equal('listener:detach("/chat"): nothing is attached there', message(listener.detach, listener, "/chat"))
    assert.matches("a path begins with /", message(listener.attach, listener, "chat", noop))
    assert.matches("the path must be a text", message(listener.attach, listener, noop))
    assert.matches("the path must be a text", message(listener.detach, listener, 5))
  end)

  it("raises for what cannot answer an upgrade", function()
    local function attach(...)
      return message(listener.attach, listener, "/x", ...)
    end
    local Chat = websocket.service("Chat", {})
    assert.matches("must be an upgrade function or a service, it is nil", attach(nil))
    assert.matches("must be an upgrade function or a service, it is nil", attach({ idleTimeout = 1 }, nil))
    assert.matches("must be an upgrade function or a service, it is \"x\"", attach("x"))
    assert.matches("after the config is missing", attach { idleTimeout = 1 })
    assert.matches("the table has no callbacks", attach { helper = noop })
    assert.matches("one instance would be shared", attach(Chat {}))
    assert.matches("idleTimout: no such key", attach({ idleTimout = 1 }, noop))
    assert.matches("onMesage: no such callback; did you mean onMessage", attach { onMesage = noop })
    assert.same({}, handle.routes)
  end)

  it("starts and stops", function()
    assert.equal(listener, listener:start())
    assert.is_true(handle.started)
    assert.is_false(listener.stopped)
    assert.equal(listener, listener:gracefulStop())
    assert.equal(10, handle.stopped)
    assert.is_true(listener.stopped)
    listener:gracefulStop(0.5)
    assert.equal(0.5, handle.stopped)
    assert.equal(listener, listener:immediateStop())
    assert.equal("listener:attach: the listener on 127.0.0.1:9090 has been stopped; make another with "
      .. "websocket.listener",
      message(listener.attach, listener, "/x", noop))
    assert.matches("has been stopped", message(listener.detach, listener, "/x"))
    assert.matches("has been stopped", message(listener.start, listener))
    assert.matches("seconds must be a number, 0 or more, it is %-1", message(listener.gracefulStop, listener, -1))
  end)

  it("is called with a colon", function()
    assert.matches("call it with a colon, listener:attach", message(listener.attach, "/x", noop))
    assert.matches("call it with a colon, listener:start", message(listener.start))
  end)

  it("lets neap check go on after every mistake", function()
    fake.listenError = "no such host"
    local got = collected(function()
      local broken = websocket.listener("nonsense", { prot = 1 })
      broken:attach("x", { idleTimout = 1 }, nil)
      broken:attach("/y", { idleTimeout = 1 })
      broken:detach(5)
      broken:start():immediateStop():gracefulStop(1)
    end)
    assert.equal(7, #got)
  end)
end)
