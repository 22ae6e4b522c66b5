-- SPDX-License-Identifier: MIT
--
-- neap.xml on lua-expat: what is read and written, and what hostile documents come to. The last part runs in the real
-- program.

package.path = "tests/spec/support/?.lua;" .. package.path
require "fakecore"
local folder = require "appfolder"
local testing = require "neap.testing"
local xml = require "neap.xml"

after_each(folder.remove)

local function decode(source)
  local element, err = xml.decode(source)
  assert(element, tostring(err))
  return element
end

-- The message of the error that decoding gives.
local function refused(source)
  local element, err = xml.decode(source)
  assert.is_nil(element, "accepted: " .. source:sub(1, 100))
  assert.equal("Error", err.kind)
  return err.message
end

local function encode(element)
  return assert(xml.encode(element))
end

local function unencodable(element)
  local source, err = xml.encode(element)
  assert.is_nil(source, source)
  assert.equal("Error", err.kind)
  return err.message
end

describe("xml.decode", function()
  it("reads elements, attributes and texts", function()
    assert.same({
      tag = "order",
      attr = { "id", "on", id = "7", on = "a b" },
      "two ",
      { tag = "b", attr = {}, "large" },
      " ones",
    }, decode '<order id="7" on=\'a\tb\'>two <b>large</b> ones</order>')
    assert.same({ tag = "a", attr = {} }, decode "<a/>")
    assert.same({ tag = "a", attr = {} }, decode "<a></a>")
  end)

  it("has the form of lua-expat's documents", function()
    local lom = require "lxp.lom"
    for _, source in ipairs {
      "<a/>", '<a x="1" y="2">t<b/>u<c>v</c></a>', "<a> <b/>\n</a>", "<x:a xmlns:x='u'><x:b x:y=''/></x:a>",
    } do
      assert.same(lom.parse(source), decode(source))
    end
  end)

  it("gives a text in one piece, whatever divides it", function()
    assert.same({ tag = "t", attr = {}, "a&b<c>dé€😀\r" },
      decode "<t>a&amp;b&lt;<!-- no -->c<![CDATA[>d]]><?p i?>é&#8364;&#x1F600;&#13;</t>")
    assert.same({ tag = "t", attr = {}, "1\n2\n3\n" }, decode "<t>1\r\n2\r3\n</t>")
    assert.equal(("x\n"):rep(100000), decode("<t>" .. ("x\r\n"):rep(100000) .. "</t>")[1])
  end)

  it("keeps blanks and prefixes as they are", function()
    assert.same({ tag = "a", attr = {}, "\n  ", { tag = "b", attr = {} }, "\n" }, decode "<a>\n  <b/>\n</a>")
    assert.same({ tag = "x:a", attr = { "xmlns:x", "x:b", ["xmlns:x"] = "urn:u", ["x:b"] = "1" } },
      decode '<x:a xmlns:x="urn:u" x:b="1"/>')
    assert.same({ tag = "no:where", attr = {} }, decode "<no:where/>")
  end)

  it("takes a declaration, a byte order mark, and things beside the element", function()
    for _, source in ipairs {
      '<?xml version="1.0"?><a/>', '<?xml version="1.0" encoding="UTF-8" standalone="yes"?><a/>',
      '<?xml version="1.0" encoding="utf-8"?>\n<!-- c -->\n<?p i?><a/>\n<!-- d --> ', "\239\187\191<a/>",
    } do
      assert.same({ tag = "a", attr = {} }, decode(source))
    end
  end)

  it("refuses what is not XML, and says where", function()
    for _, case in ipairs {
      { "", "line 1, column 1: no element found" },
      { " \n ", "line 2, column 2: no element found" },
      { "text", "line 1, column 1: syntax error" },
      { "<a>", "no element found" },
      { "<a", "unclosed token" },
      { "<a></b>", "line 1, column 6: mismatched tag" },
      { "<a/><b/>", "line 1, column 5: junk after document element" },
      { "<a/>text", "junk after document element" },
      { "<a/>\0", "UTF%-8" },
      { '<a b="1" b="2"/>', "duplicate attribute" },
      { "<a b=1/>", "not well%-formed" },
      { '<a b="<"/>', "not well%-formed" },
      { "<a>]]></a>", "not well%-formed" },
      { "<a>&</a>", "not well%-formed" },
      { "<1/>", "not well%-formed" },
      { ' <?xml version="1.0"?><a/>', "XML or text declaration not at start" },
      { "<a>\1</a>", "not well%-formed" },
      { "<a>&#1;</a>", "invalid character number" },
      { "<a>&#0;</a>", "invalid character number" },
      { "<a>&#xD800;</a>", "invalid character number" },
      { "<a>&#xFFFE;</a>", "invalid character number" },
      { "<a>&#x110000;</a>", "invalid character number" },
      { "<a>&#99999999999999999999;</a>", "invalid character number" },
      { "<a>&nbsp;</a>", "line 1, column 4: undefined entity" },
      { '<a b="&x;"/>', "undefined entity" },
    } do
      assert.matches(case[2], refused(case[1]))
    end
  end)

  it("refuses what is not UTF-8", function()
    for _, bytes in ipairs {
      "\255", "\128", "\192\128", "\224\128\128", "\237\160\128", "\240\128\128\128", "\244\144\128\128", "\195",
      "\239\191\191",
    } do
      assert.matches("^line 1, column %d+: ", refused("<a>" .. bytes .. "</a>"))
      assert.matches("^line 1, column %d+: ", refused('<a b="' .. bytes .. '"/>'))
    end
    for _, name in ipairs { "ISO-8859-1", "US-ASCII", "UTF-16", "UTF-16LE", "windows-1252", "UTF-7", "no-such" } do
      assert.equal(("line 1, column 1: the encoding is %s; only UTF-8 is read"):format(name),
        refused(('<?xml version="1.0" encoding="%s"?><a/>'):format(name)))
    end
    for _, source in ipairs { "\255\254<\0a\0/\0>\0", "\254\255\0<\0a\0/\0>", "<\0a\0/\0>\0", "\0<\0a\0/\0>" } do
      assert.matches("the text is not UTF%-8", refused(source))
    end
  end)

  it("refuses every DOCTYPE, before what it declares", function()
    for _, rest in ipairs {
      "", ' SYSTEM "file:///etc/passwd"', ' PUBLIC "p" "http://127.0.0.1:1/"', ' [<!ENTITY x "y">]',
      " [<!ATTLIST a b CDATA 'c'>]",
      ' [<!ENTITY % p SYSTEM "file:///etc/passwd"> %p;]', ' SYSTEM "x" [<!ENTITY y SYSTEM "file:///etc/passwd">]',
    } do
      assert.matches("a DOCTYPE is not allowed", refused("<!DOCTYPE a" .. rest .. "><a>&x;</a>"))
    end
    assert.matches("a DOCTYPE is not allowed", refused '<?xml version="1.0"?><!-- c --><!DOCTYPE a><a/>')
    -- As text it is text.
    assert.equal("<!DOCTYPE a>", decode("<a><![CDATA[<!DOCTYPE a>]]></a>")[1])
  end)

  it("is quick with documents that were made to be slow", function()
    local laughs = { '<!DOCTYPE a [<!ENTITY a0 "lol">' }
    for i = 1, 9 do
      laughs[#laughs + 1] = ('<!ENTITY a%d "%s">'):format(i, ("&a" .. i - 1 .. ";"):rep(10))
    end
    local attributes, names = {}, {}
    for i = 1, 50000 do
      attributes[i], names[i] = (" a%d=''"):format(i), ("<%s%05d%s/>"):format(("n"):rep(40), i, ("m"):rep(40))
    end
    local cases = {
      laughs = table.concat(laughs) .. "]><a>&a9;</a>",
      quadratic = '<!DOCTYPE a [<!ENTITY x "' .. ("x"):rep(100000) .. '">]><a>' .. ("&x;"):rep(100000) .. "</a>",
      attributes = "<a" .. table.concat(attributes) .. "/>",
      names = "<a>" .. table.concat(names) .. "</a>",
      depth = ("<a>"):rep(300000),
      token = "<a b='" .. ("x"):rep(1000000),
      comment = "<a><!-- " .. ("- "):rep(500000),
      section = "<a>" .. ("x<![CDATA[y]]>"):rep(70000) .. "</a>",
      lines = "<a>" .. ("\n"):rep(1000000) .. "</a>",
      references = "<a>" .. ("&#60;"):rep(200000) .. "</a>",
      empty = "<a>" .. ("<a/>"):rep(250000) .. "</a>",
    }
    for name, source in pairs(cases) do
      collectgarbage()
      local before, began = collectgarbage "count", os.clock()
      local element, err = xml.decode(source)
      local seconds, kilobytes = os.clock() - began, collectgarbage "count" - before
      assert.is_true(seconds < 3, ("%s took %.2f s"):format(name, seconds))
      assert.is_true(kilobytes * 1024 < 100 * #source + 1e6, ("%s took %d KiB"):format(name, kilobytes))
      assert(element or err.kind == "Error")
    end
  end)

  it("goes 128 elements deep and no deeper", function()
    local element = decode(("<a>"):rep(128) .. ("</a>"):rep(128))
    for _ = 2, 128 do
      element = element[1]
    end
    assert.same({ tag = "a", attr = {} }, element)
    assert.equal("line 1, column 385: nested deeper than 128 elements", refused(("<a>"):rep(129) .. ("</a>"):rep(129)))
    assert.matches("nested deeper", refused(("<a>"):rep(128) .. "<a/>" .. ("</a>"):rep(128)))
  end)

  it("takes 256 attributes and no more", function()
    local list = {}
    for i = 1, 256 do
      list[i] = (" a%d='%d'"):format(i, i)
    end
    assert.equal("256", decode("<a" .. table.concat(list) .. "/>").attr.a256)
    assert.matches("more than 256 attributes", refused("<a" .. table.concat(list) .. " b=''/>"))
  end)

  it("does not mix up readings, one within another", function()
    local inner
    local proxy = newproxy(true)
    getmetatable(proxy).__gc = function()
      inner = xml.decode "<inner><deep/></inner>"
    end
    proxy = nil -- luacheck: ignore 311
    local outer = decode("<outer>" .. ("<e/>"):rep(200000) .. "</outer>")
    collectgarbage()
    assert.equal(200000, #outer)
    assert.same({ tag = "inner", attr = {}, { tag = "deep", attr = {} } }, inner)
  end)

  it("raises when it is given no text", function()
    for _, value in ipairs { 5, true, {} } do
      assert.has_error(function()
        xml.decode(value)
      end)
    end
    assert.error_matches(xml.decode, "source must be a string, it is nil")
  end)
end)

describe("xml.encode", function()
  it("writes elements, attributes and texts", function()
    assert.equal("<a/>", encode { tag = "a" })
    assert.equal("<a><b/>text<c>d</c></a>", encode { tag = "a", { tag = "b" }, "text", { tag = "c", attr = {}, "d" } })
    assert.equal('<a z="1" y="2" x="3" zz="4"/>',
      encode { tag = "a", attr = { "z", "y", z = "1", y = "2", zz = "4", x = "3" } })
    assert.equal('<a n="5" t="true">0.1false9007199254740992-31e+300</a>',
      encode { tag = "a", attr = { n = 5, t = true }, 0.1, false, 2 ^ 53, -3, 1e300 })
    assert.equal(0.1 + 0.2, tonumber(encode({ tag = "a", 0.1 + 0.2 }):match "<a>(.*)</a>"))
  end)

  it("escapes what would be read otherwise", function()
    local odd = "<&>\"'\t\n\r]]>"
    assert.equal("<a>&lt;&amp;&gt;\"'\t\n&#13;]]&gt;</a>", encode { tag = "a", odd })
    assert.equal("<a b=\"&lt;&amp;&gt;&quot;'&#9;&#10;&#13;]]&gt;\"/>", encode { tag = "a", attr = { b = odd } })
    assert.same({ tag = "a", attr = { "b", b = odd }, odd }, decode(encode { tag = "a", attr = { b = odd }, odd }))
  end)

  it("takes the names that XML has", function()
    for _, name in ipairs { "a", "_", ":", "x:y", "a-b.c_1", "é", "Straße", "日本", "a·b", "\u{10000}", "a\u{300}" } do
      assert.equal("<" .. name .. "/>", encode { tag = name })
    end
    for _, name in ipairs {
      "", "1a", "-a", ".a", "a b", "a>", "a/", "a\0", "a=", "·a", "\u{300}", "×", "a\u{D7}", "\u{2000}", "a\255",
      "\192\128", "\u{F0000}", 5, true, {},
    } do
      assert.matches("^%$%.tag: .* is no name of an element$", unencodable { tag = name })
      assert.matches("^%$%.attr: .* is no name of an attribute$", unencodable { tag = "a", attr = { [name] = "" } })
    end
    assert.equal("$.tag: nil is no name of an element", unencodable {})
  end)

  it("refuses what XML cannot hold, and says where", function()
    local itself = { tag = "a", { tag = "b" } }
    itself[1][1] = itself
    for _, case in ipairs {
      { { tag = "a", "\0" }, "$[1]: contains a control character, which XML cannot hold" },
      { { tag = "a", "x", { tag = "b", "\27" } }, "$[2][1]: contains a control character, which XML cannot hold" },
      { { tag = "a", attr = { b = "\1" } }, "$.attr.b: contains a control character, which XML cannot hold" },
      { { tag = "a", "\255" }, "$[1]: is not valid UTF-8" },
      { { tag = "a", { tag = "b", attr = { c = "\237\160\128" } } }, "$[1].attr.c: is not valid UTF-8" },
      { { tag = "a", "\239\191\190" }, "$[1]: contains U+FFFE or U+FFFF, which XML cannot hold" },
      { { tag = "a", 0 / 0 }, "$[1]: is nan" },
      { { tag = "a", attr = { b = math.huge } }, "$.attr.b: is inf" },
      { { tag = "a", print }, "$[1]: must be a string, number or boolean, it is a function" },
      { { tag = "a", attr = { b = {} } }, "$.attr.b: must be a string, number or boolean, it is a table" },
      { { tag = "a", attr = "b" }, '$.attr: must be a table { name = "value" }, it is "b"' },
      { { tag = "a", attr = { "b" } }, '$.attr[1]: names "b", which has no value' },
      { { tag = "a", attr = { 5 } }, "$.attr[1]: names 5, which has no value" },
      { { tag = "a", text = "b" }, '$: an element has tag, attr and its children at 1, 2, ...; it has "text"' },
      { { tag = "a", "b", nil, "c" }, "$: an element has tag, attr and its children at 1, 2, ...; it has 3" },
      { { tag = "a", [0] = "b" }, "$: an element has tag, attr and its children at 1, 2, ...; it has 0" },
      { itself, "$[1][1]: the element contains itself" },
      { "text", '$: must be an element { tag = "name", ... }, it is "text"' },
    } do
      local message = unencodable(case[1])
      assert.equal(case[2], (message:gsub("%-nan", "nan")))
    end
    assert.matches("it is nil$", unencodable(nil))
  end)

  it("goes as deep as decoding, and writes as much", function()
    local element, shared = { tag = "a" }, { tag = "a", ("x"):rep(2 ^ 16) }
    for _ = 2, 128 do
      element, shared = { tag = "a", element }, { tag = "a", shared, shared }
    end
    assert.equal(("<a>"):rep(127) .. "<a/>" .. ("</a>"):rep(127), encode(element))
    assert.matches(": nested deeper than 128 elements$", unencodable { tag = "a", element })
    local mebibyte = ("x"):rep(2 ^ 20)
    local much = { tag = "a" }
    for i = 1, 64 do
      much[i] = mebibyte
    end
    assert.matches("more than 67108864 bytes", unencodable(much))
    assert.matches("67108871 bytes; at most 67108864 are read", refused("<a>" .. mebibyte:rep(64) .. "</a>"))
    assert.matches("more than 67108864 bytes", unencodable(shared))
  end)
end)

describe("XML there and back", function()
  local seed = 12345
  local function random(n) -- the same documents in every run
    seed = (seed * 1103515245 + 12345) % 2 ^ 31
    return math.floor(seed / 2 ^ 31 * n) + 1
  end

  local words = { "a", "<", "&amp;", "]]>", "é", "😀", " ", "\n", "\r", "\t", '"', "'", "--", "<!DOCTYPE" }
  local names = { "a", "b:c", "_x", "é", "x-1" }

  local function text()
    local parts = {}
    for i = 1, random(5) do
      parts[i] = words[random(#words)]
    end
    return table.concat(parts)
  end

  local function element(depth)
    local made = { tag = names[random(#names)], attr = {} }
    for _ = 1, random(3) - 1 do
      local name = names[random(#names)]
      if not made.attr[name] then
        table.insert(made.attr, name)
      end
      made.attr[name] = text()
    end
    for i = 1, random(4) - 1 do
      local isText = depth == 1 or random(2) == 1
      if isText and type(made[i - 1]) ~= "string" then
        made[i] = text()
      else
        made[i] = element(math.max(depth - 1, 1))
      end
    end
    return made
  end

  it("gives the same document", function()
    for _ = 1, 500 do
      local made = element(4)
      local source = encode(made)
      assert.same(made, decode(source))
      assert.equal(source, encode(decode(source)))
    end
  end)
end)

describe("neap.xml in the program", function()
  it("reads and writes, and loads lua-expat only for reading", function()
    local root = folder.write {
      ["script.lua"] = [[
local xml = require "neap.xml"
print(xml.encode { tag = "a", attr = { b = 1 }, "x" })
print(package.loaded.lxp)
print(xml.decode("<a>é</a>")[1])
print(package.loaded.lxp ~= nil)
print(select(2, xml.decode "<!DOCTYPE a><a/>"))
]],
    }
    local status, output, log = testing.run { "run", root .. "/script.lua" }
    assert.equal(0, status, log)
    assert.equal('<a b="1">x</a>\nnil\né\ntrue\nError: line 1, column 12: a DOCTYPE is not allowed\n', output)
  end)

  it("names the package when lua-expat is missing", function()
    local root = folder.write {
      ["script.lua"] = [[
package.cpath = ""
local xml = require "neap.xml"
print(xml.encode { tag = "a" })
xml.decode "<a/>"
]],
    }
    local status, output, log = testing.run { "run", root .. "/script.lua" }
    assert.equal(1, status)
    assert.equal("<a/>\n", output)
    assert.matches("script%.lua:4: xml%.decode: the Lua module lxp cannot be loaded; install lua%-expat "
      .. "%(on Debian: apt install lua%-expat%)", log)
  end)
end)
