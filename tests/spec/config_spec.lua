-- SPDX-License-Identifier: MIT
-- neap.config.settings: defaults, types and ranges, unknown keys, suggestions. neap.message.text and
-- neap.runtime.number.

package.path = "tests/spec/support/?.lua;" .. package.path
local fake = require "fakecore"
local config = require "neap.config.settings"
local errors = require "neap.message.error"
local numbers = require "neap.runtime.number"
local text = require "neap.message.text"

local function message(kind, given)
  local ok, err = pcall(config.check, kind, "call", given)
  assert.is_false(ok)
  return (err:gsub("^[^:]+:%d+: ", ""))
end

local function value(kind, key, given)
  return config.check(kind, "call", { [key] = given })[key]
end

describe("defaults", function()
  it("of a listener are those of the contract", function()
    assert.same({
      host = "0.0.0.0",
      timeout = 120,
      headerTimeout = 10,
      maxConnections = 0,
      maxConnectionsPerAddress = 0,
      backlog = 4096,
      server = "",
      webSocketCompressionEnabled = true,
      compression = {
        memLevel = 5,
        windowBits = 12,
        serverNoContextTakeover = true,
        clientNoContextTakeover = true,
        threshold = 256,
      },
      requestLimits = { maxUriLength = 4096, maxHeaderSize = 8192 },
    }, config.check("listener", "call", nil))
  end)

  it("of a route are those of the contract", function()
    assert.same({
      subProtocols = {},
      idleTimeout = 0,
      maxFrameSize = 0,
      maxMessageSize = 1048576,
      maxFragments = 1024,
      messageTimeout = 30,
      connectionClosureTimeout = 60,
      pingInterval = 30,
      pongTimeout = 20,
      writeTimeout = 30,
      maxBufferedBytes = 1048576,
      slowConsumer = "close",
      validation = true,
    }, config.check("route", "call", {}))
  end)

  it("stand beside what is given, in a table of its own", function()
    local given = { idleTimeout = 5, requestLimits = nil }
    local complete = config.check("route", "call", given)
    assert.equal(5, complete.idleTimeout)
    assert.equal(30, complete.messageTimeout)
    assert.is_nil(given.messageTimeout)
    assert.equal(100, config.check("listener", "call", { requestLimits = { maxUriLength = 100 } })
      .requestLimits.maxUriLength)
  end)
end)

