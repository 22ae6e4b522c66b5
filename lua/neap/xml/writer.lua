-- SPDX-License-Identifier: MIT
--
-- LOM tables to XML text.

local character = require "neap.xml.character"
local text = require "neap.message.text"

local escaped, isName = character.escaped, character.isName

-- A writer is { out =, bytes =, depth =, within =, path =, bounds = }; `within` has the elements that are being
-- written, `path` the indexes that lead to the innermost.  A problem is raised as a table, and caught by `write`.
local function fail(writer, where, message)
  local path = { "$" }
  for i = 1, writer.depth - 1 do
    path[i + 1] = ("[%d]"):format(writer.path[i])
  end
  error({ problem = table.concat(path) .. where .. ": " .. message }, 0)
end

local function put(writer, piece)
  writer.bytes = writer.bytes + #piece
  if writer.bytes > writer.bounds.bytes then
    error({ problem = ("$: the text would have more than %d bytes"):format(writer.bounds.bytes) }, 0)
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
  elseif writer.depth > writer.bounds.depth then
    fail(writer, "", ("nested deeper than %d elements"):format(writer.bounds.depth))
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

--- Writes an element: its text, or nil and why it has none.
---@param element table
---@param bounds { bytes: integer, depth: integer }
---@return string?
---@return string? problem begins with the path of what is at fault
local function write(element, bounds)
  local writer = { out = {}, bytes = 0, depth = 0, within = {}, path = {}, bounds = bounds }
  local ok, thrown = pcall(putElement, writer, element)
  if ok then
    return table.concat(writer.out)
  elseif type(thrown) == "table" and thrown.problem then
    return nil, thrown.problem
  end
  error(thrown, 0)
end

return {
  write = write,
}
