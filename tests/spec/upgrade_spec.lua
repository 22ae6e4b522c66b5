-- SPDX-License-Identifier: MIT
-- neap.websocket.upgrade: every outcome of an upgrade request.

package.path = "tests/spec/support/?.lua;" .. package.path
local fake = require "fakecore"
local hook = require("neap.websocket.upgrade").upgrade
local prepare = require("neap.websocket.upgrade").prepare
local websocket = require "neap.websocket"

fake.requestMeta.__index = require("neap.http.request").index
before_each(fake.reset)

local function noop() end

local function message(fn, ...)
  local ok, err = pcall(fn, ...)
  assert.is_false(ok)
  return (tostring(err):gsub("^tests/spec/upgrade_spec.lua:%d+: ", ""))
end

local function request(origin)
  local headers = { { "Host", "example.com" } }
  if origin then
    headers[2] = { "Origin", origin }
  end
  return fake.request { headers = headers, target = "/chat" }
end

-- What the hook returns for an upgrade function or service.
local function outcome(target, origin, config)
  local route = config or {}
  prepare("attach", route, target)
  return hook(route, request(origin))
end

local function answering(...)
  local results = { n = select("#", ...), ... }
  return function()
    return unpack(results, 1, results.n)
  end
end

describe("an upgrade function", function()
  local Chat = websocket.service("Chat", { onMessage = noop })

  it("accepts with an instance", function()
    local instance = Chat { room = "blue" }
    local handle, self = outcome(answering(instance))
    assert.equal("Chat", handle.name)
    assert.equal(instance, self)
  end)

  it("accepts with a class, which makes an instance", function()
    local handle, self = outcome(answering(Chat))
    assert.equal("Chat", handle.name)
    assert.equal(handle.callbacks.onMessage, self.onMessage)
  end)

  it("accepts with a plain table", function()
    local plain = { onOpen = noop }
    local handle, self = outcome(answering(plain))
    assert.same({ onOpen = noop }, handle.callbacks)
    assert.equal(plain, self)
    assert.is_table((outcome(answering({}))))
  end)

  it("is given the request", function()
    local got
    outcome(function(r)
      got = r.path
      return {}
    end)
    assert.equal("/chat", got)
  end)

  it("may yield before it answers", function()
    local handle = fake.run(function()
      return (outcome(function()
        fake.core.sleep(1)
        return Chat {}
      end))
    end)
    assert.equal("Chat", handle.name)
  end)

  it("refuses with an UpgradeError", function()
    local err = websocket.UpgradeError {
      status = 403,
      reason = "not you",
      headers = { ["X-B"] = "2", ["X-A"] = { "1", 5 } },
    }
    local service, status, body, headers = outcome(answering(nil, err))
    assert.is_nil(service)
    assert.equal(403, status)
    assert.equal("not you", body)
    assert.same({ { "X-A", "1" }, { "X-A", "5" }, { "X-B", "2" } }, headers)
  end)

  it("refuses with an UpgradeError that stands first", function()
    assert.equal(401, (select(2, outcome(answering(websocket.UpgradeError { status = 401 })))))
  end)

  it("cannot smuggle by an UpgradeError that was changed afterwards", function()
    local err = websocket.UpgradeError { status = 403, headers = { Location = "/" } }
    err.headers[1][2] = "/\r\nSet-Cookie: a=1"
    assert.error_matches(function()
      outcome(answering(nil, err))
    end, "the value of Location must be a string without control characters")
    err.headers, err.status = nil, 200
    assert.error_matches(function()
      outcome(answering(nil, err))
    end, "status must be a whole number from 300 to 599")
  end)

  it("refuses with a body of its own", function()
    local _, status, body = outcome(answering(nil, websocket.UpgradeError { reason = "x", body = "<p>no</p>" }))
    assert.equal(400, status)
    assert.equal("<p>no</p>", body)
  end)

  it("adds header lines to a refusal too", function()
    local function upgrade(r)
      r:setResponseHeader("Set-Cookie", "a=1"):setResponseHeader("X-A", "0")
      return nil, websocket.UpgradeError { status = 403, headers = { ["X-A"] = "1" } }
    end
    assert.same({ { "Set-Cookie", "a=1" }, { "X-A", "0" }, { "X-A", "1" } }, (select(4, outcome(upgrade))))
    assert.same({ { "X-B", "2" } }, (select(4, outcome(function(r)
      r:setResponseHeader("X-B", 2)
    end))))
  end)

  it("refuses with nil", function()
    assert.same({ nil, 400, "upgrade refused", {} }, { outcome(answering(nil)) })
    assert.same({ nil, 400, "upgrade refused", {} }, { outcome(answering()) })
    assert.same({}, fake.log)
  end)

  it("refuses with other errors, which only the log sees", function()
    assert.same({ nil, 400, "upgrade refused", {} }, { outcome(answering(nil, "db password is x")) })
    assert.same({ nil, 400, "upgrade refused", {} },
      { outcome(answering(nil, websocket.Error("ConnectionError", "10.0.0.7 is down"))) })
    assert.equal("db password is x", fake.log[1].reason)
    assert.equal("ConnectionError: 10.0.0.7 is down", fake.log[2].reason)
  end)

  it("raises when it returns something else, naming where it is defined", function()
    local at = debug.getinfo(1, "l").currentline + 1
    local function wrong()
      return "accepted"
    end
    local ok, err = pcall(outcome, wrong)
    assert.is_false(ok)
    assert.equal(("tests/spec/upgrade_spec.lua:%d: the upgrade function returned \"accepted\"; return a service, or "
      .. "nil and a websocket.UpgradeError"):format(at), err)
    for _, bad in ipairs { true, 5, false, noop, newproxy() } do
      assert.matches("the upgrade function returned", message(outcome, answering(bad)))
    end
    assert.matches("a table without callbacks", message(outcome, answering { status = 403 }))
    assert.matches("a table without callbacks", message(outcome, answering(websocket.NORMAL_CLOSURE)))
    assert.matches("onMesage: no such callback", message(outcome, answering { onMesage = noop }))
  end)

  it("passes on what it raises", function()
    assert.matches("boom", message(outcome, function()
      error "boom"
    end))
  end)

  it("decides about origins itself", function()
    assert.is_table((outcome(answering {}, "http://evil.test")))
  end)

  it("is not called for an origin that its route does not allow", function()
    local called = false
    local function spy()
      called = true
      return {}
    end
    assert.same({ nil, 403, "origin not allowed" },
      { outcome(spy, "http://evil.test", { allowedOrigins = { "http://good.test" } }) })
    assert.is_false(called)
    assert.is_table((outcome(spy, "http://good.test", { allowedOrigins = { "http://good.test" } })))
    assert.is_true(called)
  end)
end)

