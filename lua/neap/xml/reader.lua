-- SPDX-License-Identifier: MIT
--
-- XML text to LOM tables.  expat reads it, through lua-expat (the Lua module lxp), which is loaded for the first text.
-- docs/decisions/0004-xml.md says why lua-expat's own lxp.lom is not used.

local errors = require "neap.message.error"

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

-- The first problem ends the reading; expat may call what belongs to the same tag all the same.
local function refuse(state, parser, message)
  local line, column = parser:pos()
  state.problem = at(line, column, message)
  parser:stop()
end

-- What lua-expat calls. Text that a comment or a CDATA section divides comes in one piece. A Lua function may run a
-- finalizer, which may read XML as well: so each reading has functions and a state of its own.
local function newHandlers(state)
  local open, bounds, depth = state.open, state.bounds, 0
  local handlers = {}

  function handlers.StartElement(parser, tag, attr)
    if state.problem then
      return
    elseif depth == bounds.depth then
      return refuse(state, parser, ("nested deeper than %d elements"):format(bounds.depth))
    elseif #attr > bounds.attributes then
      return refuse(state, parser, ("more than %d attributes"):format(bounds.attributes))
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

  return handlers
end

-- What a document cannot have.
local function addRefusals(handlers, state)
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
local function parse(source, bounds)
  local document = {}
  local state = { open = { [0] = document }, bounds = bounds }
  local parser = lxp.new(addRefusals(newHandlers(state), state))
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

--- Reads a text: the element that is the document, or nil and why it is none.
---@param source string
---@param bounds { bytes: integer, depth: integer, attributes: integer }
---@return neap.XmlElement?
---@return string? problem begins with line and column
local function read(source, bounds)
  if not lxp then
    loadExpat()
  end
  if #source > bounds.bytes then
    return nil, ("the text has %d bytes; at most %d are read"):format(#source, bounds.bytes)
  elseif source:find("\0", 1, true) or source:find "^\254\255" or source:find "^\255\254" then
    return nil, at(1, 1, "the text is not UTF-8 (it contains NUL, or begins with the mark of UTF-16)")
  end
  return parse(source, bounds)
end

return {
  read = read,
}
