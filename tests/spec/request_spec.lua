-- SPDX-License-Identifier: MIT
-- neap.http.request: fields and methods of upgrade requests.

package.path = "tests/spec/support/?.lua;" .. package.path
local fake = require "fakecore"
local index = require("neap.http.request").index

fake.requestMeta.__index = index

local function request(target, headers, more)
  local fields = more or {}
  fields.target, fields.headers = target, headers
  return fake.request(fields)
end

describe("fields", function()
  it("are those of the request", function()
    local r = request("/chat/blue?x=1", {}, { params = { room = "blue" }, secure = true })
    assert.equal("GET", r.method)
    assert.equal("/chat/blue", r.path)
    assert.equal("blue", r.params.room)
    assert.equal("192.0.2.1", r.remoteAddress)
    assert.equal(50000, r.remotePort)
    assert.is_true(r.isSecure)
    assert.is_nil(r.clientCertificate)
    assert.is_nil(r.nothing)
    assert.is_nil(r[1])
  end)

  it("are computed once", function()
    local r = request("/?a=1", { { "Host", "x" } })
    assert.equal(r.query, r.query)
    assert.equal(r.headers, r.headers)
    assert.equal(r.params, r.params)
  end)
end)

describe("the query", function()
  it("has the first value of each name, decoded", function()
    local r = request "/?a=1&b=x+y%21&a=2&flag&empty=&%41=z&=none"
    assert.same({ a = "1", b = "x y!", flag = "", empty = "", A = "z", [""] = "none" }, r.query)
    assert.same({ "1", "2" }, r:queryValues "a")
    assert.same({}, r:queryValues "missing")
  end)

  it("keeps what it cannot decode as it came", function()
    assert.same({ a = "%zz", ["%"] = "1" }, request("/?a=%zz&%=1").query)
  end)

  it("may be missing or hollow", function()
    assert.same({}, request("/").query)
    assert.same({}, request("/?").query)
    assert.same({}, request("/?&&").query)
    assert.same({ a = "b=c" }, request("/?a=b=c").query)
  end)

  it("gives a copy of the values", function()
    local r = request "/?a=1"
    r:queryValues("a")[1] = "changed"
    assert.same({ "1" }, r:queryValues "a")
  end)
end)

describe("headers", function()
  local r
  before_each(function()
    r = request("/", {
      { "Host", "example.com" },
      { "X-Thing", "one" },
      { "x-thing", "two" },
      { "Cookie", "a=1" },
      { "Cookie", "b=2" },
    })
  end)

  it("are found in any case, lines joined", function()
    assert.equal("example.com", r:header "HOST")
    assert.equal("one, two", r:header "X-Thing")
    assert.equal("a=1; b=2", r:header "cookie")
    assert.is_nil(r:header "Origin")
    assert.same({ "one", "two" }, r:headerValues "x-THING")
    assert.same({}, r:headerValues "Origin")
  end)

  it("are mapped by lower-case names", function()
    assert.same({ host = "example.com", ["x-thing"] = "one, two", cookie = "a=1; b=2" }, r.headers)
  end)

  it("are asked for by strings", function()
    local ok, err = pcall(function()
      r:header(5)
    end)
    assert.is_false(ok)
    assert.matches("request_spec.lua:%d+: request:header%(name%): name must be a string, it is 5$", err)
  end)
end)

