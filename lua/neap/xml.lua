-- SPDX-License-Identifier: MIT
--
-- neap.xml: XML (1.0, UTF-8) for apps, to and from LOM tables, the form that lua-expat has for documents:
--
--      <order id="7">two <b>large</b> ones</order>
--      { tag = "order", attr = { "id", id = "7" }, "two ", { tag = "b", attr = {}, "large" }, " ones" }
--
-- The text is read by expat through lua-expat (the Lua module lxp), which is loaded when the first text is; writing
-- takes nothing but what is here.  docs/decisions/0004-xml.md says why lua-expat's own lxp.lom is not used.
--
-- What comes over the network is somebody else's.  A DOCTYPE ends the reading before anything in it counts, so that no
-- entity can be declared: there is nothing to expand and no file to include.  Depth and attributes are bounded, and all
-- of it takes time and memory in proportion to the text.

local errors = require "neap.message.error"
local text = require "neap.message.text"

local MAX_DEPTH = 128
local MAX_ATTRIBUTES = 256
local MAX_BYTES = 64 * 1024 * 1024

local lxp

local function loadExpat()
  local ok, module = pcall(require, "lxp")
  if not ok then
    errors.raise("xml.decode: the Lua module lxp cannot be loaded; install lua-expat (on Debian: apt install lua-expat)"
      .. "\n" .. tostring(module))
  end
  lxp = module
end

local function at(line, column, message)
  return ("line %d, column %d: %s"):format(line, column, message)
end

--------------------------------------------------------------------------------------------------- reading

-- The first problem ends the reading; expat may call what belongs to the same tag all the same.
local function refuse(state, parser, message)
  local line, column = parser:pos()
  state.problem = at(line, column, message)
  parser:stop()
end