describe("a service that is attached directly", function()
  it("has an instance for each connection when it is a class", function()
    local Chat = websocket.service("Chat", {})
    local route = {}
    prepare("attach", route, Chat)
    local _, one = hook(route, request())
    local _, two = hook(route, request())
    assert.is_table(one)
    assert.are_not.equal(one, two)
  end)

  it("is self for all connections when it is a plain table", function()
    local plain = { onOpen = noop }
    local route = {}
    prepare("attach", route, plain)
    local handle, one = hook(route, request())
    collectgarbage()
    local again, two = hook(route, request())
    assert.equal(plain, one)
    assert.equal(plain, two)
    assert.equal(handle, again)
  end)

  it("refuses pages of other origins", function()
    local plain = { onOpen = noop }
    assert.is_table((outcome(plain, "http://example.com")))
    assert.same({ nil, 403, "origin not allowed" }, { outcome(plain, "http://evil.test") })
    assert.is_table((outcome(plain, "http://evil.test", { allowedOrigins = { "*" } })))
  end)
end)

describe("UpgradeError", function()
  it("is an error object", function()
    local err = websocket.UpgradeError { status = 503, reason = "full" }
    assert.is_true(websocket.isError(err, "UpgradeError"))
    assert.equal("UpgradeError: full", tostring(err))
    assert.equal(503, err.status)
    assert.equal("UpgradeError: upgrade refused", tostring(websocket.UpgradeError()))
    assert.equal(400, websocket.UpgradeError().status)
  end)

  it("has a status from 300 to 599", function()
    assert.equal(302, websocket.UpgradeError({ status = 302, headers = { Location = "/login" } }).status)
    for _, bad in ipairs { 101, 200, 299, 600, 400.5, "400", 0 / 0 } do
      assert.matches("status must be a whole number from 300 to 599",
        message(websocket.UpgradeError, { status = bad }))
    end
  end)

  it("cannot smuggle", function()
    local function why(fields)
      return message(websocket.UpgradeError, fields)
    end
    assert.matches("reason must be a string without CR, LF and NUL", why { reason = "a\r\nb" })
    assert.matches("the value of X must be a string without control characters", why { headers = { X = "a\r\nY: b" } })
    assert.matches("the value of X must be", why { headers = { X = "a\27[2J" } })
    assert.matches("the value of X must be", why { headers = { X = { "ok", "a\0" } } })
    assert.matches("the value of X must be", why { headers = { X = true } })
    assert.matches("is not a header name", why { headers = { ["X\r\nY"] = "b" } })
    assert.matches("1 is not a header name", why { headers = { "x" } })
    assert.matches("the server sets Content%-Length itself", why { headers = { ["Content-Length"] = "5" } })
    assert.matches("headers must be a table", why { headers = "X: y" })
    assert.matches("body must be a string of at most 1 MiB, it is a table", why { body = {} })
    assert.matches("code: no such key", why { code = 403 })
    assert.matches("the argument must be a table", message(websocket.UpgradeError, "no"))
  end)
end)
