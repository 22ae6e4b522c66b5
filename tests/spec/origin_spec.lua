-- SPDX-License-Identifier: MIT
-- neap.http.origin: which pages may connect.

package.path = "tests/spec/support/?.lua;" .. package.path
local fake = require "fakecore"
local origin = require "neap.http.origin"

local parse, inList, isSame = origin._test.parse, origin._test.inList, origin._test.isSame

local function request(value, host, secure)
  local headers = {}
  if value then
    headers[#headers + 1] = { "Origin", value }
  end
  headers[#headers + 1] = { "Host", host or "example.com" }
  return fake.request { headers = headers, secure = secure, target = "/chat?secret=1" }
end

before_each(fake.reset)

describe("origins", function()
  it("are taken apart", function()
    assert.same({ "https", "example.com", 443 }, { parse "https://Example.COM" })
    assert.same({ "http", "a.b", 8080 }, { parse "HTTP://a.b:8080" })
    assert.same({ "http", "[::1]", 80 }, { parse "http://[::1]" })
    assert.same({ "http", "[::1]", 9 }, { parse "http://[::1]:9" })
    assert.same({ "app", "x" }, { parse "app://x" })
  end)

  it("are nothing else", function()
    for _, bad in ipairs { "", "null", "example.com", "https://", "https://a/", "https://a/b", "https://u@a",
      "https://a:", "https://a:123456", "https://a b", "https://a:x", "://a", "https://[::1", "https://a?b",
      "https://a#b", "https://a\n", "1http://a", "https://a\\b" } do
      assert.is_nil((parse(bad)), bad)
    end
  end)
end)

describe("a list of origins", function()
  it("matches exactly, default ports filled in", function()
    local list = { "https://example.com", "http://localhost:3000" }
    assert.is_true(inList("https://example.com", list))
    assert.is_true(inList("https://EXAMPLE.com:443", list))
    assert.is_true(inList("http://localhost:3000", list))
    assert.is_false(inList("http://example.com", list))
    assert.is_false(inList("https://example.com:8443", list))
    assert.is_false(inList("https://example.com.evil.test", list))
    assert.is_false(inList("https://evil-example.com", list))
    assert.is_false(inList("http://localhost", list))
    assert.is_false(inList("null", list))
  end)

  it("matches subdomains with a star, but not the domain itself", function()
    local list = { "https://*.example.com" }
    assert.is_true(inList("https://a.example.com", list))
    assert.is_true(inList("https://a.b.example.com", list))
    assert.is_false(inList("https://example.com", list))
    assert.is_false(inList("https://.example.com", list))
    assert.is_false(inList("https://evilexample.com", list))
    assert.is_false(inList("http://a.example.com", list))
    assert.is_false(inList("https://a.example.com:444", list))
  end)

  it("matches everything with a star alone, but never null", function()
    assert.is_true(inList("https://anything.test:1", { "*" }))
    assert.is_false(inList("null", { "*" }))
  end)

  it("has well-formed entries", function()
    for _, good in ipairs { "*", "https://a", "https://*.a.b", "http://[::1]:80" } do
      assert.equal(good, origin.pattern(good))
    end
    for _, bad in ipairs { "null", "a.b", "https://a/", "https://*", "https://a.*", "https://a*.b", "https://*.*.b",
      "", 5 } do
      assert.is_nil((origin.pattern(bad)), tostring(bad))
    end
  end)
end)

describe("the same origin", function()
  it("has the host and port of the Host header", function()
    assert.is_true(isSame("http://example.com", "example.com", false))
    assert.is_true(isSame("http://example.com", "EXAMPLE.com:80", false))
    assert.is_true(isSame("http://example.com:9090", "example.com:9090", false))
    assert.is_true(isSame("https://example.com", "example.com", true))
    assert.is_true(isSame("http://[::1]:9090", "[::1]:9090", false))
    assert.is_false(isSame("http://example.com", "example.com:9090", false))
    assert.is_false(isSame("http://example.com:9090", "example.com", false))
    assert.is_false(isSame("http://evil.test", "example.com", false))
    assert.is_false(isSame("http://example.com.evil.test", "example.com", false))
    assert.is_false(isSame("null", "example.com", false))
    assert.is_false(isSame("http://example.com", "", false))
    assert.is_false(isSame("app://x", "x", false))
  end)

  it("may come through something that took the TLS off", function()
    assert.is_true(isSame("https://example.com", "example.com", false))
  end)

  it("is not that of an unencrypted page when the connection is encrypted", function()
    assert.is_false(isSame("http://example.com", "example.com", true))
  end)

  it("passes without an Origin", function()
    assert.is_true(origin.isSameOrigin(request(nil)))
    assert.is_true(origin.isSameOrigin(request("http://example.com")))
    assert.is_false(origin.isSameOrigin(request("http://evil.test")))
  end)
end)

describe("request:originAllowed", function()
  it("passes listed origins and none at all", function()
    assert.is_true(origin.originAllowed(request("https://a.test"), { "https://a.test" }))
    assert.is_true(origin.originAllowed(request(nil), { "https://a.test" }))
    assert.same({}, fake.log)
  end)

  it("logs a refusal with what came, what is allowed and what to add", function()
    assert.is_false(origin.originAllowed(request("https://Evil.test:443"), { "https://a.test", "https://b.test" }))
    assert.equal(1, #fake.log)
    local line = fake.log[1]
    assert.equal("info", line.level)
    assert.equal("https://Evil.test:443", line.origin)
    assert.equal("https://a.test, https://b.test", line.allowed)
    assert.equal("request:originAllowed { 'https://a.test', 'https://b.test', 'https://evil.test' }", line.add)
    assert.equal("/chat", line.path)
  end)

  it("offers nothing to add for what cannot be allowed, and cuts what is long", function()
    assert.is_false(origin.originAllowed(request("null"), {}))
    assert.matches("cannot be allowed", fake.log[1].add)
    assert.is_false(origin.originAllowed(request("x" .. ("y"):rep(5000)), {}))
    assert.is_true(#fake.log[2].origin <= 200)
  end)

  it("raises for what is no list of origins", function()
    local ok, err = pcall(function()
      origin.originAllowed(request(nil), "https://a.test")
    end)
    assert.is_false(ok)
    assert.matches("origin_spec.lua:%d+: request:originAllowed: the origins must be a list", err)
    assert.error_matches(function()
      origin.originAllowed(request(nil), { "a.test" })
    end, '"a.test" is no origin')
  end)
end)

describe("the rule of a route", function()
  it("is its list", function()
    local route = { allowedOrigins = { "https://a.test" }, sameOrigin = true }
    assert.is_true(origin.passes(route, request("https://a.test")))
    assert.is_true(origin.passes(route, request(nil)))
    assert.is_false(origin.passes(route, request("http://example.com")))
    assert.equal("allowedOrigins = { 'https://a.test', 'http://example.com' }", fake.log[1].add)
  end)

  it("is the same origin for services without a list", function()
    assert.is_true(origin.passes({ sameOrigin = true }, request("http://example.com")))
    assert.is_false(origin.passes({ sameOrigin = true }, request("http://evil.test")))
    assert.equal("allowedOrigins = { 'http://evil.test' }", fake.log[1].add)
    assert.equal("the same origin, host example.com", fake.log[1].allowed)
  end)

  it("is none for functions without a list", function()
    assert.is_true(origin.passes({}, request("http://evil.test")))
  end)
end)
