-- SPDX-License-Identifier: MIT
-- Dispatch by dispatcherKey: which callback a message goes to, what can never be reached, mistakes; and requests side
-- by side (dispatcherStreamId).

package.path = "tests/spec/support/?.lua;" .. package.path
local fake = require "fakecore"
local fakeconn = require "fakeconn"
local config = require "neap.config.settings"
local constraint = require "neap.constraint"
local dispatch = require "neap.websocket.dispatch"
local errors = require "neap.message.error"
local json = require "neap.json"
local multiplex = require "neap.websocket.multiplex"
local service = require "neap.websocket.service"
local websocket = require "neap.websocket"

before_each(fake.reset)

local function noop() end

local function connect(callbacks, route)
  local settings = service.settingsOf(config.check("route", "attach", route or { dispatcherKey = "event" }))
  return fakeconn.open((service.resolve(callbacks, "the table", settings)))
end

-- A callback that answers with its name and what it got.
local function named(name)
  return function(_, _, value, ...)
    return name, value, ...
  end
end

local function message(fn, ...)
  local ok, err = pcall(fn, ...)
  assert.is_false(ok)
  return (tostring(err):gsub("^tests/spec/dispatch_spec.lua:%d+: ", ""))
end

local function collected(fn)
  local got = {}
  errors.collect(function(_, _, text, level, unless)
    got[#got + 1] = (level and level .. ": " or "") .. text .. (unless and " (unless " .. unless .. ")" or "")
  end)
  local ok, err = pcall(fn)
  errors.collect(nil)
  assert.is_true(ok, err)
  return got
end

local function event(value)
  return json.encode { event = value }
end

describe("a dispatched message", function()
  it("is called by its callback's name in the log, bound or not", function()
    local conn = connect { onGo = named "go", onRun = websocket.bind("json", named "run"), onMessage = named "all" }
    conn:text(event "go")
    assert.equal("onGo", fake.handler)
    conn:text(event "run")
    assert.equal("onRun", fake.handler)
  end)

  it("goes to the callback that its value names", function()
    local conn = connect { onUnSubscribe = named "un", onSubscribe = named "sub", ["on2fa"] = named "2fa" }
    for _, value in ipairs { "un subscribe", "un_subscribe", "un-subscribe", "unSubscribe", "UnSubscribe",
      "Un Subscribe", "un  subscribe", "_un__subscribe-", "un- _subscribe", " un subscribe " } do
      assert.equal("un", (conn:text(event(value))), value)
    end
    for _, value in ipairs { "unsubscribe", "UNSUBSCRIBE", "un.subscribe", "un\tsubscribe", "onUnSubscribe", "un" } do
      assert.is_nil((conn:text(event(value))), value)
    end
    assert.equal("sub", (conn:text(event "subscribe")))
    assert.equal("2fa", (conn:text(event "2fa")))
    local name, value, nothing = conn:text '{"x":[1],"event":"subscribe"}'
    assert.equal("sub", name)
    assert.same({ x = { 1 }, event = "subscribe" }, value)
    assert.is_nil(nothing)
  end)

  it("has a name for every value", function()
    for value, name in pairs { subscribe = "onSubscribe", ["a b_c-d"] = "onABCD", [""] = "on", [" "] = "on",
      ["é e"] = "onéE", ["a.b"] = "onA.b", ["__index"] = "onIndex", [("a"):rep(200)] = "onA" .. ("a"):rep(199) } do
      assert.equal(name, dispatch.nameOf(value))
    end
  end)

  it("goes to the callback that has its value", function()
    local conn = connect {
      onAny = websocket.dispatch("sub.scribe", named "explicit"),
      onClosed = websocket.dispatch("close", named "closed"),
      onEmpty = websocket.dispatch("", named "empty"),
      onLong = websocket.dispatch(("x"):rep(1000), named "long"),
      onSpelt = websocket.dispatch("sub scribe", named "spelt"),
    }
    assert.equal("explicit", (conn:text(event "sub.scribe")))
    assert.equal("closed", (conn:text(event "close")))
    assert.equal("empty", (conn:text(event "")))
    assert.equal("long", (conn:text(event(("x"):rep(1000)))))
    assert.equal("spelt", (conn:text(event "sub scribe")))
    for _, value in ipairs { "any", "closed", "sub_scribe", "subScribe", "Close" } do
      assert.is_nil((conn:text(event(value))), value)
    end
  end)

  it("is bound after it was dispatched", function()
    local Command = constraint.record { event = constraint.string(), room = constraint.string { maxLength = 3 } }
    local got
    local conn = connect {
      onJoin = websocket.bind(Command, named "join"),
      onJoinError = function(_, _, err) got = err return "sorry" end,
      onLeave = websocket.dispatch("go away", websocket.bind(Command, named "leave")),
      onString = websocket.bind("string", named "string"),
      onBytes = websocket.bind("bytes", named "bytes"),
      onTable = websocket.bind("json", named "table"),
    }
    assert.same({ "join", { event = "join", room = "abc" } }, { conn:text '{"event":"join","room":"abc"}' })
    assert.equal("sorry", (conn:text '{"event":"join","room":"abcd"}'))
    assert.equal("PayloadValidationError", got.kind)
    assert.is_nil(conn.failed)
    assert.equal('{ "event":"string"}', (select(2, conn:text '{ "event":"string"}')))
    assert.equal('{ "event":"bytes"}', (select(2, conn:text '{ "event":"bytes"}')))
    assert.same({ event = "table" }, (select(2, conn:text '{ "event":"table"}')))
    conn:text '{"event":"go away"}'
    assert.equal(1003, conn.failed.status)
    assert.equal("PayloadBindingError", conn.failed.err.kind)
  end)
end)

describe("a message without a callback of its own", function()
  local others = { "", "[", "[1]", '["event"]', "5", "null", '"event"', "{}", '{"event":null}', '{"event":5}',
    '{"event":true}', '{"event":["go"]}', '{"event":{}}', '{"event":"unknown"}', '{"Event":"go"}', "x" }

  it("goes to onMessage or onTextMessage as it came", function()
    for _, name in ipairs { "onMessage", "onTextMessage" } do
      local conn = connect { onGo = named "go", [name] = named "other" }
      for _, text in ipairs(others) do
        assert.same({ "other", text }, { conn:text(text), (select(2, conn:text(text))) })
      end
      assert.equal("go", (conn:text(event "go")))
    end
  end)

  it("is ignored when there is neither", function()
    local conn = connect { onGo = named "go", onBinaryMessage = named "binary" }
    for _, text in ipairs(others) do
      assert.equal(0, select("#", conn:text(text)))
    end
    assert.is_nil(conn.failed)
    assert.equal(#others, #fake.log)
    assert.equal("debug", fake.log[1].level)
  end)

  it("is decoded once for a bound onMessage", function()
    local decodes, decode = 0, fake.core.jsonDecode
    fake.core.jsonDecode = function(...)
      decodes = decodes + 1
      return decode(...)
    end
    local conn = connect { onGo = websocket.bind("json", named "go"), onMessage = websocket.bind("json", named "other"),
      onMessageError = function(_, _, err) return err.message end }
    fake.core.jsonDecode = decode
    assert.same({ "other", { event = "x" } }, { conn:text(event "x") })
    assert.same({ "other", { 1 } }, { conn:text "[1]" })
    assert.same({ "other", json.null }, { conn:text "null" })
    assert.same({ "go", { event = "go" } }, { conn:text(event "go") })
    assert.equal("the message is not JSON: line 1, column 2: unexpected end of the text", (conn:text "["))
    assert.equal(5, decodes)
  end)

  it("fails when onMessage is bound and it does not fit", function()
    local conn = connect { onMessage = websocket.bind(constraint.record { x = constraint.int() }, noop) }
    conn:text(event "x")
    assert.equal(1003, conn.failed.status)
    conn = connect { onTextMessage = websocket.bind("json", noop) }
    conn:text "]"
    assert.equal(1003, conn.failed.status)
    conn = connect { onTextMessage = websocket.bind("string", named "text") }
    assert.same({ "text", "]" }, { conn:text "]" })
  end)

  it("is a binary one, whatever it holds", function()
    local conn = connect { onGo = named "go", onMessage = named "other" }
    assert.same({ "other", event "go", true }, { conn:binary(event "go") })
    conn = connect { onGo = named "go", onBinaryMessage = websocket.bind("json", named "binary") }
    assert.same({ "binary", { event = "go" }, true }, { conn:binary(event "go") })
    conn = connect { onGo = named "go", onTextMessage = named "text" }
    assert.is_nil((conn:binary(event "go")))
  end)

  it("is every message of a route without a dispatcherKey", function()
    local conn = connect({ onGo = named "go", onMessage = named "other" }, {})
    assert.equal("other", (conn:text(event "go")))
  end)
end)

describe("dispatch never reaches", function()
  it("the callbacks of the connection", function()
    local callbacks = { onGo = named "go", onReload = named "reached" }
    for _, name in ipairs { "onOpen", "onPing", "onPong", "onIdleTimeout", "onClose", "onError", "onBinaryMessage",
      "onTextMessage" } do
      callbacks[name] = named "reached"
    end
    callbacks.onTextMessage = named "text"
    local conn = connect(callbacks)
    for _, value in ipairs { "open", "message", "text message", "textMessage", "binary message", "ping", "pong",
      "idle timeout", "idleTimeout", "close", "error", "reload", "Open", "_open", "message error", "" } do
      assert.equal("text", (conn:text(event(value))), value)
    end
  end)

  it("error callbacks", function()
    local conn = connect {
      onStatus = websocket.bind("json", named "status"),
      onStatusError = named "reached",
      onMessage = websocket.bind("string", named "other"),
      onMessageError = named "reached",
    }
    for _, value in ipairs { "status error", "statusError", "StatusError", "status_error", "message error" } do
      assert.equal("other", (conn:text(event(value))), value)
    end
  end)

  it("what is no callback", function()
    local conn = connect { onGo = noop, helper = named "reached", on = named "reached", only = named "reached",
      on_hook = named "reached", __index = named "reached", onMessage = named "other" }
    for _, value in ipairs { "helper", "on", "", "ly", "hook", "_hook", "__index", "index", "__newindex", "__gc",
      "constructor", "self", "1", ("x"):rep(10000), ("_"):rep(10000) } do
      assert.equal("other", (conn:text(event(value))))
    end
  end)

  it("long values that only look like a name", function()
    local conn = connect { onGo = named "go", onMessage = named "other" }
    assert.equal("go", (conn:text(event(("_"):rep(126) .. "go"))))
    assert.equal("other", (conn:text(event(("_"):rep(127) .. "go"))))
  end)

  it("lifecycle callbacks even so, but another callback may take their values", function()
    local conn = connect { onOpen = noop, onOpenEvent = websocket.dispatch("open", named "event") }
    assert.equal("event", (conn:text(event "open")))
  end)
end)

describe("mistakes of dispatch", function()
  local function define(callbacks)
    return message(websocket.service, "Chat", callbacks)
  end

  it("are values that are no strings", function()
    assert.matches('value must be a string such as "subscribe", it is 5', message(websocket.dispatch, 5, noop))
    assert.matches("it is a function", message(websocket.dispatch, noop))
    assert.matches('websocket.dispatch%("x", fn%): fn must be a function, or websocket.bind%(type, fn%); it is nil',
      message(websocket.dispatch, "x"))
    assert.matches("has a value already", message(websocket.dispatch, "x", websocket.dispatch("y", noop)))
  end)

  it("are two callbacks for one value", function()
    assert.equal('websocket.service "Chat": onA and onB are both for the value "x"; leave one out, or give '
      .. "websocket.dispatch another value",
      define { onA = websocket.dispatch("x", noop), onB = websocket.dispatch("x", noop) })
    assert.matches('onSubscribe and onElse are both for the value "subscribe"',
      define { onSubscribe = noop, onElse = websocket.dispatch("subscribe", noop) })
    assert.matches('onUnSubscribe and onElse are both for the value "un_subscribe"',
      define { onUnSubscribe = noop, onElse = websocket.dispatch("un_subscribe", noop) })
    assert.has_no.errors(function()
      websocket.service("Chat", { onSubscribe = websocket.dispatch("subscribe", noop), onX = noop })
    end)
  end)

  it("are callbacks that the server itself calls", function()
    assert.matches('onClose is called by the server itself, not by dispatch; give the callback for "close" another',
      define { onClose = websocket.dispatch("close", noop) })
  end)

  it("are names within two letters of a callback's", function()
    assert.equal('websocket.service "Chat": onPost: no such callback; did you mean onPong? (for messages of dispatch: '
      .. 'onPost = websocket.dispatch("post", ...))', define { onPost = noop })
    assert.has_no.errors(function()
      websocket.service("Chat", { onPost = websocket.dispatch("post", noop) })
    end)
  end)

  it("are error callbacks of nothing", function()
    assert.equal('websocket.service "Chat": onServerError: there is no onServer whose errors it could be told; for '
      .. 'messages of dispatch write onServerError = websocket.dispatch("serverError", ...)',
      define { onServerError = noop })
    assert.has_no.errors(function()
      websocket.service("Chat", { onServerError = websocket.dispatch("server error", noop) })
    end)
    assert.matches("onGoError is given an error, not a message",
      define { onGo = websocket.bind("json", noop), onGoError = websocket.bind("json", noop) })
    assert.has_no.errors(function()
      websocket.service("Chat", { onGo = websocket.bind("json", noop), onGoError = noop })
    end)
  end)

  it("are names that no value has", function()
    assert.matches("no message leads to onUn_Subscribe: blanks, _ and %- are left out of names; write onUnSubscribe, "
      .. 'or onUn_Subscribe = websocket.dispatch%("unSubscribe", ...%)', define { onUn_Subscribe = noop })
    assert.matches("subscribe is no callback, so nothing would call it; callbacks of dispatch are named on..., such as "
      .. "onSubscribe", define { subscribe = websocket.dispatch("subscribe", noop) })
    assert.matches("onSubscribe must be a function, it is 5", define { onSubscribe = 5 })
  end)

  it("are types that JSON has not", function()
    assert.matches('onGo is bound to "xml", but dispatched messages are JSON',
      define { onGo = websocket.bind("xml", noop) })
  end)

  it("are callbacks that come late", function()
    local Chat = websocket.service("Chat", {})
    for _, name in ipairs { "onMessage", "onSubscribe", "onMessageError" } do
      assert.matches(name .. ": put it into the table", message(function()
        Chat[name] = noop
      end))
    end
  end)

  it("are warned of where nothing would call a callback", function()
    assert.same({
      'warning: websocket.service "Chat": OnGo is never called: callbacks begin with a small "on"',
      'warning: websocket.service "Chat": onGoError is never called: onGo is not bound; write onGo = '
        .. "websocket.bind(type, ...)",
      'warning: websocket.service "Chat": onGo is never called: no route has a dispatcherKey (unless dispatcherKey)',
    }, collected(function()
      websocket.service("Chat", { onGo = noop, onGoError = noop, OnGo = noop })
    end))
  end)

  it("are settings that do not go together", function()
    local function route(settings)
      return message(config.check, "route", "attach", settings)
    end
    assert.equal("attach: dispatcherStreamId is for messages that are dispatched: set dispatcherKey as well",
      route { dispatcherStreamId = "id" })
    assert.equal("attach: dispatcherStreamId must be another field than dispatcherKey",
      route { dispatcherKey = "id", dispatcherStreamId = "id" })
    assert.matches('dispatcherKey must be the name of a field of the messages, such as "event"; it is 5',
      route { dispatcherKey = 5 })
    assert.matches("dispatcherKey must be", route { dispatcherKey = "" })
    assert.matches("validation must be true or false", route { validation = "no" })
    assert.matches("did you mean dispatcherKey", route { dispatchKey = "event" })
  end)
end)

describe("requests side by side", function()
  local route = { dispatcherKey = "event", dispatcherStreamId = "id" }

  local function ask(conn, id, more)
    local request = more or {}
    request.event, request.id = request.event or "go", id
    return conn:text(json.encode(request))
  end

  -- A connection whose onGo answers with `answer(message)`, and the ids in the order in which they began.
  local function serve(answer, more)
    local began = {}
    local callbacks = more or {}
    callbacks.onGo = callbacks.onGo or function(_, _, request)
      began[#began + 1] = request.n or request.id
      return answer(request)
    end
    return connect(callbacks, route), began
  end

  it("are started as handlers of their own", function()
    local conn, began = serve(function(request)
      return { got = request.id }
    end)
    assert.equal(0, select("#", ask(conn, 1)))
    ask(conn, "1")
    assert.same({ 1, "1" }, began)
    assert.same({ { "onGo", { got = 1, id = 1 } }, { "onGo", { got = "1", id = "1" } } }, conn:run())
  end)

  it("get their id in tables that lack it, in a copy", function()
    local own = { a = 1 }
    local marked = setmetatable({}, { __index = { b = 2 } })
    local answers = { own, { id = "mine" }, { id = json.null }, { id = false }, {}, { 1, 2 }, json.array {}, marked,
      "text", 5, true, json.null, websocket.bytes "x", websocket.NORMAL_CLOSURE }
    local conn = serve(function(request)
      return answers[request.n]
    end)
    local function answer(n)
      ask(conn, 7, { n = n })
      return conn:run()[1][2]
    end
    assert.same({ a = 1, id = 7 }, answer(1))
    assert.same({ a = 1 }, own)
    assert.equal(answers[2], answer(2))
    assert.equal(answers[3], answer(3))
    assert.equal(answers[4], answer(4))
    assert.same({ id = 7 }, answer(5))
    assert.same({ 1, 2 }, answer(6))
    assert.equal(answers[7], answer(7))
    assert.equal(7, rawget(answer(8), "id"))
    assert.equal(getmetatable(marked), getmetatable(answer(8)))
    assert.equal("text", answer(9))
    assert.equal(5, answer(10))
    assert.equal(true, answer(11))
    assert.equal(json.null, answer(12))
    assert.equal("x", tostring(answer(13)))
    assert.is_true(answer(14) == websocket.NORMAL_CLOSURE)
  end)

  it("keep what follows the first result", function()
    local conn = serve(noop, { onGo = function() return nil, "no luck" end })
    ask(conn, 1)
    assert.same({ "onGo", nil, "no luck" }, conn:run()[1])
  end)

  it("of one id are handled in order", function()
    local conn, began = serve(function(request)
      coroutine.yield()
      return { n = request.n }
    end)
    for n = 1, 3 do
      ask(conn, "a", { n = n })
    end
    ask(conn, "b", { n = 4 })
    assert.same({ 1, 4 }, began)
    assert.same({ { "onGo", { n = 1, id = "a" } }, { "onGo", { n = 4, id = "b" } } }, conn:run())
    assert.same({ 1, 4 }, began)
    assert.same({}, conn:run())
    assert.same({ 1, 4, 2 }, began)
    assert.same({ { "onGo", { n = 2, id = "a" } } }, conn:run())
    conn:run()
    assert.same({ 1, 4, 2, 3 }, began)
    assert.same({ { "onGo", { n = 3, id = "a" } } }, conn:run())
  end)

  it("are handled as others without an id that is a string or a number", function()
    local conn = serve(function()
      return { done = true }
    end)
    assert.same({ done = true }, (ask(conn, nil)))
    for _, id in ipairs { json.null, true, { 1 }, json.array {}, {} } do
      assert.same({ done = true }, (ask(conn, id)))
    end
    assert.same({}, conn:run())
  end)

  it("are dispatched messages only", function()
    local conn = serve(noop, { onMessage = named "other" })
    assert.equal("other", (conn:text '{"event":"unknown","id":1}'))
    assert.same({}, conn:run())
  end)

  it("are told of binding failures like others, with their id", function()
    local conn = serve(noop, {
      onGo = websocket.bind(constraint.record { x = constraint.int() }, noop),
      onGoError = function(_, _, err) return { error = err.kind } end,
    })
    ask(conn, 3)
    assert.same({ { "onGo", { error = "PayloadBindingError", id = 3 } } }, conn:run())
  end)

  it("are at most 64; then the connection waits", function()
    local conn, began = serve(function()
      coroutine.yield()
    end)
    for n = 1, 64 do
      ask(conn, n % 40)
    end
    assert.is_falsy(conn.held)
    ask(conn, "last")
    assert.is_true(conn.held)
    assert.equal(39 + 1, #conn.handlers)
    conn:run() -- the first one ends, and the message that waited begins
    assert.is_false(conn.held)
    local runs = 0
    while #conn.handlers > 0 do
      conn:run()
      runs = runs + 1
    end
    assert.equal(65, #began)
    table.sort(began, function(a, b) return tostring(a) < tostring(b) end)
    assert.equal("last", began[65])
    assert.is_true(runs < 10)
  end)

  it("are given up when the connection ends", function()
    local conn, began = serve(function(request)
      coroutine.yield()
      if request.n == 1 then
        error "no luck"
      end
    end)
    for n = 1, 64 do
      ask(conn, "a", { n = n })
    end
    ask(conn, "b", { n = 65 })
    assert.is_true(conn.held)
    conn:run()
    assert.equal(1011, conn.failed.status)
    assert.is_false(conn.held)
    conn:run()
    conn:close()
    assert.same({ 1 }, began)
  end)

  it("are fewer when they are large, so that no client fills the memory with them", function()
    local conn, began = serve(function()
      coroutine.yield()
    end)
    local function askLarge(n, kilobytes)
      assert.is_falsy(conn.held)
      ask(conn, n, { n = n, padding = ("x"):rep(kilobytes * 1024) })
    end
    askLarge(1, 300) -- a large one by itself
    askLarge(2, 1)
    assert.is_true(conn.held)
    assert.same({ 1 }, began)
    while #conn.handlers > 0 do
      conn:run()
    end
    assert.same({ 1, 2 }, began)
    for n = 3, 6 do
      askLarge(n, 70)
    end
    assert.is_true(conn.held)
    assert.same({ 1, 2, 3, 4, 5 }, began)
    while #conn.handlers > 0 do
      conn:run()
    end
    assert.is_false(conn.held)
    assert.same({ 1, 2, 3, 4, 5, 6 }, began)
    assert.is_nil(next(multiplex._test.busy))
  end)

  it("leave nothing behind", function()
    local closed = 0
    local callbacks = {
      onGo = function(self, caller, request)
        self.caller, self.request = caller, request
        coroutine.yield()
        if request.fail then
          error "no luck"
        end
      end,
      onClose = function()
        closed = closed + 1
      end,
    }
    for i = 1, 10 do
      local conn = connect(callbacks, route)
      ask(conn, 1, { fail = i > 5 })
      ask(conn, 1)
      assert.is_truthy(multiplex._test.busy[conn.caller])
      for _ = 1, 3 do
        conn:run()
      end
      assert.equal(i > 5, multiplex._test.busy[conn.caller] ~= nil)
      conn:close()
    end
    assert.equal(10, closed)
    assert.is_nil(next(multiplex._test.busy))
  end)

  it("have an onClose also when the service has none", function()
    local conn = serve(noop)
    ask(conn, 1)
    assert.equal(0, select("#", conn:close()))
  end)
end)