describe("values", function()
  it("of the right type are taken", function()
    assert.equal(0.5, value("route", "idleTimeout", 0.5))
    assert.equal(0, value("listener", "timeout", 0))
    assert.is_false(value("listener", "webSocketCompressionEnabled", false))
    assert.equal("drop", value("route", "slowConsumer", "drop"))
    assert.same({ "json", "v2.chat" }, value("route", "subProtocols", { "json", "v2.chat" }))
    assert.same({ "https://*.example.com" }, value("route", "allowedOrigins", { "https://*.example.com" }))
  end)

  it("of the wrong type are told", function()
    assert.equal('call: idleTimeout must be a number of seconds, 0 or more; it is "5"',
      message("route", { idleTimeout = "5" }))
    assert.equal("call: webSocketCompressionEnabled must be true or false; it is 1",
      message("listener", { webSocketCompressionEnabled = 1 }))
    assert.equal('call: slowConsumer must be "close" or "drop"; it is "wait"',
      message("route", { slowConsumer = "wait" }))
    assert.equal("call: requestLimits must be a table { key = value }, it is 5",
      message("listener", { requestLimits = 5 }))
    assert.equal("call: the config must be a table { key = value }, it is a function", message("route", print))
    assert.matches("server must be the text", message("listener", { server = "x\r\ny" }))
    assert.matches("server must be the text", message("listener", { server = "x\27[31m" }))
    assert.matches("host must be", message("listener", { host = 1 }))
  end)

  it("out of range are told", function()
    for _, bad in ipairs { -1, 0 / 0, math.huge, -math.huge, 1e10 } do
      assert.matches("idleTimeout must be", message("route", { idleTimeout = bad }))
      assert.matches("maxMessageSize must be", message("route", { maxMessageSize = bad }))
      assert.matches("maxConnections must be", message("listener", { maxConnections = bad }))
    end
    assert.matches("maxFragments must be", message("route", { maxFragments = 1.5 }))
    assert.matches("maxFragments must be", message("route", { maxFragments = 0 }))
    assert.matches("backlog must be a whole number from 1 to 65535", message("listener", { backlog = 0 }))
    assert.matches("requestLimits.maxUriLength must be", message("listener", { requestLimits = { maxUriLength = 0 } }))
  end)

  it("connectionClosureTimeout waits for ever at -1 only", function()
    assert.equal(-1, value("route", "connectionClosureTimeout", -1))
    assert.equal(0, value("route", "connectionClosureTimeout", 0))
    assert.equal("call: connectionClosureTimeout must be a number of seconds, 0 or more, or -1 to wait for ever; "
      .. "it is -2", message("route", { connectionClosureTimeout = -2 }))
    assert.matches("connectionClosureTimeout", message("route", { connectionClosureTimeout = -0.5 }))
  end)

  it("maxFrameSize zero or less is the default", function()
    assert.equal(0, value("route", "maxFrameSize", 0))
    assert.equal(0, value("route", "maxFrameSize", -7))
    assert.equal(10, value("route", "maxFrameSize", 10))
    assert.matches("maxFrameSize must be", message("route", { maxFrameSize = 0.5 }))
    assert.matches("maxFrameSize must be", message("route", { maxFrameSize = 2 ^ 30 + 1 }))
  end)

  it("sizes of messages stay below what a string can have", function()
    for _, key in ipairs { "maxMessageSize", "maxFrameSize", "maxBufferedBytes" } do
      assert.equal(2 ^ 30, value("route", key, 2 ^ 30))
      for _, bad in ipairs { 2 ^ 30 + 1, 2 ^ 31 - 1, 2 ^ 31, 2 ^ 53 } do
        assert.matches(key .. " must be a whole number .* 1073741824", message("route", { [key] = bad }))
      end
    end
    for _, key in ipairs { "maxUriLength", "maxHeaderSize" } do
      assert.matches("from 1 to 1048576", message("listener", { requestLimits = { [key] = 2 ^ 20 + 1 } }))
    end
    assert.matches("1073741824", message("listener", { compression = { threshold = 2 ^ 30 + 1 } }))
  end)

  it("lists have good elements only", function()
    assert.matches('"a b" is no sub%-protocol name', message("route", { subProtocols = { "a b" } }))
    assert.matches('"x\\013\\010y: z" is no sub%-protocol name', message("route", { subProtocols = { "x\r\ny: z" } }))
    assert.matches("subProtocols must be a list", message("route", { subProtocols = "json" }))
    assert.matches("subProtocols must be a list", message("route", { subProtocols = { json = true } }))
    assert.matches('write "https://a.example", not "https://a.example/"',
      message("route", { allowedOrigins = { "https://a.example/" } }))
    assert.matches('"null" cannot be allowed', message("route", { allowedOrigins = { "null" } }))
    assert.matches('"example.com" is no origin', message("route", { allowedOrigins = { "example.com" } }))
  end)
end)

