-- SPDX-License-Identifier: MIT
--
-- What C requires first in every worker: it fills in the hooks by which C calls the Lua side, and puts functions in
-- place that know the scheduler (coroutine) or LuaJIT's faults (interpret).  Apps never see this module.

require("neap.runtime.interpret").install()

local core = require "neap.core"
local coroutines = require "neap.runtime.coroutine"
local protect = require "neap.runtime.protect"

coroutines.install()
protect.install()

local convert = require "neap.websocket.convert"
local loader = require "neap.app.loader"
local request = require "neap.http.request"
local stream = require "neap.websocket.stream"
local tell = require "neap.message.tell"
local upgrade = require "neap.websocket.upgrade"

-- Only `neap check` needs this module.
local function check(...)
  return require("neap.app.check").run(...)
end

core.hooks.check = check
core.hooks.convert = convert.convert
core.hooks.load = loader.load
core.hooks.payload = convert.payload
core.hooks.requestIndex = request.index
core.hooks.stream = stream.run
core.hooks.tell = tell.tell
core.hooks.upgrade = upgrade.upgrade

return {}
