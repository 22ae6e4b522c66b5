-- SPDX-License-Identifier: MIT
---@meta
--
-- Types for the language server (LuaLS), of what C implements and of tables that apps write.  Never loaded.

---@class websocket.Error
---@field kind string "ConnectionError", "ReadTimedOutError", ... (see websocket.isError for families)
---@field message string
---@field statusCode? integer of a ConnectionClosureError: the peer's close code
---@field reason? string of a ConnectionClosureError: the peer's reason

---@class websocket.UpgradeError: websocket.Error
---@field status integer
---@field body? string
---@field headers? { [1]: string, [2]: string }[]

---@class websocket.Request
---@field method string "GET"
---@field path string as it came, without the query
---@field query table<string, string> first value of each parameter, decoded
---@field params table<string, string> what the path pattern captured, decoded
---@field headers table<string, string> lower-case names; several lines joined with ", "
---@field remoteAddress string
---@field remotePort integer
---@field isSecure boolean
---@field clientCertificate? websocket.Certificate the client's, when it gave one; always a verified one
---@field subProtocols string[] what the client offers, in its order

---@class websocket.Certificate
---@field subject string "CN=alice,O=Example"
---@field issuer string
---@field serial string hex digits
---@field fingerprint string SHA-256, 64 hex digits
---@field notBefore integer seconds since 1970
---@field notAfter integer
---@field names string[] alternative names: DNS names, addresses, mail addresses, URIs

---@class websocket.Caller
local Caller = {} -- luacheck: ignore 241

--- Sends a text message. Yields while too much is queued.
---@param text string valid UTF-8
---@return websocket.Caller? caller
---@return websocket.Error? err
function Caller:writeTextMessage(text) end

--- Sends a binary message. Yields while too much is queued.
---@param data string
---@return websocket.Caller? caller
---@return websocket.Error? err
function Caller:writeBinaryMessage(data) end

--- Sends a text message without ever waiting. While too much is queued the route's slowConsumer decides: the message is
--- dropped, or the client is closed with 1013.
---@param text string valid UTF-8
---@return websocket.Caller? caller
---@return websocket.Error? err
function Caller:pushText(text) end

--- Sends a binary message without ever waiting, as pushText does.
---@param data string
---@return websocket.Caller? caller
---@return websocket.Error? err
function Caller:pushBinary(data) end

--- Sends a value as writeMessage does, without ever waiting; no close frame.
---@param value string|number|boolean|table|websocket.Bytes|websocket.Xml
---@return websocket.Caller? caller
---@return websocket.Error? err
function Caller:push(value) end

--- Sends a text message to all clients of the service, this one included, in all workers. Never waits.
---@param text string valid UTF-8
---@return websocket.PushResult? result
---@return websocket.Error? err
function Caller:broadcastText(text) end

--- Sends a binary message to all clients of the service, this one included, in all workers. Never waits.
---@param data string
---@return websocket.PushResult? result
---@return websocket.Error? err
function Caller:broadcastBinary(data) end

--- Sends a value to all clients of the service, this one included, in all workers. Never waits.
---@param value string|number|boolean|table|websocket.Bytes|websocket.Xml
---@return websocket.PushResult? result
---@return websocket.Error? err
function Caller:broadcast(value) end

--- Sends a value: a string as text, websocket.bytes as binary, number, boolean and table as JSON, websocket.xml as XML;
--- a close frame closes. Yields while too much is queued.
---@param value string|number|boolean|table|websocket.Bytes|websocket.Xml|websocket.CloseFrame
---@return websocket.Caller? caller
---@return websocket.Error? err
function Caller:writeMessage(value) end

--- Sends a ping.
---@param data? string at most 125 bytes
---@return websocket.Caller? caller
---@return websocket.Error? err
function Caller:ping(data) end

--- Sends a pong.
---@param data? string at most 125 bytes
---@return websocket.Caller? caller
---@return websocket.Error? err
function Caller:pong(data) end

--- Sends a close frame and waits for the peer's. Yields.
---@param statusCode? integer 1000
---@param reason? string at most 123 bytes
---@param timeout? number seconds; 0 does not wait, -1 for ever; default: the route's connectionClosureTimeout
---@return websocket.Caller? caller
---@return websocket.Error? err
function Caller:close(statusCode, reason, timeout) end

--- Keeps a value with the connection.
---@param key string
---@param value any
---@return websocket.Caller caller
function Caller:setAttribute(key, value) end

--- A value kept with the connection.
---@param key string
---@return any
function Caller:getAttribute(key) end

--- Removes a value kept with the connection, and returns it.
---@param key string
---@return any
function Caller:removeAttribute(key) end