describe("unknown keys", function()
  it("are errors that suggest the nearest", function()
    assert.equal("call: idleTimout: no such key; did you mean idleTimeout?", message("route", { idleTimout = 1 }))
    assert.equal("call: idletimeout: no such key; did you mean idleTimeout?", message("route", { idletimeout = 1 }))
    assert.equal("call: requestLimits.maxUriLenght: no such key; did you mean maxUriLength?",
      message("listener", { requestLimits = { maxUriLenght = 1 } }))
  end)

  it("say where they belong", function()
    assert.equal("call: idleTimeout: no such key; idleTimeout belongs to the config of listener:attach",
      message("listener", { idleTimeout = 1 }))
    assert.equal("call: backlog: no such key; backlog belongs to the config of websocket.listener",
      message("route", { backlog = 1 }))
  end)

  it("list what there is when nothing is near", function()
    assert.matches("^call: zzz: no such key; the keys are allowedOrigins, connectionClosureTimeout, ",
      message("route", { zzz = 1 }))
    assert.equal('call: [1]: no such key; write it as name = value', message("route", { "json" }))
    assert.equal("call: messages: no such key; there are no keys to set", message("service", { messages = "view" }))
  end)

  it("of compression have the ranges of the algorithm", function()
    for key, range in pairs { level = { 1, 9 }, memLevel = { 1, 9 }, windowBits = { 9, 15 } } do
      for _, v in ipairs(range) do
        assert.equal(v, config.check("listener", "call", { compression = { [key] = v } }).compression[key])
      end
      for _, v in ipairs { range[1] - 1, range[2] + 1, range[1] + 0.5 } do
        assert.equal(("call: compression.%s must be a whole number from %d to %d; it is %s"):format(key, range[1],
          range[2], v), message("listener", { compression = { [key] = v } }))
      end
    end
    assert.matches("compression.thresholds: no such key; did you mean threshold",
      message("listener", { compression = { thresholds = 1 } }))
  end)

  it("are errors while their feature does not exist", function()
    for _, key in ipairs { "http1Settings", "trustedProxies" } do
      assert.matches(key .. ": no such key", message("listener", { [key] = {} }))
    end
    for _, key in ipairs { "auth", "maxMessagesPerSecond" } do
      assert.matches(key .. ": no such key", message("route", { [key] = {} }))
    end
  end)

  it("are all collected by neap check, and the rest is filled in", function()
    local got = {}
    errors.collect(function(_, _, problem)
      got[#got + 1] = problem
    end)
    local complete = config.check("route", "call", { a = 1, b = 2, idleTimeout = "x", maxFragments = 7 })
    errors.collect(nil)
    assert.equal(3, #got)
    assert.equal(0, complete.idleTimeout)
    assert.equal(7, complete.maxFragments)
  end)
end)

describe("words", function()
  it("have a distance", function()
    assert.equal(0, text.distance("onMessage", "onMessage"))
    assert.equal(1, text.distance("onMesage", "onMessage"))
    assert.equal(3, text.distance("kitten", "sitting"))
    assert.equal(4, text.distance("", "four"))
    assert.equal(4, text.distance("four", ""))
  end)

  it("have a nearest", function()
    assert.equal("onClose", (text.nearest("onClosed", { "onOpen", "onClose" }, 2)))
    assert.is_nil(text.nearest("onSomething", { "onOpen", "onClose" }, 2))
    assert.is_nil(text.nearest(("x"):rep(100000), { ("x"):rep(100001) }))
  end)

  it("are shown on one line", function()
    assert.equal('"a\\010\\"b\\""', (text.show('a\n"b"'):gsub('\\034', '\\"')))
    assert.equal("a table", text.show {})
    assert.equal("nil", text.show(nil))
    assert.is_true(#text.show(("x"):rep(1000)) < 70)
  end)

  it("lose the blanks around them", function()
    assert.equal("a b", text.trim " \t a b\t ")
    assert.equal("", text.trim " \t")
    assert.equal("", text.trim "")
  end)

  it("are cut between characters", function()
    assert.equal("ab", text.cut("abc", 2))
    assert.equal("abc", text.cut("abc", 3))
    assert.equal("a", text.cut("aéb", 2))
    assert.equal("aé", text.cut("aéb", 3))
    assert.equal("a", text.cut("aÿb", 2))
    assert.equal("", text.cut("\240\159\146\169", 3))
    assert.equal("x", text.cut("x\240\159\146\169", 4))
  end)

  it("are names, tokens, lines, UTF-8 or not", function()
    for _, good in ipairs { "a", "_", "onMessage", "x1" } do
      assert.is_true(text.isName(good))
    end
    for _, bad in ipairs { "", "1x", "a-b", "a b", "é", 1, false } do
      assert.is_false(text.isName(bad))
    end
    assert.is_true(text.isToken "X-Request_Id.1")
    for _, bad in ipairs { "", "a b", "a:b", "a\r", "é", "a,b", "(" } do
      assert.is_false(text.isToken(bad))
    end
    assert.is_true(text.isLine "é fine\t")
    for _, bad in ipairs { "a\rb", "a\nb", "a\0b" } do
      assert.is_false(text.isLine(bad))
    end
    for _, good in ipairs { "", "abc", "é", "€", "💩", "\239\191\191", "\244\143\191\191", "\0" } do
      assert.is_true(fake.core.isUtf8(good))
    end
    for _, bad in ipairs { "\128", "\192\128", "\237\160\128", "\224\159\191", "\240\143\191\191", "\244\144\128\128",
      "\245\128\128\128", "\195", "a\226\130", "\226\40\161", "\255" } do
      assert.is_false(fake.core.isUtf8(bad))
    end
  end)
end)

describe("numbers", function()
  local nan, inf = 0 / 0, math.huge

  it("are finite or not", function()
    for _, good in ipairs { 0, -1.5, 2 ^ 60 } do
      assert.is_true(numbers.isFinite(good))
    end
    for _, bad in ipairs { nan, inf, -inf, "1", false } do
      assert.is_false(numbers.isFinite(bad))
    end
  end)

  it("are whole and within bounds or not", function()
    assert.is_true(numbers.isWhole(1, 1, 3) and numbers.isWhole(3, 1, 3) and numbers.isWhole(-4, -inf, inf))
    for _, bad in ipairs { 0, 4, 1.5, nan, inf, -inf, "2" } do
      assert.is_false(numbers.isWhole(bad, 1, 3))
    end
    assert.is_false(numbers.isWhole(inf, -inf, inf) or numbers.isWhole(nan, -inf, inf))
  end)

  it("are seconds or not", function()
    assert.is_true(numbers.isSeconds(0) and numbers.isSeconds(0.5) and numbers.isSeconds(1e9))
    for _, bad in ipairs { -1, -0.001, 1e9 + 1, nan, inf, "5" } do
      assert.is_false(numbers.isSeconds(bad))
    end
  end)
end)
