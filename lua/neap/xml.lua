-- SPDX-License-Identifier: MIT
--
-- neap.xml: XML (1.0, UTF-8) for apps, to and from LOM tables, the form that lua-expat has for documents:
--
--      <order id="7">two <b>large</b> ones</order>
--      { tag = "order", attr = { "id", id = "7" }, "two ", { tag = "b", attr = {}, "large" }, " ones" }
--
-- Reading is in xml/reader.lua, writing in xml/writer.lua; this file checks arguments and makes error objects.
--
-- What comes over the network is somebody else's.  A DOCTYPE ends the reading before anything in it counts, so that no
-- entity can be declared: there is nothing to expand and no file to include.  Depth and attributes are bounded, and all
-- of it takes time and memory in proportion to the text.

local errors = require "neap.message.error"
local reader = require "neap.xml.reader"
local text = require "neap.message.text"
local writer = require "neap.xml.writer"

local BOUNDS = { bytes = 64 * 1024 * 1024, depth = 128, attributes = 256 }

--- An element of an XML document, as xml.decode gives it and xml.encode takes it; its children stand at 1, 2, ...
---@class neap.XmlElement
---@field tag string
---@field attr? table<string|integer, string> values by name; at 1, 2, ... the names in their order
---@field [integer] string|neap.XmlElement

--- Reads one XML document: an element in UTF-8, without a DOCTYPE. Blanks between elements are kept, comments and
--- processing instructions are not. Does not yield.
---@param source string
---@return neap.XmlElement? element nil when the text is not such a document
---@return websocket.Error? err its message begins with line and column
local function decode(source)
  if type(source) ~= "string" then
    errors.raise("xml.decode(source): source must be a string, it is " .. text.show(source))
  end
  local element, problem = reader.read(source, BOUNDS)
  if not element then
    return nil, errors.new("Error", problem)
  end
  return element
end

--- Writes an element as XML text, without a declaration in front. Does not yield.
---@param element neap.XmlElement
---@return string? source nil when it has no XML form
---@return websocket.Error? err its message begins with the path of what is at fault
local function encode(element)
  if type(element) ~= "table" then
    return nil, errors.new("Error", '$: must be an element { tag = "name", ... }, it is ' .. text.show(element))
  end
  local source, problem = writer.write(element, BOUNDS)
  if not source then
    return nil, errors.new("Error", problem)
  end
  return source
end

return {
  decode = decode,
  encode = encode,
}