--- Unique in the whole deployment, safe to show.
---@return string
function Caller:getConnectionId() end

---@return string? name nil when none was negotiated
function Caller:getNegotiatedSubProtocol() end

---@return boolean
function Caller:isSecure() end

---@return boolean
function Caller:isOpen() end

---@return string address
---@return integer port
function Caller:remoteAddress() end

--- The upgrade request of the connection.
---@return websocket.Request
function Caller:request() end

--- Bytes queued and not yet handed to the kernel.
---@return integer
function Caller:bufferedAmount() end

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

--- An element of an XML document, as xml.decode gives it and xml.encode takes it; its children stand at 1, 2, ...
---@class neap.XmlElement
---@field tag string
---@field attr? table<string|integer, string> values by name; at 1, 2, ... the names in their order
---@field [integer] string|neap.XmlElement

--- Settings of websocket.listener. The text of a setting begins with its default.
---@class websocket.ListenerConfig
---@field host? string "0.0.0.0"; where a port alone is bound
---@field timeout? number 120 seconds for reading the upgrade request; 0 for no limit
---@field headerTimeout? number 10 seconds for the whole request head; 0 for no limit
---@field maxConnections? integer 0, no limit; in each worker
---@field maxConnectionsPerAddress? integer 0, no limit; in each worker; of IPv6 a /64 is one
---@field backlog? integer 4096; connections that the kernel keeps until they are accepted
---@field server? string "", no Server header
---@field webSocketCompressionEnabled? boolean true
---@field compression? websocket.Compression
---@field secureSocket? websocket.SecureSocket none: no TLS
---@field requestLimits? websocket.RequestLimits

---@class websocket.RequestLimits
---@field maxUriLength? integer 4096 bytes of the request's target; past it 414
---@field maxHeaderSize? integer 8192 bytes of all header lines; past it 431

---@class websocket.Compression
---@field level? integer 1 (fast) to 9 (small); 1, or 6 where contexts are kept
---@field memLevel? integer 5; 1 to 9
---@field windowBits? integer 12; 9 to 15
---@field serverNoContextTakeover? boolean true
---@field clientNoContextTakeover? boolean true
---@field threshold? integer 256 bytes; shorter messages are sent as they are

---@class websocket.SecureSocket
---@field key websocket.SecureKey the server's certificate and its key
---@field mutualSsl? websocket.MutualSsl none: clients need no certificate
---@field protocol? websocket.SecureProtocol
---@field ciphers? string[] {}: OpenSSL's choice; names of OpenSSL or IANA, best first
---@field shareSession? boolean true; clients that return may resume their session
---@field handshakeTimeout? number 10 seconds for the TLS handshake; 0 for no limit
---@field sessionTimeout? integer 7200 seconds that a session can be resumed for, at most 86400

--- PEM files (certFile, keyFile, keyPassword), or a PKCS#12 file (path, password).
---@class websocket.SecureKey
---@field certFile? string the server's certificate and those between it and the root
---@field keyFile? string
---@field keyPassword? string
---@field path? string
---@field password? string

---@class websocket.MutualSsl
---@field verifyClient? "REQUIRE"|"OPTIONAL" "REQUIRE"; "OPTIONAL" also lets in who has no certificate
---@field cert string|{ path: string, password?: string } the authorities that have signed clients' certificates

---@class websocket.SecureProtocol
---@field name? "TLS" "TLS"
---@field versions? ("TLSv1.2"|"TLSv1.3")[] { "TLSv1.2", "TLSv1.3" }

--- Settings of listener:attach. The text of a setting begins with its default.
---@class websocket.RouteConfig
---@field subProtocols? string[] {}
---@field idleTimeout? number 0, never
---@field maxFrameSize? integer 0: what comes in may fill maxMessageSize, what goes out is cut at 65536
---@field maxMessageSize? integer 1048576
---@field maxFragments? integer 1024
---@field messageTimeout? number 30
---@field connectionClosureTimeout? number 60; -1 for ever
---@field pingInterval? number 30; 0: no pings
---@field pongTimeout? number 20; 0: no limit
---@field writeTimeout? number 30; 0: no limit
---@field maxBufferedBytes? integer 1048576
---@field slowConsumer? "close"|"drop" "close"
---@field dispatcherKey? string the field of JSON messages that says which callback gets them
---@field dispatcherStreamId? string the field that says to which request a message belongs
---@field validation? boolean true; false: bound values are not held against their limits, only types are checked
---@field allowedOrigins? string[]

--- Options of websocket.service.
---@class websocket.ServiceOptions
