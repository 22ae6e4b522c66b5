-- SPDX-License-Identifier: MIT
--
-- What settings and arguments that are numbers may be.  Internal.

local MAX_SECONDS = 1e9 -- some thirty years: what C makes of it still is a time
local LARGEST = 2 ^ 53 -- up to which every whole number is one of Lua

--- Whether a value is a number, and neither nan nor infinite.
---@param v any
---@return boolean
local function isFinite(v)
  return type(v) == "number" and v - v == 0
end

--- Whether a value is a whole number within bounds.
---@param v any
---@param least number
---@param most number
---@return boolean
local function isWhole(v, least, most)
  return isFinite(v) and v >= least and v <= most and v == math.floor(v)
end

--- Whether a value is a time to wait, in seconds; 0 is one.
---@param v any
---@return boolean
local function isSeconds(v)
  return isFinite(v) and v >= 0 and v <= MAX_SECONDS
end

return {
  LARGEST = LARGEST,
  MAX_SECONDS = MAX_SECONDS,
  isFinite = isFinite,
  isSeconds = isSeconds,
  isWhole = isWhole,
}
