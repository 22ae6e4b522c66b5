-- SPDX-License-Identifier: MIT
---@meta
--
-- Types for the language server (LuaLS) of error objects.  Never loaded.

---@class websocket.Error
---@field kind string "ConnectionError", "ReadTimedOutError", ... (see websocket.isError for families)
---@field message string
---@field statusCode? integer of a ConnectionClosureError: the peer's close code
---@field reason? string of a ConnectionClosureError: the peer's reason

---@class websocket.UpgradeError: websocket.Error
---@field status integer
---@field body? string
---@field headers? { [1]: string, [2]: string }[]
