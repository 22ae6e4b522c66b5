-- SPDX-License-Identifier: MIT
--
-- The output of busted in the form that all suites share: each failure whole as it happens, then
-- `N passed, N failed` as the last line. A pending spec counts as failed: a suite either shows that
-- something holds or it does not.
--
-- It only prints; what counts as a success, a failure or an error is decided by busted's own base
-- handler, which this one extends.

local base = require "busted.outputHandlers.base"
local busted = require "busted"
local pretty = require "pl.pretty"

local function where(element)
  local trace = element.trace
  return trace and ("%s:%s: "):format(trace.short_src or "?", trace.currentline or "?") or ""
end

local function textOf(message)
  if type(message) == "string" then
    return message
  end
  return message == nil and "nil error" or pretty.write(message)
end

local function report(failure)
  print(("FAIL %s%s\n%s"):format(where(failure.element), failure.name, textOf(failure.message)))
  if failure.trace and failure.trace.traceback then
    print(failure.trace.traceback)
  end
  io.flush()
end

return function()
  local handler = base()

  -- The base handler, subscribed with a higher priority, has noted the failure just before.
  local function onFailure()
    report(handler.failures[#handler.failures])
    return nil, true
  end

  local function onError()
    report(handler.errors[#handler.errors])
    return nil, true
  end

  local function onSuiteEnd()
    for _, pending in ipairs(handler.pendings) do
      print(("FAIL %s%s\npending"):format(where(pending.element), pending.name))
    end
    print(("specs took %.1f s"):format(handler.getDuration()))
    print(("%d passed, %d failed"):format(handler.successesCount,
      handler.failuresCount + handler.errorsCount + handler.pendingsCount))
    io.flush()
    return nil, true
  end

  busted.subscribe({ "suite", "end" }, onSuiteEnd)
  busted.subscribe({ "failure", "it" }, onFailure)
  busted.subscribe({ "error", "it" }, onError)
  busted.subscribe({ "failure" }, function(element)
    return nil, element.descriptor == "it" or onError() or true
  end)
  busted.subscribe({ "error" }, function(element)
    return nil, element.descriptor == "it" or onError() or true
  end)
  return handler
end
