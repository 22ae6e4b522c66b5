-- SPDX-License-Identifier: MIT
---@meta
--
-- Types for the language server (LuaLS) of what services are made of, and of pushes.  Never loaded.

--- What became of a push. Returned from a callback, it sends nothing. Of members in other workers it says what is known
--- when the push leaves this worker.
---@class websocket.PushResult
---@field members integer to whom it was addressed
---@field delivered integer for whom it was queued, or given to their worker
---@field dropped integer who do not get it: they, or their worker, read too slowly
---@field closed integer of those dropped: connections of this worker that were closed for it

---@class websocket.PushOptions
---@field except? websocket.Caller who gets none

--- A plain table of callbacks, or what websocket.service takes. Further fields whose names begin with "on" are
--- callbacks of dispatch, `fun(self, caller, message)`, and their onXError; the rest is the app's own.
---@class websocket.Callbacks
---@field onOpen? fun(self: table, caller: websocket.Caller): any, any
---@field onMessage? websocket.Bound|fun(self: table, caller: websocket.Caller, data: string, binary: boolean): any, any
---@field onTextMessage? websocket.Bound|fun(self: table, caller: websocket.Caller, text: string): any, any
---@field onBinaryMessage? websocket.Bound|fun(self: table, caller: websocket.Caller, data: string): any, any
---@field onPing? fun(self: table, caller: websocket.Caller, data: string): any, any
---@field onPong? fun(self: table, caller: websocket.Caller, data: string): any, any
---@field onIdleTimeout? fun(self: table, caller: websocket.Caller): any, any
---@field onClose? fun(self: table, caller: websocket.Caller, statusCode: integer, reason: string)
---@field onError? fun(self: table, caller: websocket.Caller, err: websocket.Error)
---@field onMessageError? fun(self: table, caller: websocket.Caller, err: websocket.Error): any, any
---@field onTextMessageError? fun(self: table, caller: websocket.Caller, err: websocket.Error): any, any
---@field onBinaryMessageError? fun(self: table, caller: websocket.Caller, err: websocket.Error): any, any

--- An upgrade function, which returns a service (101), or nil and why not (the status of an UpgradeError, else 400); or
--- a service directly.
---@alias websocket.Upgrade table|fun(request: websocket.Request): table?, websocket.Error|string|nil

--- A service class: calling it with a table makes an instance of that table.
---@class websocket.Service
---@overload fun(fields?: table): table
