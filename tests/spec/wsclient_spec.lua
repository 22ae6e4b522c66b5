-- SPDX-License-Identifier: MIT
--
-- The client that specs use: its digest, by the examples of FIPS 180 and RFC 6455 §1.3. The rest of it is exercised by
-- every spec of an app.

local mime = require "mime"
local sha1 = require("neap.wsclient")._test.sha1

describe("neap.wsclient", function()
  it("computes SHA-1", function()
    for text, digest in pairs {
      [""] = "da39a3ee5e6b4b0d3255bfef95601890afd80709",
      abc = "a9993e364706816aba3e25717850c26c9cd0d89d",
      abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq = "84983e441c3bd26ebaae4aa1f95129e5e54670f1",
      [("a"):rep(1000)] = "291e9a6c66994949b57ba5e650361e98fc36b1ba",
    } do
      assert.equal(digest, (sha1(text):gsub(".", function(c) return ("%02x"):format(c:byte()) end)))
    end
    local accept = mime.b64(sha1 "dGhlIHNhbXBsZSBub25jZQ==258EAFA5-E914-47DA-95CA-C5AB0DC85B11")
    assert.equal("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", accept)
  end)
end)