-- What lua-expat calls. Text that a comment or a CDATA section divides comes in one piece. A Lua function may run a
-- finalizer, which may read XML as well: so each reading has functions and a state of its own.
local function newHandlers(state)
  local open, depth = state.open, 0
  local handlers = {}

  function handlers.StartElement(parser, tag, attr)
    if state.problem then
      return
    elseif depth == MAX_DEPTH then
      return refuse(state, parser, ("nested deeper than %d elements"):format(MAX_DEPTH))
    elseif #attr > MAX_ATTRIBUTES then
      return refuse(state, parser, ("more than %d attributes"):format(MAX_ATTRIBUTES))
    end
    local parent, element = open[depth], { tag = tag, attr = attr }
    parent[#parent + 1] = element
    depth = depth + 1
    open[depth] = element
  end

  function handlers.EndElement()
    open[depth] = nil
    depth = depth - 1
  end

  function handlers.CharacterData(_, characters)
    local parent = open[depth]
    parent[#parent + 1] = characters
  end

  function handlers.XmlDecl(parser, _, encoding)
    if encoding and encoding:upper() ~= "UTF-8" then
      refuse(state, parser, ("the encoding is %s; only UTF-8 is read"):format(encoding:sub(1, 40)))
    end
  end

  function handlers.StartDoctypeDecl(parser)
    refuse(state, parser, "a DOCTYPE is not allowed")
  end

  return handlers
end

-- The document, or nil and why not. The parser's memory is expat's: it is not left to the collector.
local function parse(source)
  local document = {}
  local state = { open = { [0] = document } }
  local parser = lxp.new(newHandlers(state))
  parser:setencoding "UTF-8"
  local ok, message, line, column = parser:parse(source)
  if ok then
    ok, message, line, column = parser:parse()
  end
  pcall(parser.close, parser)
  if state.problem or not ok then
    return nil, state.problem or at(line, column, message)
  end
  return document[1]
end

local function read(source)
  if #source > MAX_BYTES then
    return nil, ("the text has %d bytes; at most %d are read"):format(#source, MAX_BYTES)
  elseif source:find("\0", 1, true) or source:find "^\254\255" or source:find "^\255\254" then
    return nil, at(1, 1, "the text is not UTF-8 (it contains NUL, or begins with the mark of UTF-16)")
  end
  return parse(source)
end

--- Reads one XML document: an element in UTF-8, without a DOCTYPE. Blanks between elements are kept, comments and
--- processing instructions are not. Does not yield.
---@param source string
---@return neap.XmlElement? element nil when the text is not such a document
---@return websocket.Error? err its message begins with line and column
local function decode(source)
  if type(source) ~= "string" then
    errors.raise("xml.decode(source): source must be a string, it is " .. text.show(source))
  end
  if not lxp then
    loadExpat()
  end
  local element, problem = read(source)
  if not element then
    return nil, errors.new("Error", problem)
  end
  return element
end

--------------------------------------------------------------------------------------------------- writing

-- Characters of names beyond ASCII, as pairs of first and last: those that may begin a name, and those that may not
-- (XML 1.0, fifth edition, [4] and [4a]).
local BEGIN = {
  0xC0, 0xD6, 0xD8, 0xF6, 0xF8, 0x2FF, 0x370, 0x37D, 0x37F, 0x1FFF, 0x200C, 0x200D, 0x2070, 0x218F, 0x2C00, 0x2FEF,
  0x3001, 0xD7FF, 0xF900, 0xFDCF, 0xFDF0, 0xFFFD, 0x10000, 0xEFFFF,
}
local CONTINUE = { 0xB7, 0xB7, 0x300, 0x36F, 0x203F, 0x2040 }

local ENTITIES = {
  ["&"] = "&amp;",
  ["<"] = "&lt;",
  [">"] = "&gt;",
  ['"'] = "&quot;",
  ["\t"] = "&#9;",
  ["\n"] = "&#10;",
  ["\r"] = "&#13;",
}

local function isWithin(ranges, code)
  for i = 1, #ranges, 2 do
    if code >= ranges[i] and code <= ranges[i + 1] then
      return true
    end
  end
  return false
end

-- The code point of one valid UTF-8 sequence.
local function codeOf(sequence)
  local lead = sequence:byte()
  local code = lead % (lead >= 0xF0 and 8 or lead >= 0xE0 and 16 or 32)
  for i = 2, #sequence do
    code = code * 64 + sequence:byte(i) % 64
  end
  return code
end

local function isName(v)
  if type(v) ~= "string" or not v:find "^[%a_:\128-\255][%w_:.\128-\255-]*$" then
    return false
  elseif not v:find "[\128-\255]" then
    return true
  elseif not text.isUtf8(v) then
    return false
  end
  for position, sequence in v:gmatch "()([\194-\244][\128-\191]+)" do
    local code = codeOf(sequence)
    if not isWithin(BEGIN, code) and (position == 1 or not isWithin(CONTINUE, code)) then
      return false
    end
  end
  return true
end

-- What a byte is to the writer. A loop over bytes that LuaJIT compiles is ten times as fast as a pattern.
local PLAIN, SPECIAL, HIGH, CONTROL = 0, 1, 2, 3
local kinds = {}
for byte = 0, 255 do
  kinds[byte] = byte >= 0x80 and HIGH or byte < 0x20 and CONTROL or ENTITIES[string.char(byte)] and SPECIAL or PLAIN
end
kinds[9], kinds[10], kinds[13] = SPECIAL, SPECIAL, SPECIAL

-- Whether a text has special characters; or nil and why it cannot stand in XML, escaped or not (XML 1.0 [2]).
local function inspect(s)
  local special, high = false, false
  for i = 1, #s do
    local kind = kinds[s:byte(i)]
    if kind == SPECIAL then
      special = true
    elseif kind == HIGH then
      high = true
    elseif kind == CONTROL then
      return nil, "contains a control character, which XML cannot hold"
    end
  end
  if high and not text.isUtf8(s) then
    return nil, "is not valid UTF-8"
  elseif high and (s:find("\239\191\190", 1, true) or s:find("\239\191\191", 1, true)) then
    return nil, "contains U+FFFE or U+FFFF, which XML cannot hold"
  end
  return special
end

-- Numbers as they read back.
local function numberText(v)
  if v ~= v or v == math.huge or v == -math.huge then
    return nil, "is " .. tostring(v)
  end
  local short = v == math.floor(v) and math.abs(v) <= 2 ^ 53 and ("%d"):format(v) or ("%.14g"):format(v)
  return tonumber(short) == v and short or ("%.17g"):format(v)
end

-- A string, number or boolean as text of XML. In an attribute blanks would be changed when they are read, and a CR
-- anywhere (XML 1.0 §2.11, §3.3.3).
local function escaped(v, special)
  if type(v) == "number" then
    return numberText(v)
  elseif type(v) == "boolean" then
    return tostring(v)
  elseif type(v) ~= "string" then
    return nil, ("must be a string, number or boolean, it is %s"):format(text.show(v))
  end
  local found, why = inspect(v)
  if why then
    return nil, why
  end
  return found and v:gsub(special, ENTITIES) or v
end

-- A writer is { out =, bytes =, depth =, within =, path = }; `within` has the elements that are being written, `path`
-- the indexes that lead to the innermost.  A problem is raised as a table, and caught by `encode`.
local function fail(writer, where, message)
  local path = { "$" }
  for i = 1, writer.depth - 1 do
    path[i + 1] = ("[%d]"):format(writer.path[i])
  end
  error({ problem = table.concat(path) .. where .. ": " .. message }, 0)
end

local function put(writer, piece)
  writer.bytes = writer.bytes + #piece
  if writer.bytes > MAX_BYTES then
    error({ problem = ("$: the text would have more than %d bytes"):format(MAX_BYTES) }, 0)
  end
  writer.out[#writer.out + 1] = piece
end

-- A field that would not be written is a mistake: a hole among the children, or `text = "..."`.
local function checkFields(writer, element)
  local count = 0
  while element[count + 1] ~= nil do
    count = count + 1
  end
  for key in pairs(element) do
    local isChild = type(key) == "number" and key >= 1 and key <= count and key == math.floor(key)
    if not isChild and key ~= "tag" and key ~= "attr" then
      fail(writer, "", ("an element has tag, attr and its children at 1, 2, ...; it has %s"):format(text.show(key)))
    end
  end
end

local function putAttribute(writer, name, value)
  if not isName(name) then
    fail(writer, ".attr", text.show(name) .. " is no name of an attribute")
  end
  local content, why = escaped(value, '[&<>"\t\n\r]')
  if not content then
    fail(writer, ".attr." .. name, why)
  end
  put(writer, " " .. name .. '="' .. content .. '"')
end

-- In the order of the array part, which decoding keeps; the rest in the order of the names.
local function putAttributes(writer, attr)
  if type(attr) ~= "table" then
    fail(writer, ".attr", 'must be a table { name = "value" }, it is ' .. text.show(attr))
  end
  local done = {}
  for i, name in ipairs(attr) do
    if type(name) ~= "string" or attr[name] == nil then
      fail(writer, (".attr[%d]"):format(i), ("names %s, which has no value"):format(text.show(name)))
    elseif not done[name] then
      putAttribute(writer, name, attr[name])
    end
    done[i], done[name] = true, true
  end
  local others = {}
  for key in pairs(attr) do
    if not done[key] then
      others[key] = true
    end
  end
  for _, key in ipairs(next(others) == nil and others or text.sortedKeys(others)) do
    putAttribute(writer, key, attr[key])
  end
end

local putElement

local function putChild(writer, index, child)
  writer.path[writer.depth] = index
  if type(child) == "table" then
    return putElement(writer, child)
  end
  local content, why = escaped(child, "[&<>\r]")
  if not content then
    fail(writer, ("[%d]"):format(index), why)
  end
  put(writer, content)
end

function putElement(writer, element)
  writer.depth = writer.depth + 1
  if writer.within[element] then
    fail(writer, "", "the element contains itself")
  elseif writer.depth > MAX_DEPTH then
    fail(writer, "", ("nested deeper than %d elements"):format(MAX_DEPTH))
  elseif not isName(element.tag) then
    fail(writer, ".tag", text.show(element.tag) .. " is no name of an element")
  end
  checkFields(writer, element)
  writer.within[element] = true
  put(writer, "<" .. element.tag)
  if element.attr ~= nil then
    putAttributes(writer, element.attr)
  end
  put(writer, element[1] == nil and "/>" or ">")
  for i, child in ipairs(element) do
    putChild(writer, i, child)
  end
  if element[1] ~= nil then
    put(writer, "</" .. element.tag .. ">")
  end
  writer.within[element] = nil
  writer.depth = writer.depth - 1
end

--- Writes an element as XML text, without a declaration in front. Does not yield.
---@param element neap.XmlElement
---@return string? source nil when it has no XML form
---@return websocket.Error? err its message begins with the path of what is at fault
local function encode(element)
  if type(element) ~= "table" then
    return nil, errors.new("Error", '$: must be an element { tag = "name", ... }, it is ' .. text.show(element))
  end
  local writer = { out = {}, bytes = 0, depth = 0, within = {}, path = {} }
  local ok, thrown = pcall(putElement, writer, element)
  if ok then
    return table.concat(writer.out)
  elseif type(thrown) == "table" and thrown.problem then
    return nil, errors.new("Error", thrown.problem)
  end
  error(thrown, 0)
end

return {
  decode = decode,
  encode = encode,
}