describe("cookies", function()
  local function cookie(name, ...)
    local headers = {}
    for _, value in ipairs { ... } do
      headers[#headers + 1] = { "Cookie", value }
    end
    return request("/", headers):cookie(name)
  end

  it("are found by name, the first counts", function()
    assert.equal("1", cookie("a", "a=1; b=2; a=3"))
    assert.equal("2", cookie("b", "a=1;b=2"))
    assert.equal("x=y", cookie("b", "a=1; b=x=y"))
    assert.equal("2", cookie("b", "a=1", "b=2"))
    assert.equal("", cookie("b", "b="))
    assert.equal("%20", cookie("b", "b=%20"))
  end)

  it("lose blanks and quotes around them", function()
    assert.equal("1", cookie("a", '  a = "1"  ;b=2'))
    assert.equal('"', cookie("a", 'a="'))
  end)

  it("are nil when absent or malformed", function()
    assert.is_nil(cookie("a"))
    assert.is_nil(cookie("a", "A=1"))
    assert.is_nil(cookie("a", "a"))
    assert.is_nil(cookie("a", ";;;"))
    assert.is_nil(cookie("a", "ba=1"))
  end)
end)

describe("offered sub-protocols", function()
  it("are listed in the client's order", function()
    local r = request("/", { { "Sec-WebSocket-Protocol", "json, xml" }, { "sec-websocket-protocol", " ,v2\t" } })
    assert.same({ "json", "xml", "v2" }, r.subProtocols)
    assert.same({}, request("/", {}).subProtocols)
  end)
end)

describe("what hostile clients send", function()
  -- Quadratic matching takes half a second for each of these, linear matching a millisecond.
  local function quick(fn)
    local began = os.clock()
    fn()
    assert.is_true(os.clock() - began < 0.1)
  end

  it("is read in linear time", function()
    local n = 8000
    for _, value in ipairs { "a" .. (" "):rep(n), "a=" .. (" "):rep(n) .. "x", ("a;"):rep(n / 2), ("="):rep(n),
      'b="' .. ('"'):rep(n) .. "x", (" "):rep(n) .. "x" .. (" "):rep(n) .. "y", (", "):rep(n / 2) } do
      local r = request("/?" .. value:sub(1, 4000), { { "Cookie", value }, { "Sec-WebSocket-Protocol", value } })
      quick(function()
        assert.is_nil(r:cookie "zz")
        assert.is_table(r.subProtocols)
        assert.is_table(r.query)
        assert.is_table(r.headers)
      end)
    end
    for _, value in ipairs { "http://" .. ("1"):rep(n) .. "]", "http://" .. ("a."):rep(n), ("+"):rep(n) } do
      local r = request("/", { { "Origin", value }, { "Host", value:sub(8) } })
      quick(function()
        assert.is_false(r:isSameOrigin())
        assert.is_false(r:originAllowed { "https://*.example.com" })
      end)
    end
  end)
end)

describe("response headers", function()
  it("are handed over", function()
    local r = request("/", {})
    assert.equal(r, r:setResponseHeader("X-A", "1"))
    r:setResponseHeader("Set-Cookie", "a=b; Path=/"):setResponseHeader("X-N", 5)
    assert.same({ { "X-A", "1" }, { "Set-Cookie", "a=b; Path=/" }, { "X-N", "5" } }, fake.data(r).response)
  end)

  it("cannot smuggle", function()
    local r = request("/", {})
    for _, bad in ipairs { "x\r\nSet-Cookie: a=1", "x\ny", "x\ry", "x\0y" } do
      assert.error_matches(function()
        r:setResponseHeader("X-A", bad)
      end, "without control characters")
    end
    for _, bad in ipairs { "", "X A", "X:", "X\r\nY", "\0" } do
      assert.error_matches(function()
        r:setResponseHeader(bad, "x")
      end, "is not a header name")
    end
    assert.error_matches(function()
      r:setResponseHeader("X-A", nil)
    end, "it is nil")
    assert.same({}, fake.data(r).response)
  end)

  it("have values of the grammar of RFC 9110 §5.5", function()
    for byte = 0, 255 do
      local r, value = request("/", {}), "a" .. string.char(byte) .. "b"
      local ok = pcall(r.setResponseHeader, r, "X-A", value)
      assert.equal(byte == 9 or (byte >= 32 and byte ~= 127), ok, "byte " .. byte)
    end
  end)

  it("leave the handshake alone", function()
    local r = request("/", {})
    for _, name in ipairs { "Connection", "UPGRADE", "Content-Length", "Transfer-Encoding", "Sec-WebSocket-Accept",
      "Sec-WebSocket-Protocol", "sec-websocket-extensions" } do
      assert.error_matches(function()
        r:setResponseHeader(name, "x")
      end, "the server sets " .. name:gsub("%W", "%%%0") .. " itself")
    end
  end)

  it("come too late after the answer", function()
    local r = request("/", {}, {})
    fake.data(r).answered = true
    local ok, err = r:setResponseHeader("X-A", "1")
    assert.is_nil(ok)
    assert.equal("Error: the answer has been sent", tostring(err))
  end)
end)
